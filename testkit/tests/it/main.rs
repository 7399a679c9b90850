//! The test kit on itself: what tests rely on without looking.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test and names its line")]

mod house;
mod javascript;
mod mlflow;
mod nats;
mod python;
