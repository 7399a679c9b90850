//! A trial whose report MLflow refuses.

use schemas::event::TrialReported;

use super::super::{Trouble, Writer};
use super::events::tags_of;
use crate::ledger::record::{Child, ReportMark};
use crate::projection::{Seen, parent, trial};

impl Writer {
    /// A trial whose report MLflow refuses is over nevertheless, and says why its values are missing.
    pub(super) async fn end_all_the_same(
        &self,
        child: &mut Child,
        report: &TrialReported,
        seen: &Seen,
        words: &str,
    ) -> Result<(), Trouble> {
        if child.is_past_report(report.attempt) {
            return Ok(());
        }
        let trial::Report { writes, closing, .. } = trial::reported(report, seen);
        let writes = writes.traced(seen.sequence);
        let mut kept = tags_of(child, &writes);
        kept.insert(parent::REFUSED_TAG.to_owned());
        self.write_without_values(&child.mlflow_id, &mut child.originals, writes, words).await?;
        let closed = async {
            if child.has_old_tags {
                self.client.remove_tags(&child.mlflow_id, &trial::ENDING_TAGS, &kept).await?;
            }
            self.client.close(&child.mlflow_id, &closing).await
        };
        match closed.await.map_err(Trouble::from) {
            Err(Trouble::Refused(words)) => {
                tracing::warn!(trial = %report.trial_id, words, "MLflow refused the end of a trial too");
                return Ok(());
            }
            closed => closed?,
        }
        // Should MLflow take it once it is told again, it says so no longer.
        child.has_old_tags = true;
        child.report = Some(ReportMark { fingerprint: String::new(), attempt: report.attempt });
        child.ended_at = Some(closing.end_time);
        Ok(())
    }
}
