//! The front door, tried as its users do: the built program, the real broker, the real MLflow, real Python.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod catalogue;
mod config;
mod demo;
mod doctor;
mod events;
mod foreign;
mod program;
mod schemas;
mod story;
mod up;
