//! MLflow: there, and willing to talk to us.

use std::fmt;
use std::path::Path;

use mlflow_sink::client::Client;
use mlflow_sink::client::error::ClientError;
use mlflow_sink::client::tracking::{Authorization, Tracking};
use service_kit::endpoints;
use service_kit::error::CliError;

use super::check::Finding;

const DEFAULT: &str = "http://127.0.0.1:5000";

/// Which MLflow, and who we are there.
#[derive(Clone, clap::Args)]
pub(super) struct MlflowArgs {
    /// URL of MLflow [default: the running local stack's, else http://127.0.0.1:5000]
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
}

/// Three of these flags may carry secrets.
impl fmt::Debug for MlflowArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlflowArgs").finish_non_exhaustive()
    }
}

/// Asks MLflow's own interface.
pub(super) async fn check(args: &MlflowArgs, data_dir: &Path) -> Finding {
    let stack = endpoints::running(data_dir);
    let uri = match (&args.mlflow_url, &stack) {
        (Some(given), _) => given.clone(),
        (None, Some(stack)) => match &stack.mlflow {
            Some(uri) => uri.clone(),
            None => return Finding::ok("the running stack was started without it"),
        },
        (None, None) => DEFAULT.to_owned(),
    };
    let authorization = Authorization::from_parts(
        args.mlflow_username.clone(),
        args.mlflow_password.clone(),
        args.mlflow_token.clone(),
    );
    let client = match Tracking::new(&uri, authorization) {
        Ok(tracking) => Client::new(tracking),
        Err(error) => return refused(error),
    };
    let answer = match client {
        Ok(client) => client.probe().await.map(|()| client.url().to_owned()),
        Err(error) => Err(error),
    };
    match answer {
        Ok(url) => Finding::ok(format!("answers at {url}")),
        // Nobody asked for one: a pipeline without MLflow is a pipeline all the same.
        Err(ClientError::Outage { reason, .. }) if args.mlflow_url.is_none() && stack.is_none() => {
            Finding::warning(
                format!("none at {DEFAULT}: {reason}"),
                "`cerebros up` starts one; MLFLOW_TRACKING_URI names another",
            )
        }
        Err(ClientError::Outage { reason, .. }) => Finding::error(
            format!("no answer: {reason}"),
            "start it, or correct MLFLOW_TRACKING_URI; the sink waits for it",
        ),
        Err(ClientError::Misconfigured { reason, .. }) => {
            Finding::error(reason, "until this is changed the sink waits and loses nothing")
        }
        Err(
            error @ (ClientError::Missing { .. } | ClientError::Exists { .. } | ClientError::Refused { .. }),
        ) => Finding::error(error.to_string(), "is it an MLflow tracking server of version 2 or 3?"),
    }
}

fn refused(error: CliError) -> Finding {
    let because = error.because.map(|because| format!(": {because}")).unwrap_or_default();
    Finding::error(format!("{}{because}", error.what), error.help.unwrap_or_default())
}
