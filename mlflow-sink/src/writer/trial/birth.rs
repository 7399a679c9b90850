//! The nested run of a trial the ledger does not know: found, else created.

use schemas::{RunId, TrialId};
use service_kit::births::trial_key;

use super::super::birth::Run;
use super::super::{Trouble, Writer};
use super::events::kin;
use crate::client::FoundRun;
use crate::client::pages::Page;
use crate::ledger::record::{Child, Parent};
use crate::projection::{Birth, Seen, parent, trial};

impl Writer {
    /// The nested run of a trial the ledger does not know: found by its tags, else created.
    pub(super) async fn child(
        &self,
        run: &RunId,
        known: &Parent,
        trial: &TrialId,
        events: &[&Seen],
    ) -> Result<Child, Trouble> {
        let key = trial_key(&self.server().await?, run, trial);
        let mut birth = trial::birth(run, trial, &known.mlflow_id, events);
        let identity = birth.tags.clone();
        birth.tags.extend(trial::tags_at_birth(events, kin(known)).unwrap_or_default());
        let born = match self.born_child(run, &key, known, trial, &birth).await {
            // Not for what the report says: that is refused where the rest of the trial is not lost with it.
            Err(Trouble::Refused(words)) if birth.tags.len() > identity.len() => {
                tracing::info!(%trial, words, "MLflow refused a trial with its tags; it is created without them");
                birth.tags = identity;
                self.born_child(run, &key, known, trial, &birth).await?
            }
            born => born?,
        };
        Ok(match &born.found {
            Some(found) => Child::found(found),
            None => Child { born_with: birth.all_tags(), ..Child::created(born.id) },
        })
    }

    async fn born_child(
        &self,
        run: &RunId,
        key: &str,
        known: &Parent,
        trial: &TrialId,
        birth: &Birth,
    ) -> Result<Run, Trouble> {
        // Below a run from birth there is none that the broker does not know.
        let older = (!known.is_from_birth).then_some(|| self.older_child(run, known, trial));
        self.born(run, key, &known.experiment_id, birth, older).await
    }

    /// The nested run of a trial, by its tags.
    async fn older_child(
        &self,
        run: &RunId,
        known: &Parent,
        trial: &TrialId,
    ) -> Result<Option<FoundRun>, Trouble> {
        let tags = [
            (trial::PARENT_TAG, known.mlflow_id.as_str()),
            (parent::RUN_TAG, run.as_str()),
            (trial::TRIAL_TAG, trial.as_str()),
        ];
        let (found, _) =
            self.client.search(std::slice::from_ref(&known.experiment_id), &tags, Page::first()).await?;
        Ok(found.into_iter().next())
    }
}
