//! Trials a run left behind: closed when it is over.

use std::collections::BTreeSet;

use schemas::{RunId, TrialId};

use super::{Trouble, Writer, settled};
use crate::client::FoundRun;
use crate::client::pages::Page;
use crate::ledger::record::Child;
use crate::projection::left::{Over, left};
use crate::projection::trial;

impl Writer {
    /// Closes every trial of a parent that is RUNNING still. One MLflow refuses to close is left, and said.
    pub(super) async fn close_leftovers(
        &self,
        run: &RunId,
        (parent, experiment): (&str, &str),
        over: &Over,
    ) -> Result<(), Trouble> {
        let experiments = [experiment.to_owned()];
        let mut given_up = BTreeSet::new();
        loop {
            let (page, _) =
                self.client.running(&experiments, (trial::PARENT_TAG, parent), Page::first()).await?;
            let todo: Vec<FoundRun> =
                page.into_iter().filter(|found| !given_up.contains(&found.run_id)).collect();
            if todo.is_empty() {
                return Ok(());
            }
            for found in todo {
                // Each is asked for once: a server that closes nothing does not keep us for ever.
                given_up.insert(found.run_id.clone());
                if let super::Fate::Refused(words) = settled(self.close_leftover(run, &found, over).await)? {
                    tracing::warn!(%run, trial = found.run_id, words, "MLflow refused to close a trial that is left");
                }
            }
        }
    }

    async fn close_leftover(&self, run: &RunId, found: &FoundRun, over: &Over) -> Result<(), Trouble> {
        let (writes, closing) = left(over);
        self.client.write(&found.run_id, writes).await?;
        self.client.close(&found.run_id, &closing).await?;
        let Some(trial) = found.tags.get(trial::TRIAL_TAG).map(TrialId::from_text) else {
            return Ok(());
        };
        tracing::info!(%run, %trial, status = closing.status.as_str(), "a trial nobody reported is closed with its run");
        let mut child = self.ledger.child(run, &trial)?.unwrap_or_else(|| Child::found(found));
        child.leave(over.attempt, closing.end_time);
        Ok(self.ledger.put_child(run, &trial, &child)?)
    }
}
