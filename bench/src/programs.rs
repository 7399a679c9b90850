//! The release binaries that are measured, built from this checkout before anything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use tokio::process::Command;

use crate::cli::progress;
use crate::environments::workspace;

/// A first optimised build of everything on two busy cores.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Programs that were built, by name.
#[derive(Debug)]
pub(crate) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// Builds these packages, each of which has a binary of its own name, in the release profile.
    pub(crate) async fn build(names: &[&str]) -> Result<Self, CliError> {
        progress(format!("building {}", names.join(", ")));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(workspace())
            .args(["build", "--release", "--quiet", "--message-format", "json-render-diagnostics"])
            .args(names.iter().flat_map(|name| ["-p", name]))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let failed = |because: String| {
            CliError::new("not-built", Exit::LocalResource, format!("{} cannot be built", names.join(", ")))
                .because(because)
                .help("the compiler's words stand above")
        };
        let output = tokio::time::timeout(BUILD_LIMIT, command.output())
            .await
            .map_err(|_| failed(format!("not done after {} s", BUILD_LIMIT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(output.status.to_string()));
        }
        let built = Self(executables(&String::from_utf8_lossy(&output.stdout)));
        names.iter().try_for_each(|name| built.path(name).map(drop))?;
        Ok(built)
    }

    /// Where one is.
    pub(crate) fn path(&self, name: &str) -> Result<&Path, CliError> {
        let missing = || {
            CliError::new(
                "no-program",
                Exit::LocalResource,
                format!("the package {name} has no program {name}"),
            )
            .help("it may not be written yet; measure something else")
        };
        self.0.get(name).map(PathBuf::as_path).ok_or_else(missing)
    }
}

/// The programs in what cargo says.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let parsed = messages.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    parsed.filter_map(|message| Some((message.target.name, message.executable?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_artefacts_that_can_be_executed_are_programs() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"bridge-worker"},"executable":"/t/bridge-worker"}
{"reason":"build-finished","success":true}"#;
        let found = executables(messages);
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [("bridge-worker".into(), "/t/bridge-worker".into())]
        );
    }
}
