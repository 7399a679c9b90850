//! The real things for tests: a broker per test, an MLflow, Python environments, a TCP proxy that fails on command,
//! an HTTP proxy that answers wrongly on command, TLS in front of a server, Node.js with the packages of our npm
//! projects, and probes for processes.
//!
//! ```no_run
//! # async fn example() {
//! let nats = testkit::Nats::start().await;
//! let proxy = testkit::Proxy::start(&nats.url()).await;
//! proxy.set(testkit::Fault::BlackHole);
//! # }
//! ```
//!
//! - Everything installs itself into `<workspace>/.cerebros/tools` on first use, through `local-stack`: a clean clone
//!   needs nothing but a Rust toolchain and Python.
//! - Everything ends with the test, and with the test *process*, also when that is killed.
//! - A failure panics with a sentence: this crate is for tests and for `bench`, and no other program depends on it.

mod cluster;
mod http_proxy;
mod javascript;
mod mlflow;
mod nats;
mod port;
mod proxy;
mod scratch;
mod subscription;
mod tls;
mod tools;
mod wait;

pub mod processes;

pub use cluster::Cluster;
pub use http_proxy::{HttpFault, HttpProxy, Rule, Seen};
pub use javascript::{Scripts, asyncapi_validator, javascript_examples, node};
pub use mlflow::{Mlflow, experiment_name};
pub use nats::Nats;
pub use port::Port;
pub use proxy::{Fault, Proxy};
pub use scratch::Scratch;
pub use subscription::subscribe;
pub use tls::{Clients, TlsFront};
pub use tools::{mlflow_python, mlflow2_python, nats_server, tests_python, tools, trainer_python, workspace};
pub use wait::wait_until;
