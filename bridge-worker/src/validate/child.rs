//! A real child, started as a worker would and greeted.

use std::time::Duration;

use service_kit::check::{Check, Finding, within};

use crate::child::{Child, StartError};
use crate::cli::ServeArgs;
use crate::means::child_settings;

/// Importing scikit-learn on a busy machine takes seconds.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) async fn check(args: &ServeArgs, has_python: bool) -> Check {
    const NAME: &str = "child";
    if !has_python {
        let finding =
            Finding::warning("not checked: there is no usable Python", "see the check python first");
        return finding.named(NAME);
    }
    within(DEADLINE, NAME, async {
        let settings = match child_settings(args) {
            Ok(settings) => settings,
            Err(error) => return Finding::of(error),
        };
        match Child::start(&settings).await {
            Ok(child) => {
                child.kill().await;
                Finding::ok(format!("a child imported {} and said it is ready", settings.preload.join(", ")))
            }
            Err(error @ StartError::Spawn { .. }) => {
                Finding::error(error.to_string(), "name a Python of 3.9 or later with CEREBROS_PYTHON")
            }
            Err(error @ StartError::NotReady { .. }) => Finding::error(
                error.to_string(),
                "install what is missing into that interpreter's environment, or leave the trainer out of --preload",
            ),
        }
    })
    .await
}
