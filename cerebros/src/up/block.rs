//! What a person reads when the stack is ready: where everything is, how to stop it, what to try.
//!
//! It follows from `endpoints.json` and the data directory alone, so that a second `up` prints the same.

use std::fmt;
use std::path::Path;

use service_kit::endpoints::Endpoints;
use service_kit::output::plain_text;

use crate::assembly::Layout;
use crate::invocation::Invocation;

/// Longest value, in characters: a path.
const VALUE_LIMIT: usize = 4096;

/// The block.
pub(super) struct Block<'a> {
    endpoints: &'a Endpoints,
    layout: &'a Layout,
    invocation: Invocation,
}

impl<'a> Block<'a> {
    pub(super) fn new(endpoints: &'a Endpoints, layout: &'a Layout) -> Self {
        Self { endpoints, layout, invocation: Invocation::of_this_process() }
    }
}

impl fmt::Display for Block<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |path: &Path| path.display().to_string();
        let mlflow = self.endpoints.mlflow.clone().unwrap_or_else(|| "not started (--no-mlflow)".to_owned());
        let stop = format!("Ctrl-C, or kill {}", self.endpoints.pid);
        let lines = [
            ("MLflow", mlflow),
            ("NATS", self.endpoints.nats.clone()),
            ("data", path(self.layout.root())),
            ("logs", path(self.layout.logs())),
            ("stop", stop),
        ];
        writeln!(f, "ready: a stack for one machine, without passwords, on the loopback address only\n")?;
        for (name, value) in lines {
            writeln!(f, "  {name:<8}{}", plain_text::one_line(&value, VALUE_LIMIT))?;
        }
        writeln!(f, "\ntry from another terminal:\n")?;
        for command in ["run submit --set dataset_id=digits --watch", "run list", "doctor"] {
            writeln!(f, "  {}", self.invocation.with(command, self.layout.root()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_names_the_effective_addresses_in_columns() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        let endpoints = Endpoints {
            nats: "nats://127.0.0.1:4223".to_owned(),
            mlflow: Some("http://127.0.0.1:5001".to_owned()),
            dashboard: None,
            pid: 77,
            version: "0.1.0".to_owned(),
        };
        let invocation = Invocation::named("cerebros");
        let text = Block { endpoints: &endpoints, layout: &layout, invocation }.to_string();
        assert!(
            text.contains("  MLflow  http://127.0.0.1:5001\n  NATS    nats://127.0.0.1:4223\n"),
            "{text}"
        );
        assert!(text.contains("kill 77"), "{text}");
        let root = layout.root().display();
        assert!(text.contains(&format!("  cerebros doctor --data-dir {root}\n")), "{text}");
    }
}
