//! The experiment of a run: what the run asks for, else what the sink was told.

use std::time::Duration;

use schemas::RunId;
use schemas::event::MlRunStarted;

use super::{Stopped, Trouble, Writer};
use crate::client::error::{ClientError, Scope};
use crate::projection::parent;

/// Where runs are filed that name no experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filing {
    /// Name of the experiment, created if need be.
    name: Option<String>,
    /// Its id; with a name it has to be that of the name.
    id: Option<String>,
}

impl Filing {
    /// As MLflow's own clients take it: the name counts, else the id, else `fallback` is the name.
    pub fn new(name: Option<String>, id: Option<String>, fallback: &str) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (name, id) = (given(name), given(id));
        let name = name.or_else(|| id.is_none().then(|| fallback.to_owned()));
        Self { name, id }
    }
}

impl From<String> for Filing {
    fn from(name: String) -> Self {
        Self { name: Some(name), id: None }
    }
}

impl Writer {
    /// Id of the experiment a run belongs to, created if need be. The start of the run names it; a run that never
    /// started (rejected, cancelled while queued) has only its request, which the run registry keeps.
    pub(super) async fn experiment_of(
        &self,
        run: &RunId,
        started: Option<&MlRunStarted>,
    ) -> Result<String, Trouble> {
        let spec = match started {
            Some(_) => None,
            None => self.registry.get(run).await?.map(|held| held.record.spec.0),
        };
        if let Some(name) = parent::experiment(started, spec.as_ref()) {
            return self.experiment_called(&name).await;
        }
        let Filing { name, id } = &self.filing;
        match (name, id) {
            (Some(name), None) => self.experiment_called(name).await,
            (Some(name), Some(id)) => {
                let found = self.experiment_called(name).await?;
                if found == *id {
                    return Ok(found);
                }
                Err(misconfigured(format!(
                    "MLFLOW_EXPERIMENT_ID is {id}, and the experiment \"{name}\" of MLFLOW_EXPERIMENT_NAME has the id {found}; \
                     unset one of them"
                )))
            }
            (None, id) => self.experiment_with(id.as_deref().unwrap_or_default()).await,
        }
    }

    async fn experiment_called(&self, name: &str) -> Result<String, Trouble> {
        if let Some(id) = self.active_experiment(name).await? {
            return Ok(id);
        }
        match self.client.create_experiment(name).await {
            Ok(id) => Ok(id),
            // Somebody else was faster.
            Err(ClientError::Exists { words }) => {
                self.active_experiment(name).await?.ok_or(Trouble::Refused(words))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A deleted experiment was deleted by a person; only a person restores it.
    async fn active_experiment(&self, name: &str) -> Result<Option<String>, Trouble> {
        match self.client.experiment(name).await? {
            Some(found) if found.lifecycle_stage == "deleted" => Err(deleted(name, &found.id)),
            found => Ok(found.map(|experiment| experiment.id)),
        }
    }

    async fn experiment_with(&self, id: &str) -> Result<String, Trouble> {
        match self.client.experiment_with(id).await? {
            Some(found) if found.lifecycle_stage == "deleted" => Err(deleted(id, &found.id)),
            Some(found) => Ok(found.id),
            None => Err(misconfigured(format!(
                "MLflow has no experiment with the id {id}, which MLFLOW_EXPERIMENT_ID names; correct it, or set \
                 MLFLOW_EXPERIMENT_NAME instead"
            ))),
        }
    }
}

fn deleted(name: &str, id: &str) -> Trouble {
    Trouble::Refused(format!(
        "the experiment \"{name}\" must be in the 'active' state, current state is deleted: restore it with \
         `mlflow experiments restore -x {id}`, then replay; or name another experiment"
    ))
}

/// Nobody's event is at fault: the run waits until somebody changes it.
fn misconfigured(reason: String) -> Trouble {
    Trouble::Stopped(Stopped { reason, pause: Duration::ZERO, scope: Scope::Lane })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_before_an_id_and_without_both_there_is_a_fallback() {
        let some = |text: &str| Some(text.to_owned());
        let filing = |name: Option<String>, id: Option<String>| Filing::new(name, id, "cerebros");
        assert_eq!(filing(None, None), Filing::from("cerebros".to_owned()));
        assert_eq!(filing(some(""), some("")), Filing::from("cerebros".to_owned()));
        assert_eq!(filing(None, some("7")), Filing { name: None, id: some("7") });
        assert_eq!(filing(some("mine"), some("7")), Filing { name: some("mine"), id: some("7") });
    }
}
