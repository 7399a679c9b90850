//! What is remembered of runs and trials: their records under their keys.

use schemas::{RunId, TrialId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use service_kit::clock;

use super::record::{Child, Parent};
use super::{Ledger, LedgerError};

impl Ledger {
    /// What is known of a run.
    pub fn parent(&self, run: &RunId) -> Result<Option<Parent>, LedgerError> {
        let found: Option<Parent> = self.get(&parent_key(run))?;
        Ok(found.map(|mut parent| {
            if parent.is_open {
                parent.steps.forget();
            }
            parent
        }))
    }

    /// What is known of a trial.
    pub fn child(&self, run: &RunId, trial: &TrialId) -> Result<Option<Child>, LedgerError> {
        let found: Option<Child> = self.get(&child_key(run, trial))?;
        Ok(found.map(|mut child| {
            if child.is_open {
                child.steps.forget();
            }
            child
        }))
    }

    /// Records a run.
    pub fn put_parent(&self, run: &RunId, parent: &Parent) -> Result<(), LedgerError> {
        self.records().insert(time_key(run.as_str()), &clock::now().millis().to_be_bytes())?;
        self.put(&parent_key(run), parent)
    }

    /// Records a trial.
    pub fn put_child(&self, run: &RunId, trial: &TrialId, child: &Child) -> Result<(), LedgerError> {
        self.put(&child_key(run, trial), child)
    }

    /// A record that cannot be read, written by another version, counts as absent.
    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, LedgerError> {
        let Some(value) = self.records().get(key)? else { return Ok(None) };
        match serde_json::from_slice(&value) {
            Ok(record) => Ok(Some(record)),
            Err(error) => {
                tracing::warn!(key, %error, "ledger record cannot be read and is looked up anew");
                Ok(None)
            }
        }
    }

    fn put(&self, key: &str, record: &impl Serialize) -> Result<(), LedgerError> {
        let value = serde_json::to_vec(record).map_err(|error| LedgerError(error.to_string()))?;
        self.records().insert(key, value)?;
        Ok(())
    }
}

/// When a run was last written to.
pub(super) fn time_key(run: &str) -> String {
    format!("time/{run}")
}

// Ids contain no slash.
fn parent_key(run: &RunId) -> String {
    format!("run/{run}")
}

fn child_key(run: &RunId, trial: &TrialId) -> String {
    format!("trial/{run}/{trial}")
}
