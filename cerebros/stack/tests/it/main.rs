//! The local stack on the real things: real processes, real installations, a real broker, a real MLflow.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test and names its line")]

mod broker;
mod install;
mod mlflow;
mod node;
mod parent;
mod process;
mod script;
