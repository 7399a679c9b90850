//! Configuration: flag > environment > `cerebros.toml` > default, for every value alike.
//!
//! [`VARIABLES`] is the list of what can be set from outside the command line. A program declares a flag with
//! `env = "NAME"`; [`layered`] lets the file speak where the environment is silent. An empty variable counts as
//! unset, so that `NAME: ${NAME:-}` in a compose file means what it looks like.
//!
//! Invariants: an unknown key is an error with a suggestion, never ignored; secrets are never printed, not even by
//! `Debug`; a broker URL that was given is used or is an error, never replaced by another.

mod broker;
mod effective;
mod file;
mod gates;
mod layers;
mod masked;
mod nats_context;
mod variables;

pub use broker::{BrokerArgs, BrokerTarget, Credentials};
pub use effective::{Effective, Origin, effective};
pub use file::ConfigFile;
pub use gates::{GateArgs, Gates};
pub use layers::layered;
pub use variables::{Shape, VARIABLES, Variable, variable};
