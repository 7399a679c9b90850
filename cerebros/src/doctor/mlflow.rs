//! MLflow: there, and willing to talk to us.

use std::path::Path;

use mlflow_sink::client::Client;
use mlflow_sink::client::error::ClientError;
use mlflow_sink::{DEFAULT_MLFLOW, ServerArgs};
use service_kit::endpoints;
use service_kit::error::CliError;

use super::check::Finding;

/// Asks MLflow's own interface.
pub(super) async fn check(args: &ServerArgs, data_dir: &Path) -> Finding {
    let stack = endpoints::running(data_dir);
    if args.given().is_none() && stack.as_ref().is_some_and(|stack| stack.mlflow.is_none()) {
        return Finding::ok("the running stack was started without it");
    }
    let client = match args.tracking(data_dir) {
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
        Err(ClientError::Outage { reason, .. }) if args.given().is_none() && stack.is_none() => {
            Finding::warning(
                format!("none at {DEFAULT_MLFLOW}: {reason}"),
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
