//! The bounds of the alerts as flags.

use std::time::Duration;

use crate::alert::Bounds;

/// Flags of the alerts. Several classifiers of one broker should have the same.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Alerts")]
pub struct AlertArgs {
    /// Dead letters nobody has dealt with that are too many [default: 100]
    #[arg(long, env = "CEREBROS_ALERT_DEPTH", value_name = "N")]
    alert_depth: Option<u32>,
    /// Age of the oldest of them that is too old, such as 12h [default: 24h]
    #[arg(long, env = "CEREBROS_ALERT_AGE", value_name = "TIME", value_parser = humantime::parse_duration)]
    alert_age: Option<Duration>,
    /// Messages that die within a minute that are too many [default: 60]
    #[arg(long, env = "CEREBROS_ALERT_RATE", value_name = "N")]
    alert_rate: Option<u32>,
    /// How long before the stream drops an open dead letter that is said [default: 3days]
    #[arg(long, env = "CEREBROS_ALERT_NOTICE", value_name = "TIME", value_parser = humantime::parse_duration)]
    alert_notice: Option<Duration>,
}

impl AlertArgs {
    /// The bounds, those that were not given by default.
    pub(super) fn bounds(&self) -> Bounds {
        let usual = Bounds::default();
        Bounds {
            depth: self.alert_depth.unwrap_or(usual.depth).max(1),
            age: self.alert_age.unwrap_or(usual.age),
            rate: self.alert_rate.unwrap_or(usual.rate).max(1),
            notice: self.alert_notice.unwrap_or(usual.notice),
        }
    }
}
