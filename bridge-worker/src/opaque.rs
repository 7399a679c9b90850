//! An opaque run: the user's own `run_nas(spec, opts)`, which brings its own search, in one call.
//!
//! The thin shell around [`conduct`], which decides. The function cannot be resumed in its middle: a new attempt calls it
//! anew and tells it which trials are known; those it tells of again are stored once.

mod arguments;
mod call;
mod checks;
mod conduct;
mod exceptions;
mod files;
mod known;
mod sayable;
mod topic;
mod trials;

use std::sync::Mutex;

use schemas::TrialId;
use schemas::event::ArtifactRef;
use service_kit::shutdown::Shutdown;
use tokio::sync::watch;

use crate::account::Account;
use crate::conversation::Outcome;
use crate::resume::Checkpoint;
use crate::retry::given_up;
use crate::run::{Attempt, Progress, Reporter};
use crate::supervisor::Ending;

use conduct::{Conduct, Returned};
use exceptions::unsaid;
use known::Known;

pub use checks::{Told, check};
pub(crate) use trials::check_trial;

/// One attempt at an opaque run.
pub(crate) struct OpaqueRun {
    entry: String,
    conduct: Mutex<Conduct>,
    /// Trials of earlier attempts and calls, which the next call is told of.
    known: Mutex<Known>,
    pub(crate) resumed: u32,
    /// Calls, this attempt's and those of earlier ones, that were to be made again.
    tries: u32,
    told: Option<Told>,
    files: Vec<ArtifactRef>,
    printed: String,
}

impl OpaqueRun {
    /// The run where earlier attempts have left it.
    pub(crate) fn new(attempt: &Attempt, entry: &str, checkpoint: &Checkpoint) -> Self {
        let mut conduct = Conduct::new(&attempt.plan);
        let mut known = Known::new(attempt.plan.direction, &attempt.plan.request.objective);
        for (_, trial) in &checkpoint.trials {
            conduct.resume(trial);
            known.push(trial.clone());
        }
        Self {
            entry: entry.to_owned(),
            resumed: conduct.counts().0,
            conduct: Mutex::new(conduct),
            known: Mutex::new(known),
            tries: checkpoint.run_tries,
            told: None,
            files: Vec::new(),
            printed: String::new(),
        }
    }

    /// Calls the function, again if what failed it may pass, until the run is over, for now or for good.
    pub(crate) async fn search(
        &mut self,
        attempt: &Attempt,
        shutdown: &Shutdown,
        reporter: &Reporter,
    ) -> Ending {
        let (stop, _) = watch::channel(None);
        let mut outside = attempt.outside(shutdown);
        loop {
            if self.conduct().order().is_some() {
                // Over by what earlier attempts have told.
                break;
            }
            let (outcome, workdir) = self.call(attempt, &mut outside, &stop, reporter).await;
            let has_result = matches!(&outcome, Outcome::Over { result, .. } if result.is_ok());
            if !has_result {
                self.conduct().rest();
            }
            if self.conduct().order().is_some() {
                break;
            }
            let failure = match outcome {
                Outcome::Over { result, printed } => {
                    self.printed = printed;
                    let taken = tokio::select! {
                        biased;
                        () = self.listen(&mut outside, &stop, |conduct| conduct.order().is_some()) => break,
                        taken = self.take(attempt, *result, workdir) => taken,
                    };
                    match taken {
                        Ok((told, files)) => {
                            (self.told, self.files) = (Some(told), files);
                            return self.conduct().end(Returned::Well);
                        }
                        Err(failure) => {
                            self.conduct().rest();
                            failure
                        }
                    }
                }
                Outcome::Dropped => break,
                Outcome::NoChild(failure) => return self.hand_back(attempt, failure).await,
                Outcome::Unsaid(error) => return self.conduct().end(unsaid(&error)),
            };
            let tried = self.tries + 1;
            let Some(pause) = attempt.worker.retries.next(&failure, tried, chance(attempt.plan.seed)) else {
                return self.fail(attempt, given_up(failure, tried)).await;
            };
            if !self.conduct().may_go_on() {
                break;
            }
            if let Err(error) = self.announce_retry(attempt, &failure, pause).await {
                return self.conduct().end(unsaid(&error));
            }
            tokio::select! {
                biased;
                () = self.listen(&mut outside, &stop, |conduct| !conduct.may_go_on()) => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.conduct().end(Returned::Dropped)
    }

    /// Where the run stands.
    pub(crate) fn account(&self, attempt: &Attempt) -> Account {
        let conduct = self.conduct();
        let (counted, failed) = conduct.counts();
        let claimed = self.told.as_ref().map_or(0, |told| told.completed_trials);
        Account {
            // What it told of trial by trial is known; only of one that told nothing the sum is believed.
            completed: if counted > 0 { counted } else { claimed },
            failed,
            best: conduct.best().cloned(),
            kept: self.files.iter().map(|file| file.uri.clone()).collect(),
            files: self.files.clone(),
            history: serde_json::json!([]),
            told: self.told.clone(),
            printed: Some(self.printed.clone()).filter(|text| !text.is_empty()),
            ..attempt.account()
        }
    }

    fn progress(&self) -> Progress {
        let conduct = self.conduct();
        let (completed, failed) = conduct.counts();
        Progress { completed, failed, best: conduct.best().map(|best| (best.number, best.objective)) }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("nobody panics while holding the trials")
    }

    fn conduct(&self) -> std::sync::MutexGuard<'_, Conduct> {
        self.conduct.lock().expect("nobody panics while holding the conduct")
    }
}

/// The id of a trial of an opaque run: the same in every attempt, so that the broker stores it once.
fn id_of(attempt: &Attempt, number: u32) -> TrialId {
    TrialId::numbered(&attempt.plan.run_id, number.into())
}

/// Spreads the pauses of many runs; the same for the same run.
fn chance(seed: u64) -> f64 {
    f64::from(u32::try_from(seed % u64::from(u32::MAX)).unwrap_or(0)) / f64::from(u32::MAX)
}
