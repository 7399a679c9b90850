//! Which MLflow, and who we are there: the flags of every command that speaks to it.

mod credentials;
pub mod http;
pub mod page;
pub mod tls;
pub mod tracking;

use std::path::{Path, PathBuf};

use crate::endpoints;
use crate::error::CliError;
use tls::Tls;
use tracking::{Authorization, Tracking};

/// The tracking server of whoever names none and runs no local stack.
pub const DEFAULT_MLFLOW: &str = "http://127.0.0.1:5000";

/// Flags of every command that speaks to MLflow, with the variables MLflow's own clients read.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "MLflow")]
pub struct ServerArgs {
    /// URL of the tracking server [default: the running local stack's, else http://127.0.0.1:5000]
    #[arg(long, env = "MLFLOW_TRACKING_URI", value_name = "URL", hide_env_values = true)]
    mlflow_url: Option<String>,
    /// User
    #[arg(long, env = "MLFLOW_TRACKING_USERNAME", value_name = "NAME", hide_short_help = true)]
    mlflow_username: Option<String>,
    /// Password; the environment keeps it out of the list of processes
    #[arg(
        long,
        env = "MLFLOW_TRACKING_PASSWORD",
        value_name = "TEXT",
        hide_env_values = true,
        hide_short_help = true
    )]
    mlflow_password: Option<String>,
    /// Bearer token; the environment keeps it out of the list of processes
    #[arg(
        long,
        env = "MLFLOW_TRACKING_TOKEN",
        value_name = "TEXT",
        hide_env_values = true,
        hide_short_help = true
    )]
    mlflow_token: Option<String>,
    /// Workspace of the server, of version 3.17 and later
    #[arg(long, env = "MLFLOW_WORKSPACE", value_name = "NAME", hide_short_help = true)]
    mlflow_workspace: Option<String>,
    /// Certificates the server's own is checked against, a PEM file or a directory of them [default: the system's]
    #[arg(long, env = "MLFLOW_TRACKING_SERVER_CERT_PATH", value_name = "PATH", hide_short_help = true)]
    mlflow_ca: Option<PathBuf>,
    /// Our certificate and its key, in one PEM file
    #[arg(long, env = "MLFLOW_TRACKING_CLIENT_CERT_PATH", value_name = "FILE", hide_short_help = true)]
    mlflow_cert: Option<PathBuf>,
    /// Take whoever answers for the server
    #[arg(
        long,
        env = "MLFLOW_TRACKING_INSECURE_TLS",
        value_name = "BOOL",
        hide_short_help = true,
        num_args = 0..=1,
        default_value = "false",
        default_missing_value = "true",
        value_parser = switch
    )]
    mlflow_insecure_tls: bool,
}

/// Every flag may carry a secret, the URL in its user part.
impl std::fmt::Debug for ServerArgs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerArgs").finish_non_exhaustive()
    }
}

impl ServerArgs {
    /// The URL that was given, if one was.
    pub fn given(&self) -> Option<&str> {
        self.mlflow_url.as_deref()
    }

    /// The tracking server: the one that was given, else the running local stack's, else [`DEFAULT_MLFLOW`].
    ///
    /// # Errors
    /// When the URL is none, or asks for what this build cannot do.
    pub fn tracking(&self, data_dir: &Path) -> Result<Tracking, CliError> {
        let authorization = self.authorization()?;
        let of_the_stack = || endpoints::running(data_dir).and_then(|stack| stack.mlflow);
        let uri = self.mlflow_url.clone().or_else(of_the_stack).unwrap_or_else(|| DEFAULT_MLFLOW.to_owned());
        let tls = Tls::new(self.mlflow_ca.clone(), self.mlflow_cert.clone(), self.mlflow_insecure_tls)?;
        Tracking::new(&uri, authorization)?.with_tls(tls).in_workspace(self.mlflow_workspace.as_deref())
    }

    /// Who we are: what was given, and what is missing of user and password from the file of MLflow's clients. That file
    /// is about a server somebody named, and not about one of the local stack.
    fn authorization(&self) -> Result<Authorization, CliError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (mut user, mut password) = (given(&self.mlflow_username), given(&self.mlflow_password));
        let names_itself = self.mlflow_url.as_deref().is_none_or(|url| url.contains('@'));
        if !names_itself
            && (user.is_none() || password.is_none())
            && let Some(path) = credentials::path()
        {
            let kept = credentials::read(&path)?;
            (user, password) = (user.or(kept.user), password.or(kept.password));
        }
        Ok(Authorization::from_parts(user, password, self.mlflow_token.clone()))
    }
}

/// True or false; nothing at all, as an empty variable says, is false. A word that is neither must not pass for true.
fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "" | "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("use true or false".to_owned()),
    }
}
