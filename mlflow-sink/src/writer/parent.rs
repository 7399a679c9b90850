//! The parent run: found or created, begun, ended.

use std::collections::{BTreeMap, BTreeSet};

use schemas::event::MlRunStarted;
use schemas::{Event, RunId};
use service_kit::births::run_key;

use super::{Fate, Trouble, Writer, settled};
use crate::client::pages::Page;
use crate::client::{FoundRun, PAGE_EXPERIMENTS};
use crate::ledger::record::Parent;
use crate::projection::left::Over;
use crate::projection::originals::Told;
use crate::projection::{Seen, Writes, dataset, parent, trial};

impl Writer {
    /// The parent run of a run: remembered, else found by its tag, else created.
    pub(super) async fn parent(&self, run: &RunId, first: &Seen, events: &[Seen]) -> Result<Parent, Trouble> {
        if let Some(known) = self.ledger.parent(run)? {
            return Ok(known);
        }
        let started = events.iter().find_map(|seen| match_start(&seen.event));
        let experiment = self.experiment_of(run, started).await?;
        let key = run_key(&self.server().await?, run);
        let birth = parent::birth(run, first, self.dashboard.as_deref());
        let older = || self.older_parent(run, &experiment, started.is_some());
        let born = self.born(run, &key, &experiment, &birth, Some(older)).await?;
        let known = match &born.found {
            Some(found) => Parent::found(found),
            None => {
                tracing::info!(%run, mlflow_run = born.id, "run created in MLflow");
                Parent::created(born.id, born.experiment)
            }
        };
        Ok(Parent { is_from_birth: born.is_from_birth, ..known })
    }

    /// The parent run of a run, by its tags.
    async fn older_parent(
        &self,
        run: &RunId,
        experiment: &String,
        is_start_known: bool,
    ) -> Result<Option<FoundRun>, Trouble> {
        let tags = [(parent::RUN_TAG, run.as_str()), (parent::KIND_TAG, parent::KIND)];
        let (mut found, _) =
            self.client.search(std::slice::from_ref(experiment), &tags, Page::first()).await?;
        if found.is_empty() && !is_start_known {
            // Its start may have named another experiment, in an event that was acked before the ledger was lost.
            let all = self.client.experiments().await?;
            for some in all.chunks(PAGE_EXPERIMENTS as usize) {
                found.extend(self.client.search(some, &tags, Page::first()).await?.0);
            }
        }
        Ok(found.into_iter().next())
    }

    /// Writes what the start of the run says.
    pub(super) async fn write_start(
        &self,
        known: &mut Parent,
        started: &MlRunStarted,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        let told = || parent::started(started, seen.schema.as_deref()).traced(seen.sequence);
        if !known.takes_start(started, seen.attempt) {
            return Ok(());
        }
        let (written, named) = tokio::join!(
            self.put(&known.mlflow_id, &mut known.originals, told()),
            self.write_dataset(&known.mlflow_id, started)
        );
        let refused = match written {
            Err(Trouble::Refused(words)) => Some(words),
            written => written.map(|()| None)?,
        };
        named?;
        if let Some(words) = &refused {
            self.write_without_values(&known.mlflow_id, &mut known.originals, told(), words).await?;
        }
        if known.is_reopened_by(started, seen.attempt) {
            let kept = refused.iter().map(|_| parent::REFUSED_TAG.to_owned()).collect();
            self.reopen(known, &kept).await?;
        }
        if known.is_refused && refused.is_none() {
            self.client.delete_tag(&known.mlflow_id, parent::REFUSED_TAG).await?;
        }
        known.is_refused = refused.is_some();
        known.open(started, seen.attempt);
        // What MLflow refused is the event's fault and its dead letter; the run goes on all the same.
        if let Some(words) = refused {
            return Err(Trouble::Refused(words));
        }
        known.mark(&seen.event);
        Ok(())
    }

