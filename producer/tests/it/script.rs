//! Events of a run, published as a worker would.

use schemas::cloudevents::Context;
use schemas::event::{RunCompleted, RunFailed, RunStarted, TrialReported, TrialStatus};
use schemas::{Encoding, Event, Failure, FailureClass, Json, Real, RunId, Stage, TrialId};
use serde_json::json;
use service_kit::broker::Broker;
use service_kit::publish::{Publisher, Voice};

pub(crate) struct Script {
    publisher: Publisher,
    voice: Voice,
}

impl Script {
    pub(crate) fn new(broker: &Broker, run: &RunId, attempt: u32) -> Self {
        let context = Context { source: "/test".to_owned(), ..Context::default() };
        let voice = Voice { attempt, ..Voice::outside(run.clone(), context) };
        Self { publisher: Publisher::new(broker, Encoding::Json), voice }
    }

    /// Of an attempt that restarted the run: its trials are no twins of the earlier ones.
    pub(crate) fn restarting(broker: &Broker, run: &RunId, attempt: u32) -> Self {
        let mut script = Self::new(broker, run, attempt);
        script.voice.epoch = attempt;
        script
    }

    async fn say(&self, event: impl Into<Event>) -> u64 {
        self.publisher.publish(&event.into(), &self.voice).await.unwrap().sequence
    }

    pub(crate) async fn started(&self) -> u64 {
        self.say(RunStarted {
            run_id: self.voice.run.clone(),
            attempt: self.voice.attempt,
            worker_id: "w-1".into(),
            dataset_id: "digits".into(),
            objective: "accuracy".into(),
            resumed_trials: 0,
        })
        .await
    }

    pub(crate) async fn trial(&self, number: u32, accuracy: f64) -> u64 {
        let mut trial = self.reported(number, TrialStatus::Succeeded);
        trial.metrics.insert("accuracy".into(), Real(accuracy));
        trial.parameters = Json(json!({"layers": [64]}));
        self.say(trial).await
    }

    /// A trial whose process printed something, failed with a message and exit code 3.
    pub(crate) async fn failed_trial(&self, number: u32, message: &str, stderr: &str) -> u64 {
        let mut failure =
            Failure::new(FailureClass::UserCode, Stage::Execute, message).with_output("", stderr);
        failure.exit_code = Some(3);
        self.failed_with(number, failure).await
    }

    pub(crate) async fn failed_with(&self, number: u32, failure: Failure) -> u64 {
        let failure = Some(failure);
        self.say(TrialReported { failure, ..self.reported(number, TrialStatus::Failed) }).await
    }

    /// A trial of which nothing is said but how it ended.
    pub(crate) async fn trial_of(&self, number: u32, status: TrialStatus) -> u64 {
        self.say(self.reported(number, status)).await
    }

    fn reported(&self, number: u32, status: TrialStatus) -> TrialReported {
        let run = &self.voice.run;
        TrialReported {
            number: Some(number),
            attempt: Some(self.voice.attempt),
            ..TrialReported::new(run.clone(), TrialId::numbered(run, number.into()), status)
        }
    }

    pub(crate) async fn completed(&self) -> u64 {
        self.say(RunCompleted {
            run_id: self.voice.run.clone(),
            attempt: self.voice.attempt,
            status: "succeeded".into(),
            completed_trials: 2,
            failed_trials: 0,
            best_trial_id: Some(TrialId::numbered(&self.voice.run, 1).as_str().to_owned()),
            best_metric: Some(Real(0.9)),
            best_model: Json(json!({"layers": [64]})),
            population_history: Json::list(),
            duration_ms: 10,
            artifact_refs: vec![],
        })
        .await
    }

    pub(crate) async fn failed(&self, message: &str) -> u64 {
        self.say(RunFailed {
            run_id: self.voice.run.clone(),
            attempt: self.voice.attempt,
            failure: Failure::new(FailureClass::UserCode, Stage::Execute, message),
            completed_trials: 0,
            duration_ms: 10,
        })
        .await
    }
}
