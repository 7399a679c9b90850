//! Which server it is, and single runs of it, by their ids.

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::error::ClientError;
use super::{Client, Experiment, FoundRun, wire};

/// The experiment a server makes with its database, by its id.
const FIRST_EXPERIMENT: &str = "0";

#[derive(Debug, Deserialize)]
struct Answer {
    experiment: First,
}

#[derive(Debug, Deserialize)]
struct First {
    #[serde(default)]
    creation_time: i64,
}

impl Client {
    /// When the database behind the server was made, in milliseconds since 1970: the same under every address, another
    /// after it was wiped. 0 when the server does not say, or not to this user.
    pub async fn identity(&self) -> Result<i64, ClientError> {
        let answer: Result<Answer, _> =
            self.get("experiments/get", &[("experiment_id", FIRST_EXPERIMENT)]).await;
        match answer {
            Ok(answer) => Ok(answer.experiment.creation_time),
            Err(ClientError::Missing { .. }) => Ok(0),
            Err(error) if error.is_denied() => {
                let url = self.url();
                tracing::info!(url, %error, "the server is known by its address: who we are may not see its first experiment");
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// An experiment by its id, deleted ones included.
    pub async fn experiment_with(&self, id: &str) -> Result<Option<Experiment>, ClientError> {
        let answer: Result<wire::ExperimentAnswer, _> =
            self.get("experiments/get", &[("experiment_id", id)]).await;
        match answer {
            Ok(answer) => Ok(Some(answer.experiment)),
            Err(ClientError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Which server it is, and which workspace on it, as part of a key.
    pub async fn name(&self) -> Result<String, ClientError> {
        let made = self.identity().await?;
        let mut text = if made > 0 { made.to_string() } else { self.url().to_owned() };
        if let Some(workspace) = self.workspace() {
            text.push_str(&format!(" {workspace}"));
        }
        Ok(Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect())
    }

    /// A run by its id, deleted ones included; `None` when the server has none of that id.
    pub async fn run(&self, id: &str) -> Result<Option<FoundRun>, ClientError> {
        let answer: Result<wire::RunAnswer, _> = self.get("runs/get", &[("run_id", id)]).await;
        match answer {
            Ok(answer) => Ok(Some(answer.run.into())),
            Err(ClientError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a run, as far as MLflow deletes: it can be restored. One that is not there is deleted.
    pub async fn delete_run(&self, id: &str) -> Result<(), ClientError> {
        let answer: Result<wire::Anything, _> = self.post("runs/delete", &json!({"run_id": id})).await;
        match answer {
            Ok(_) | Err(ClientError::Missing { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