    /// Names the data set as an input of the run. A server that takes none keeps the run without.
    async fn write_dataset(&self, mlflow_id: &str, started: &MlRunStarted) -> Result<(), Trouble> {
        let Some(dataset) = dataset::dataset(started) else { return Ok(()) };
        match settled(self.client.log_input(mlflow_id, &dataset).await.map_err(Trouble::from))? {
            Fate::Written => {}
            Fate::Refused(words) => {
                tracing::warn!(mlflow_run = mlflow_id, words, "MLflow refused the data set of a run");
            }
        }
        Ok(())
    }

    /// What is left of a refused event: its tags, without the parameters and values MLflow may have refused, and
    /// MLflow's words. That they are refused too says nothing new.
    pub(super) async fn write_without_values(
        &self,
        mlflow_id: &str,
        originals: &mut Told,
        writes: Writes,
        words: &str,
    ) -> Result<(), Trouble> {
        let mut left = Writes { tags: writes.tags, originals: writes.originals, ..Writes::default() };
        left.tag(parent::REFUSED_TAG, words);
        match self.put(mlflow_id, originals, left).await {
            Err(Trouble::Refused(words)) => {
                tracing::warn!(
                    mlflow_run = mlflow_id,
                    words,
                    "MLflow refused the tags of a refused event too"
                );
                Ok(())
            }
            written => written,
        }
    }

    /// The run is asked for again: it goes on, whatever its last end said.
    async fn reopen(&self, known: &mut Parent, kept: &BTreeSet<String>) -> Result<(), Trouble> {
        self.client.remove_tags(&known.mlflow_id, &parent::ENDING_TAGS, kept).await?;
        self.client.write(&known.mlflow_id, parent::reopened()).await?;
        self.client.reopen(&known.mlflow_id).await?;
        known.take_end_back();
        Ok(())
    }

    /// Writes how the run ended, when the event says so.
    pub(super) async fn write_end(
        &self,
        run: &RunId,
        known: &mut Parent,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        let Some(mut ending) = parent::ending(seen) else { return Ok(()) };
        if known.is_past_end(&ending) {
            tracing::info!(%run, attempt = ending.attempt, "the end of an older attempt is ignored");
            return Ok(());
        }
        if known.has(&seen.event) {
            return Ok(());
        }
        self.finish_curve(known).await?;
        let (finals, strange) = trial::finals(&mut ending.writes, &ending.metrics);
        for strange in strange {
            strange.note(&mut BTreeMap::new(), &mut ending.writes);
        }
        let mut steps = known.steps.clone();
        ending.writes.points =
            self.finals(&known.mlflow_id, &mut steps, finals, ending.closing.end_time).await?;
        let over = Over {
            attempt: ending.attempt,
            status: ending.closing.status,
            end_time: ending.closing.end_time,
            reason: ending.writes.tags.get(parent::REASON_TAG).cloned(),
        };
        let told = std::mem::take(&mut ending.writes).traced(seen.sequence);
        self.put(&known.mlflow_id, &mut known.originals, told).await?;
        if known.is_decided_by(&ending) {
            self.client.close(&known.mlflow_id, &ending.closing).await?;
        }
        if let Event::RunCompleted(ended) = &seen.event {
            match settled(self.keep_models(run, known, ended, seen).await)? {
                Fate::Written => {}
                Fate::Refused(words) => tracing::warn!(%run, words, "MLflow refused what is said of a model"),
            }
        }
        known.steps = steps;
        if known.end(ending.attempt, ending.closing.end_time) {
            self.close_leftovers(run, (&known.mlflow_id, &known.experiment_id), &over).await?;
        }
        known.mark(&seen.event);
        Ok(())
    }

    /// Writes to the parent, which is remembered as written.
    pub(super) async fn write_parent(&self, known: &mut Parent, writes: Writes) -> Result<(), Trouble> {
        self.put(&known.mlflow_id, &mut known.originals, writes).await
    }
}

fn match_start(event: &Event) -> Option<&MlRunStarted> {
    if let Event::MlRunStarted(started) = event { Some(started) } else { None }
}
