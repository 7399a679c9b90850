//! An opaque run: the user's own `run_nas(spec, opts)`, which brings its own search, in one call.
//!
//! The thin shell around [`conduct`], which decides. The function cannot be resumed in its middle: a new attempt calls it
//! anew and tells it which trials are known; those it tells of again are stored once.

mod arguments;
mod checks;
mod conduct;
mod files;
mod known;
mod sayable;
mod topic;
mod trials;

use std::sync::Mutex;
use std::time::Duration;

use schemas::event::{ArtifactRef, RunException, TrialStatus};
use schemas::{Failure, TrialId};
use service_kit::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::account::Account;
use crate::announce::Unsaid;
use crate::child::protocol::CallResult;
use crate::conversation::{Conversation, Outcome, stopped};
use crate::outside::Outside;
use crate::resume::Checkpoint;
use crate::retry::given_up;
use crate::run::{Attempt, Progress, Reporter};
use crate::supervisor::{Ending, Stop};
use crate::workdir::Workdir;

use conduct::{Conduct, Returned};
use known::Known;
use topic::SearchCall;

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

/// A call, and the directory it worked in.
type Called = (Outcome, Option<Workdir>);

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

    /// One call, in a slot of its own, while the world goes on.
    async fn call(
        &self,
        attempt: &Attempt,
        outside: &mut Outside<'_>,
        stop: &watch::Sender<Option<Stop>>,
        reporter: &Reporter,
    ) -> Called {
        let never = self.listen(outside, stop, |_| false);
        tokio::select! {
            called = self.converse(attempt, stop, reporter) => called,
            () = never => (Outcome::Dropped, None),
        }
    }

    /// Hears what comes from outside, and passes on the orders that follow from it, until it is enough.
    async fn listen(
        &self,
        outside: &mut Outside<'_>,
        stop: &watch::Sender<Option<Stop>>,
        is_enough: impl Fn(&Conduct) -> bool,
    ) {
        loop {
            let news = outside.next().await;
            let order = self.conduct().hear(news);
            stop.send_replace(order);
            if is_enough(&self.conduct()) {
                return;
            }
        }
    }

    async fn converse(
        &self,
        attempt: &Attempt,
        stop: &watch::Sender<Option<Stop>>,
        reporter: &Reporter,
    ) -> Called {
        let workdir = match attempt.worker.workdirs.take() {
            Ok(workdir) => workdir,
            Err(failure) => return (Outcome::NoChild(failure), None),
        };
        let mut listening = stop.subscribe();
        let lease = tokio::select! {
            biased;
            _ = stopped(&mut listening) => return (Outcome::Dropped, None),
            lease = attempt.place.acquire() => lease,
        };
        self.conduct().begin();
        let began = Instant::now();
        attempt.worker.gauges.invocations.begin(&attempt.plan.run_id, self.tries + 1);
        let conversation = Conversation {
            invoker: &attempt.worker.invoker,
            vitals: &attempt.vitals,
            remarks: &attempt.remarks,
            announcer: &attempt.announcer,
            limit: attempt.plan.trial_limit(),
        };
        let told = |order| {
            stop.send_replace(order);
            reporter.tell(self.progress());
        };
        let mut topic = SearchCall::new(attempt, self, workdir.path(), &told);
        let outcome = conversation.hold(&mut topic, lease, &mut listening).await;
        self.note_end(attempt, &outcome, began.elapsed());
        (outcome, Some(workdir))
    }

    /// Counts a call; one that came back with something else than was agreed has failed.
    fn note_end(&self, attempt: &Attempt, outcome: &Outcome, took: Duration) {
        let (run, tried) = (&attempt.plan.run_id, self.tries + 1);
        let invocations = &attempt.worker.gauges.invocations;
        let unfit = match outcome {
            Outcome::Over { result, .. } => (**result).as_ref().ok().and_then(|result| {
                let is_well = result.status == TrialStatus::Succeeded && result.failure.is_none();
                is_well.then(|| check(result, self.conduct().counts().0).err()).flatten()
            }),
            Outcome::Dropped | Outcome::NoChild(_) | Outcome::Unsaid(_) => None,
        };
        match unfit {
            Some(failure) => invocations.except(run, tried, &failure, took),
            None => invocations.end(run, tried, outcome, took),
        }
    }

    /// Holds what came back against what was agreed, and keeps the files it names.
    async fn take(
        &self,
        attempt: &Attempt,
        result: Result<CallResult, Failure>,
        workdir: Option<Workdir>,
    ) -> Result<(Told, Vec<ArtifactRef>), Failure> {
        let result = result?;
        for warning in &result.warnings {
            attempt.remarks.note(Some(warning));
        }
        let (counted, _) = self.conduct().counts();
        let told = check(&result, counted)?;
        sayable::check_result(&attempt.plan.run_id, &told)?;
        for remark in told.remarks(counted, attempt.plan.request.budget.max_trials) {
            attempt.remarks.note(Some(&remark));
        }
        let files = match workdir {
            Some(workdir) => files::keep(attempt, workdir.path(), &told.artifacts).await,
            None => Vec::new(),
        };
        Ok((told, files))
    }

    /// No call can be made here, so the run is given back and says why.
    async fn hand_back(&self, attempt: &Attempt, failure: Failure) -> Ending {
        let exception = RunException { will_retry: true, ..exception(attempt, &failure) };
        if let Err(error) = attempt.announcer.say(&[exception.into()]).await {
            return self.conduct().end(unsaid(&error));
        }
        attempt.hand_back(&failure.message);
        self.conduct().end(Returned::Never { reason: failure.message })
    }

    /// The end of a run whose call failed for good, which is said.
    async fn fail(&self, attempt: &Attempt, failure: Failure) -> Ending {
        let is_its_end = self.conduct().order().is_none();
        if is_its_end && let Err(error) = attempt.announcer.say(&[exception(attempt, &failure).into()]).await
        {
            return self.conduct().end(unsaid(&error));
        }
        self.conduct().end(Returned::Badly(failure))
    }

    async fn announce_retry(
        &mut self,
        attempt: &Attempt,
        failure: &Failure,
        pause: Duration,
    ) -> Result<(), Unsaid> {
        let exception = RunException {
            will_retry: true,
            next_attempt_in_ms: i64::try_from(pause.as_millis()).ok(),
            ..exception(attempt, failure)
        };
        tracing::warn!(run = %attempt.plan.run_id, class = %failure.class, ?pause, "the function is called again");
        attempt.announcer.say(&[exception.into()]).await?;
        self.tries += 1;
        Ok(())
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
}

fn exception(attempt: &Attempt, failure: &Failure) -> RunException {
    RunException {
        run_id: attempt.plan.run_id.clone(),
        attempt: attempt.record.attempt,
        trial_id: None,
        op: Some("run_nas".to_owned()),
        failure: failure.clone(),
        will_retry: false,
        next_attempt_in_ms: None,
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

fn unsaid(error: &Unsaid) -> Returned {
    match error {
        Unsaid::Silenced | Unsaid::Unheard => Returned::Dropped,
        Unsaid::Order(_) | Unsaid::Refused(_) => {
            let message = format!("an event of the run could not be published: {error}");
            Returned::Badly(Failure::new(schemas::FailureClass::Unknown, schemas::Stage::Publish, message))
        }
    }
}
