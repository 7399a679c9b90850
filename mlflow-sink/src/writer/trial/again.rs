//! A trial that had ended and is trained again.

use std::collections::BTreeSet;

use schemas::Event;

use super::super::{Trouble, Writer};
use crate::ledger::record::Child;
use crate::projection::trial::Before;
use crate::projection::{Seen, trial};

impl Writer {
    /// A trial that had ended and is trained again by a later attempt goes on. Its values are written anew, beside the old
    /// ones, which MLflow keeps. What comes with its report is written before anything is taken back: MLflow may refuse it.
    /// After each of these calls the server's tags tell how far it came: how it had ended is noted before it is taken
    /// back, and the attempt comes last.
    pub(super) async fn begin_again(
        &self,
        child: &mut Child,
        attempt: u32,
        events: &[&Seen],
    ) -> Result<(), Trouble> {
        if !child.begins_again_in(attempt) {
            return Ok(());
        }
        child.has_old_tags = events.iter().any(|seen| matches!(seen.event, Event::TrialReported(_)));
        if !child.has_old_tags {
            self.client.reopen(&child.mlflow_id).await?;
            if let Some(before) = Before::of(&self.client.standing(&child.mlflow_id).await?.tags) {
                self.client.write(&child.mlflow_id, before.tell()).await?;
            }
            let kept = BTreeSet::from([trial::BEFORE_TAG.to_owned()]);
            self.client.remove_tags(&child.mlflow_id, &trial::ENDING_TAGS, &kept).await?;
            self.client.write(&child.mlflow_id, trial::again(attempt)).await?;
            child.has_old_tags = true;
        }
        child.begin_again(attempt);
        Ok(())
    }
}
