//! What the demo has to say at the end, for people and for machines.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use schemas::event::RunRequested;
use schemas::lifecycle::RunState;
use schemas::{Json, RunId};
use serde::{Serialize, Serializer};
use serde_json::Value;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::Printer;

use super::search::Found;
use super::tracked::Tracked;
use crate::assembly::Layout;
use crate::invocation::Invocation;

/// How a demo ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    /// The run.
    pub(super) run_id: RunId,
    state: RunState,
    /// Why it ended unsuccessfully.
    reason: Option<String>,
    dataset_id: String,
    objective: String,
    best_metric: Option<f64>,
    /// The best model on data that neither its training nor its selection has seen.
    test_accuracy: Option<f64>,
    test_metrics: BTreeMap<String, f64>,
    parameters: Json,
    /// Trials that ended, successful or not.
    pub(super) trials: u32,
    failed_trials: u32,
    /// Where the model was while the pipeline ran.
    artifact_uri: Option<String>,
    /// Where its files are now.
    model_files: Vec<PathBuf>,
    #[serde(rename = "mlflow")]
    pub(super) tracked: Option<Tracked>,
    /// Why it is not all in MLflow.
    #[serde(skip)]
    pub(super) untracked: Option<CliError>,
    mlflow_run_id: Option<String>,
    experiment: Option<String>,
    /// The directory that `--keep` kept.
    pub(super) kept: Option<PathBuf>,
    pub(super) elapsed: Elapsed,
    #[serde(skip)]
    pub(super) first_trial: Option<Instant>,
    /// The data directory.
    #[serde(skip)]
    base: PathBuf,
}

/// How long things took, in seconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct Elapsed {
    /// Until the tools of the search were there; nothing when they were there already.
    #[serde(serialize_with = "seconds", rename = "install_seconds")]
    pub(super) install: Duration,
    /// From the beginning to the first trial.
    #[serde(serialize_with = "some_seconds", rename = "first_trial_seconds")]
    pub(super) first_trial: Option<Duration>,
    /// From the request to the end of the search.
    #[serde(serialize_with = "seconds", rename = "search_seconds")]
    pub(super) search: Duration,
    /// From the request until everything was in MLflow.
    #[serde(serialize_with = "some_seconds", rename = "mlflow_seconds")]
    pub(super) mlflow: Option<Duration>,
    /// From the beginning to the end.
    #[serde(serialize_with = "seconds", rename = "total_seconds")]
    pub(super) total: Duration,
}

impl Report {
    pub(super) fn of(request: &RunRequested, found: Found, model_files: Vec<PathBuf>, base: &Layout) -> Self {
        let test_metrics: BTreeMap<String, f64> = found
            .metrics
            .iter()
            .filter(|(name, _)| name.starts_with("test_"))
            .filter_map(|(name, value)| Some((name.clone(), value.finite()?)))
            .collect();
        Self {
            run_id: found.run,
            state: found.progress.state,
            reason: found.reason,
            dataset_id: request.dataset_id.clone(),
            objective: request.objective.clone(),
            best_metric: found.progress.best,
            test_accuracy: test_metrics.get("test_accuracy").copied(),
            test_metrics,
            parameters: found.parameters,
            trials: found.progress.done,
            failed_trials: found.progress.failed,
            artifact_uri: found.files.first().map(|file| file.uri.clone()),
            model_files,
            tracked: None,
            untracked: None,
            mlflow_run_id: None,
            experiment: None,
            kept: None,
            elapsed: Elapsed::default(),
            first_trial: found.first_trial,
            base: base.root().to_owned(),
        }
    }

    /// True when the search succeeded.
    pub(super) fn is_success(&self) -> bool {
        match self.state {
            RunState::Completed => true,
            RunState::Requested
            | RunState::Running
            | RunState::Failed
            | RunState::Cancelled
            | RunState::Interrupted => false,
        }
    }

    /// What the program ends with.
    pub(super) fn exit(&self) -> Exit {
        if self.is_success() && self.tracked.is_some() { Exit::Done } else { Exit::Unsuccessful }
    }

    /// Prints it.
    pub(super) fn print(&mut self, printer: &Printer) -> Result<(), CliError> {
        self.mlflow_run_id = self.tracked.as_ref().map(|tracked| tracked.run_id.clone());
        self.experiment = self.tracked.as_ref().map(|tracked| tracked.experiment.clone());
        printer.object(self, |out| self.write(out))
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if !self.is_success() {
            let reason = self.reason.as_deref().unwrap_or("no reason was given");
            writeln!(out, "the search {} after {} trials: {reason}", self.state, self.trials)?;
            return self.write_next(out);
        }
        writeln!(out, "\nbest of {} trials on {}\n", self.trials, self.dataset_id)?;
        let line = |out: &mut dyn Write, name: &str, value: &str| writeln!(out, "  {name:<22}{value}");
        if let Some(best) = self.best_metric {
            line(out, &format!("{} (validation)", self.objective), &format!("{best:.4}"))?;
        }
        let tested = self.test_metrics.get(&format!("test_{}", self.objective));
        if let Some(tested) = tested {
            let text = format!("{tested:.4}  on data no trial has trained or chosen by");
            line(out, &format!("{} (test)", self.objective), &text)?;
        }
        for (name, value) in self.parameters.0.as_object().into_iter().flatten() {
            line(out, name, &shown(value))?;
        }
        for path in &self.model_files {
            line(out, "model", &path.display().to_string())?;
        }
        if self.failed_trials > 0 {
            line(out, "failed trials", &self.failed_trials.to_string())?;
        }
        if let Some(tracked) = &self.tracked {
            let text = format!(
                "{} trials under run {} of experiment \"{}\"",
                tracked.trials, tracked.run_id, tracked.experiment
            );
            line(out, "MLflow", &text)?;
        }
        line(out, "time", &self.elapsed.in_words())?;
        self.write_next(out)
    }

    fn write_next(&self, out: &mut dyn Write) -> io::Result<()> {
        let invocation = Invocation::of_this_process();
        writeln!(out, "\nnothing is left running; what to try next:\n")?;
        match &self.kept {
            Some(kept) => {
                writeln!(out, "  {}   # this pipeline again, with these trials", invocation.with("up", kept))?
            }
            None => writeln!(
                out,
                "  {}   # the same pipeline, to stay; MLflow's pages included",
                invocation.with("up", &self.base)
            )?,
        }
        writeln!(out, "  {}   # another data set", invocation.with("demo --set dataset_id=wine", &self.base))
    }
}

impl Elapsed {
    fn in_words(self) -> String {
        let mut words = Vec::new();
        if self.install > Duration::from_secs(1) {
            words.push(format!("installed in {:.0} s", self.install.as_secs_f64()));
        }
        if let Some(first) = self.first_trial {
            words.push(format!("first trial after {:.1} s", first.as_secs_f64()));
        }
        words.push(format!("search {:.1} s", self.search.as_secs_f64()));
        if let Some(mlflow) = self.mlflow {
            words.push(format!("in MLflow after {:.1} s", mlflow.as_secs_f64()));
        }
        words.push(format!("all in all {:.1} s", self.total.as_secs_f64()));
        words.join(", ")
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.4e}", number.as_f64().unwrap_or_default())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((duration.as_secs_f64() * 1e3).round() / 1e3)
}

fn some_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}
