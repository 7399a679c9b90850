//! What a local stack needs on one machine: tools that install themselves once, a broker and an MLflow server that
//! really answer before they count as started, ports that never hurt, and processes that die with their parent.
//!
//! Invariants:
//! - everything written lies under the data directory the caller names; nothing is installed into the system, the
//!   user's Python or the working directory;
//! - everything listens on the loopback address only;
//! - nothing counts as installed before it was complete, nothing counts as started before it answered;
//! - a program started here does not outlive the process that started it, not even after `kill -9`;
//! - every wait has a deadline, and a failure carries the last lines the program printed and where the rest is.
//!
//! It prints nothing (the caller does, from [`install::Notice`]), knows no run, no stream and no event, and does not
//! decide which programs make up a stack: that is the `cerebros` program's business.

pub mod broker;
pub mod install;
pub mod mlflow;
pub mod ports;
pub mod process;
pub mod readiness;

pub use broker::{Broker, BrokerConfig, Member};
pub use install::Tools;
pub use mlflow::{Mlflow, MlflowConfig};
pub use process::{Exit, Launch, Supervised};
