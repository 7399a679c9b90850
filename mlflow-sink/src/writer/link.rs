//! The way back: the run registry knows which MLflow run a run is, and on which page people see it.

use schemas::RunId;
use service_kit::registry::RunRecord;

use super::Writer;
use crate::ledger::record::{Link, Parent};

impl Writer {
    /// Tells the run registry. Not knowing it hurts nobody, so a failure is tried again with the next batch and never
    /// stops one; so is a run the registry does not know yet.
    pub(super) async fn link(&self, run: &RunId, parent: &mut Parent) {
        let link = Link {
            mlflow_id: parent.mlflow_id.clone(),
            url: self.pages.as_ref().map(|pages| pages.run(&parent.experiment_id, &parent.mlflow_id)),
        };
        if parent.linked.as_ref() == Some(&link) {
            return;
        }
        match self.registry.change(run, |record| (linked(record, &link), record.is_some())).await {
            Ok((_, true)) => parent.linked = Some(link),
            Ok((_, false)) => {}
            Err(error) => tracing::warn!(%run, %error, "the run registry does not know the MLflow run yet"),
        }
    }
}

/// The record with the link; `None` when there is no record, or nothing to change.
fn linked(record: Option<&RunRecord>, link: &Link) -> Option<RunRecord> {
    let (id, url) = (Some(link.mlflow_id.clone()), link.url.clone());
    let record = record.filter(|record| (&record.mlflow_run_id, &record.mlflow_url) != (&id, &url))?;
    Some(RunRecord { mlflow_run_id: id, mlflow_url: url, ..record.clone() })
}
