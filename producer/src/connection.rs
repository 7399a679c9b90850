//! The flags every command that talks to the broker has, and the deadline that goes with them.

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::OutputArgs;
use tokio::time::timeout;

/// How long a broker that refuses connections is asked again: it may be restarting.
const RESTART_GRACE: Duration = Duration::from_secs(1);

/// Longest timeout; whoever wants to wait for ever wants something else.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Shared {
    /// How data is printed.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How long the broker may stay silent, such as 10s; waiting for a run to end is not silence
    #[arg(long, value_name = "DURATION", value_parser = parse_timeout, default_value = "10s")]
    pub timeout: Duration,
    /// Which broker; last, because its help heading covers what follows.
    #[command(flatten)]
    pub broker: BrokerArgs,
}

impl Shared {
    /// Connects. The whole of it, name resolution included, stays inside the timeout.
    pub(crate) async fn connect(&self) -> Result<Broker, CliError> {
        let target = self.broker.resolve()?;
        let patience = self.timeout.min(RESTART_GRACE);
        match timeout(self.timeout, Broker::connect(&target, "producer", patience)).await {
            Ok(connected) => connected,
            Err(_) => Err(silent(&target.url, self.timeout)),
        }
    }

    /// Does something with the broker inside the timeout.
    pub(crate) async fn within<T>(
        &self,
        broker: &Broker,
        work: impl Future<Output = Result<T, CliError>>,
    ) -> Result<T, CliError> {
        timeout(self.timeout, work).await.unwrap_or_else(|_| Err(silent(broker.url(), self.timeout)))
    }
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if timeout.is_zero() || timeout > MAX_TIMEOUT {
        return Err("expected a duration above zero, up to a day".to_owned());
    }
    Ok(timeout)
}

/// The error for a broker that does not answer in time.
pub(crate) fn silent(url: &str, patience: Duration) -> CliError {
    let what = format!("the broker at {url} did not answer within {}", humantime::format_duration(patience));
    CliError::new("broker-silent", Exit::Unreachable, what)
        .help("is it overloaded, or does something between swallow the traffic? --timeout waits longer")
}
