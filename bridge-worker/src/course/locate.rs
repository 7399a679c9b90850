//! The data set of a run, found while somebody may still want the run ended.

use schemas::dataset::DatasetRef;
use service_kit::shutdown::Shutdown;

use super::{Course, Grant};
use crate::datasets::{Located, NotLocated};
use crate::halt::{Halt, again, refused, shutting_down};
use crate::outside::Outside;
use crate::plan::RunPlan;
use crate::supervisor::News;

impl Course {
    /// Fetching a data set may take minutes; what comes to the run meanwhile ends it.
    pub(super) async fn locate(
        &self,
        grant: &Grant,
        plan: &RunPlan,
        shutdown: &Shutdown,
    ) -> Result<Option<Located>, Halt> {
        let worker = &self.worker;
        // The plan was made: a name that is none of ours belongs to a run that brings its own data.
        if DatasetRef::parse(&plan.request.dataset_id).is_err() {
            return Ok(None);
        }
        let mut outside = Outside::new(&grant.signals, grant.silenced.clone(), shutdown, None);
        let located = worker.datasets.locate(&worker.artifacts, &plan.request.dataset_id);
        tokio::pin!(located);
        loop {
            let news = tokio::select! {
                biased;
                located = &mut located => return located.map_err(|error| match error {
                    NotLocated::Refused(failure) => refused(failure),
                    NotLocated::Unavailable(reason) => again(reason),
                }),
                news = outside.next() => news,
            };
            match news {
                News::Cancel { reason } => return Err(Halt::Cancelled { reason }),
                // Nothing of the run is under way that could be finished.
                News::Drain | News::Interrupt => return Err(shutting_down()),
                News::Stale => return Err(Halt::Stale),
                News::Scale { .. } | News::OutOfTime => {}
            }
        }
    }
}
