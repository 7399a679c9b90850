//! How what a program publishes is written on the wire: one flag for all of them.

use schemas::Encoding;

use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::schema_registry;

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Wire {
    /// For any client.
    #[default]
    Json,
    /// Avro single-object encoding, smaller; readers find the schema by its fingerprint.
    Avro,
}

impl From<Wire> for Encoding {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Json => Self::Json,
            Wire::Avro => Self::Avro,
        }
    }
}

/// The flag of everything that publishes events.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct WireArgs {
    /// How what is published is written
    #[arg(long, value_enum, value_name = "ENCODING", default_value = "json")]
    pub encoding: Wire,
}

impl WireArgs {
    /// The encoding, once readers can find its schemas: a program that is newer than the services brings its own.
    ///
    /// # Errors
    /// Avro was asked for and the registry does not take the schemas; JSON needs none.
    pub async fn ready(self, broker: &Broker) -> Result<Encoding, CliError> {
        if self.encoding == Wire::Avro {
            schema_registry::register(broker).await.map_err(|error| {
                CliError::new(
                    "registry-unavailable",
                    Exit::Unreachable,
                    "the schemas of Avro messages cannot be registered",
                )
                .because(error)
                .help("is the broker up, and was a service started on it? --encoding json needs no registry")
            })?;
        }
        Ok(self.encoding.into())
    }
}
