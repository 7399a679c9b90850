//! One trial: its tries in slots, what it reports on the way, and the event it ends with.

mod ending;
mod recall;
mod report;
mod topic;
mod tries;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use schemas::TrialId;
use search::{Proposal, Pruning};
use service_kit::clock;
use tokio::sync::watch;

use crate::announce::Announcer;
use crate::artifacts::Artifacts;
use crate::best::BestSoFar;
use crate::cache::ResultCache;
use crate::conversation::{Outcome, stopped};
use crate::invocations::Invocations;
use crate::invoker::Invoker;
use crate::plan::RunPlan;
use crate::remarks::Remarks;
use crate::retry::{RetryPolicy, given_up};
use crate::slots::Place;
use crate::supervisor::{Input, Stop};
use crate::vitals::Vitals;
use crate::workdir::Workdirs;

use ending::unsaid;
pub(crate) use topic::check_count;

/// What a trial needs.
pub struct Trial {
    /// The run it belongs to.
    pub plan: Arc<RunPlan>,
    /// What to train.
    pub proposal: Proposal,
    /// Attempt of the run.
    pub attempt: u32,
    /// Who trains.
    pub worker_id: Arc<str>,
    /// Speaks for the attempt.
    pub announcer: Arc<Announcer>,
    /// How Python is called.
    pub invoker: Arc<Invoker>,
    /// What the end of the run warns of.
    pub remarks: Arc<Remarks>,
    /// The run's place in the queue for slots.
    pub place: Arc<Place>,
    /// Where files go.
    pub artifacts: Artifacts,
    /// What equal trials came to.
    pub cache: Option<Arc<ResultCache>>,
    /// Directories for trials to work in.
    pub workdirs: Arc<Workdirs>,
    /// Where its child shows that it lives.
    pub vitals: Arc<Vitals>,
    /// How often what was not the trial's own fault is tried again.
    pub retries: RetryPolicy,
    /// Tries of the run's trials, this attempt's and those of earlier ones, that were to be tried again.
    pub tries: Arc<Mutex<BTreeMap<TrialId, u32>>>,
    /// What the run's trials reported, and whether going on is worth it.
    pub pruning: Arc<Mutex<Pruning>>,
    /// Failures the run may still have.
    pub failures_left: Arc<AtomicU32>,
    /// Says when to stop.
    pub stop: watch::Receiver<Option<Stop>>,
    /// The best objective that is durable so far; decides whether files are worth keeping.
    pub best: Arc<BestSoFar>,
    /// Counts the calls of children.
    pub invocations: Invocations,
}

impl Trial {
    /// Trains the candidate, publishes what came of it, and tells the supervisor once that is durable.
    pub async fn run(self) -> Input {
        let number = self.proposal.number;
        let mut stop = self.stop.clone();
        let id = TrialId::numbered(&self.plan.run_id, number);
        let started_at = clock::now();
        loop {
            let workdir = match self.workdirs.take() {
                Ok(workdir) => workdir,
                Err(failure) => return self.cannot_begin(&id, failure).await,
            };
            match self.recall(&id, workdir.path()).await {
                Some(Ok((result, files))) => {
                    return self.publish(&id, started_at, (Ok(result), files), workdir).await;
                }
                Some(Err(error)) => return unsaid(number, &error),
                None => {}
            }
            let (outcome, mut told) = self.attempt(&id, &workdir, &mut stop).await;
            let result = match outcome {
                Outcome::Dropped => {
                    let how = (*stop.borrow()).filter(|_| self.tried(&id) > 0).unwrap_or(Stop::Dropped);
                    return self.stopped_between_tries(&id, started_at, how).await;
                }
                Outcome::Unsaid(error) => return unsaid(number, &error),
                Outcome::NoChild(failure) => return self.cannot_begin(&id, failure).await,
                Outcome::Over { result, .. } => *result,
            };
            let result = result.and_then(|result| self.judge(result));
            let failure = match &result {
                Err(failure) => failure,
                Ok(success) => {
                    self.remember(&id, workdir.path(), success, &mut told).await;
                    return self.publish(&id, started_at, (result, told.files), workdir).await;
                }
            };
            let tried = self.tried(&id) + 1;
            let Some(pause) = self.retries.next(failure, tried, self.chance()) else {
                let result = result.map_err(|failure| given_up(failure, tried));
                return self.publish(&id, started_at, (result, told.files), workdir).await;
            };
            if let Err(error) = self.announce_retry(&id, failure, pause).await {
                return unsaid(number, &error);
            }
            drop(workdir);
            tokio::select! {
                biased;
                how = stopped(&mut stop) => return self.stopped_between_tries(&id, started_at, how).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
