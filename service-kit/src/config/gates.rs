//! The two gates of the worker. Both must be open; both are shut unless somebody opens them.

use crate::error::CliError;
use crate::exit::Exit;

/// The feature that opens the second gate.
const FEATURE: &str = "ml_nas";

/// The gates' flags.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Gates")]
pub struct GateArgs {
    /// First gate: true opens it
    #[arg(long, env = "CEREBROS_ENABLED", global = true, value_name = "BOOL")]
    pub enabled: Option<String>,
    /// Another name of --enabled, which wins
    #[arg(long, env = "TL_ENABLE_CEREBROS_BRIDGE", global = true, value_name = "BOOL", hide = true)]
    pub tl_enable_cerebros_bridge: Option<String>,
    /// Second gate: a list with commas, open if it has ml_nas
    #[arg(long, env = "FEATURES", global = true, value_name = "LIST")]
    pub features: Option<String>,
}

impl GateArgs {
    /// How the gates stand.
    ///
    /// # Errors
    /// See [`Gates::from_env_values`].
    pub fn gates(&self) -> Result<Gates, CliError> {
        Gates::from_env_values(
            self.enabled.as_deref(),
            self.tl_enable_cerebros_bridge.as_deref(),
            self.features.as_deref(),
        )
    }

    /// Whether the second gate is open, however the first one is written.
    pub fn has_feature(&self) -> bool {
        has_feature(self.features.as_deref())
    }
}

/// How the two gates stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gates {
    /// CEREBROS_ENABLED is on.
    pub is_enabled: bool,
    /// FEATURES has `ml_nas`.
    pub has_feature: bool,
}

impl Gates {
    /// From the values of CEREBROS_ENABLED, its alias TL_ENABLE_CEREBROS_BRIDGE and FEATURES. Empty means unset.
    ///
    /// # Errors
    /// When a switch is neither true nor false: exit code 2. A typing error must not pass for a shut gate.
    pub fn from_env_values(
        enabled: Option<&str>,
        alias: Option<&str>,
        features: Option<&str>,
    ) -> Result<Self, CliError> {
        let enabled = switch("CEREBROS_ENABLED", enabled)?;
        let alias = switch("TL_ENABLE_CEREBROS_BRIDGE", alias)?;
        Ok(Self { is_enabled: enabled.or(alias).unwrap_or(false), has_feature: has_feature(features) })
    }

    /// Which gate is shut and how to open it; `None` if both are open.
    pub fn closed(self) -> Option<&'static str> {
        match (self.is_enabled, self.has_feature) {
            (true, true) => None,
            (false, true) => Some("the gate CEREBROS_ENABLED is shut; set CEREBROS_ENABLED=true to open it"),
            (true, false) => Some("the gate FEATURES is shut; set FEATURES=ml_nas to open it"),
            (false, false) => Some(
                "the gates CEREBROS_ENABLED and FEATURES are shut; \
                 set CEREBROS_ENABLED=true and FEATURES=ml_nas to open them",
            ),
        }
    }
}

fn has_feature(features: Option<&str>) -> bool {
    features.unwrap_or_default().split(',').any(|feature| feature.trim() == FEATURE)
}

fn switch(name: &str, value: Option<&str>) -> Result<Option<bool>, CliError> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Some(true)),
        "false" | "0" | "no" | "off" => Ok(Some(false)),
        _ => Err(CliError::new(
            "not-a-switch",
            Exit::Usage,
            format!("{name} is `{value}`, neither true nor false"),
        )
        .help("use true, 1, yes, on or false, 0, no, off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(enabled: Option<&str>, alias: Option<&str>, features: Option<&str>) -> Option<&'static str> {
        Gates::from_env_values(enabled, alias, features).unwrap().closed()
    }

    #[test]
    fn both_gates_are_shut_by_default() {
        let text = closed(None, None, None).unwrap();
        assert!(text.contains("CEREBROS_ENABLED=true") && text.contains("FEATURES=ml_nas"));
        assert_eq!(closed(Some(""), Some(" "), Some("")), Some(text), "empty means unset");
    }

    #[test]
    fn each_gate_is_named_alone() {
        assert!(closed(Some("off"), None, Some("ml_nas")).unwrap().starts_with("the gate CEREBROS_ENABLED"));
        assert!(closed(Some("on"), None, Some("ml_nas_2,other")).unwrap().starts_with("the gate FEATURES"));
    }

    #[test]
    fn every_way_to_say_yes_opens() {
        for yes in ["true", "1", "yes", "on", "TRUE", " On "] {
            assert_eq!(closed(Some(yes), None, Some("a, ml_nas ,b")), None, "{yes}");
        }
    }

    #[test]
    fn the_alias_speaks_only_where_the_name_is_silent() {
        assert_eq!(closed(None, Some("true"), Some("ml_nas")), None);
        assert!(closed(Some("false"), Some("true"), Some("ml_nas")).is_some());
    }

    #[test]
    fn a_typing_error_is_not_a_shut_gate() {
        let error = Gates::from_env_values(Some("ture"), None, None).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.what.contains("CEREBROS_ENABLED"));
    }
}
