//! One call of the function, in a slot and a directory of its own, and what came back from it.
//!
//! What comes from outside meanwhile is heard by the conduct, whose orders reach the child.

use std::time::Duration;

use schemas::Failure;
use schemas::event::{ArtifactRef, TrialStatus};
use tokio::sync::watch;
use tokio::time::Instant;

use super::checks::{Told, check};
use super::conduct::Conduct;
use super::topic::SearchCall;
use super::{OpaqueRun, files, sayable};
use crate::child::protocol::CallResult;
use crate::conversation::{Conversation, Outcome, stopped};
use crate::outside::Outside;
use crate::run::{Attempt, Reporter};
use crate::supervisor::Stop;
use crate::workdir::Workdir;

/// A call, and the directory it worked in.
type Called = (Outcome, Option<Workdir>);

impl OpaqueRun {
    /// One call, in a slot of its own, while the world goes on.
    pub(super) async fn call(
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
    pub(super) async fn listen(
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
    pub(super) async fn take(
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
}
