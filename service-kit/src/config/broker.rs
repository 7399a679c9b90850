//! Which broker, and who we are there.

mod credentials;
mod url;

use std::fmt;
use std::path::{Path, PathBuf};

use async_nats::ServerAddr;

use super::nats_context::NatsContext;
use crate::endpoints::{self, Endpoints};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
pub use credentials::Credentials;

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";
const DEFAULT_DATA_DIR: &str = "./.cerebros";

/// The broker's flags, the same for every program.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerArgs {
    /// URL of the broker [default: the running local stack, else nats://127.0.0.1:4222]
    #[arg(long, env = "NATS_URL", global = true, value_name = "URL", hide_env_values = true)]
    pub nats_url: Option<String>,
    /// Credentials file
    #[arg(long, env = "NATS_CREDS", global = true, value_name = "FILE", hide_short_help = true)]
    pub nats_creds: Option<PathBuf>,
    /// File with the nkey seed
    #[arg(long, env = "NATS_NKEY", global = true, value_name = "FILE", hide_short_help = true)]
    pub nats_nkey: Option<PathBuf>,
    /// User
    #[arg(long, env = "NATS_USER", global = true, value_name = "NAME", hide_short_help = true)]
    pub nats_user: Option<String>,
    /// Password; the environment or the file keeps it out of the list of processes
    #[arg(
        long,
        env = "NATS_PASSWORD",
        global = true,
        value_name = "TEXT",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub nats_password: Option<String>,
    /// Certificates that the broker's own is checked against
    #[arg(long, env = "NATS_CA", global = true, value_name = "FILE", hide_short_help = true)]
    pub nats_ca: Option<PathBuf>,
    /// Our certificate
    #[arg(long, env = "NATS_CERT", global = true, value_name = "FILE", hide_short_help = true)]
    pub nats_cert: Option<PathBuf>,
    /// The key of our certificate
    #[arg(long, env = "NATS_KEY", global = true, value_name = "FILE", hide_short_help = true)]
    pub nats_key: Option<PathBuf>,
    /// Context of the nats command line tool
    #[arg(long, env = "NATS_CONTEXT", global = true, value_name = "NAME", hide_short_help = true)]
    pub nats_context: Option<String>,
    /// Copies of each stream and bucket that is created: 1, or 3 or 5 on a cluster
    #[arg(
        long,
        env = "CEREBROS_REPLICAS",
        global = true,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=5),
        hide_short_help = true
    )]
    pub replicas: u8,
    /// Directory of the local stack and of everything that is written here
    #[arg(
        long,
        env = "CEREBROS_DATA_DIR",
        global = true,
        value_name = "DIR",
        default_value = DEFAULT_DATA_DIR,
        hide_short_help = true
    )]
    pub data_dir: PathBuf,
}

/// What holds when nothing is given.
impl Default for BrokerArgs {
    fn default() -> Self {
        Self {
            nats_url: None,
            nats_creds: None,
            nats_nkey: None,
            nats_user: None,
            nats_password: None,
            nats_ca: None,
            nats_cert: None,
            nats_key: None,
            nats_context: None,
            replicas: 1,
            data_dir: PathBuf::from(DEFAULT_DATA_DIR),
        }
    }
}

/// No value of these flags is needed to understand a log line, and two of them are secrets.
impl fmt::Debug for BrokerArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerArgs").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl BrokerArgs {
    /// The broker to connect to: the URL that was given, else the nats context that was named, else the running
    /// local stack (and says so), else the default address.
    ///
    /// # Errors
    /// When what was given cannot be understood or read.
    pub fn resolve(&self) -> Result<BrokerTarget, CliError> {
        let context = self.nats_context.as_deref().map(NatsContext::load).transpose()?;
        let is_open =
            self.nats_url.is_none() && context.as_ref().is_none_or(|context| context.url.is_empty());
        let stack = if is_open { endpoints::running(&self.data_dir) } else { None };
        let target = self.choose(context.unwrap_or_default(), stack.as_ref())?;
        if stack.is_some() {
            output::note(format!(
                "using the local stack at {} (from {})",
                target.url,
                self.endpoints_path().display()
            ));
        }
        Ok(target)
    }

    fn endpoints_path(&self) -> PathBuf {
        Endpoints::path(&self.data_dir)
    }

    /// What is given explicitly stands above the context, piece by piece.
    fn choose(&self, context: NatsContext, stack: Option<&Endpoints>) -> Result<BrokerTarget, CliError> {
        let (given, origin) = match (&self.nats_url, context.url.is_empty(), stack) {
            (Some(url), _, _) => (url.as_str(), "NATS_URL, --nats-url or cerebros.toml"),
            (None, false, _) => (context.url.as_str(), "the nats context"),
            (None, true, Some(stack)) => (stack.nats.as_str(), "the running local stack"),
            (None, true, None) => (DEFAULT_URL, "the default"),
        };
        let (url, in_url) = url::split(given)?;
        let credentials = match (self.own_credentials()?, in_url) {
            (Credentials::None, Credentials::None) => Credentials::of_context(&context)?,
            (Credentials::None, in_url) => in_url,
            (own, _) => own,
        };
        let client_cert = pair(
            self.nats_cert.clone().or_else(|| path(&context.cert)),
            self.nats_key.clone().or_else(|| path(&context.key)),
        )?;
        Ok(BrokerTarget {
            url,
            credentials,
            ca: self.nats_ca.clone().or_else(|| path(&context.ca)),
            client_cert,
            replicas: self.replicas,
            origin,
        })
    }

    fn own_credentials(&self) -> Result<Credentials, CliError> {
        Credentials::choose(
            self.nats_creds.as_deref(),
            self.nats_nkey.as_deref(),
            self.nats_user.as_deref(),
            self.nats_password.as_deref(),
        )
    }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| Path::new(text).to_owned())
}

fn pair(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, CliError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) | (None, Some(_)) => {
            let what = "a client certificate needs both the certificate and its key";
            Err(CliError::new("nats-cert-incomplete", Exit::Usage, what).help("set NATS_CERT and NATS_KEY"))
        }
    }
}

/// Where the broker is and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTarget {
    /// Its URL, several with commas; never holds credentials.
    pub url: String,
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates that the broker's own is checked against.
    pub ca: Option<PathBuf>,
    /// Our certificate and its key.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Copies of what is created.
    pub replicas: u8,
    /// Who named the broker, for messages.
    pub origin: &'static str,
}

impl BrokerTarget {
    /// A broker without credentials: for tests and for the local stack's own services.
    ///
    /// # Errors
    /// When `url` is not a broker's: exit code 2.
    pub fn at(url: &str) -> Result<Self, CliError> {
        let (url, credentials) = url::split(url)?;
        Ok(Self { url, credentials, ca: None, client_cert: None, replicas: 1, origin: "the caller" })
    }

    /// Every server of the URL, for the client.
    pub fn servers(&self) -> Vec<ServerAddr> {
        self.url.split(',').filter_map(|server| server.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests;
