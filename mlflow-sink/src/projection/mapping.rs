//! What becomes what in MLflow: the one list, which the documentation is written from and the projection is held
//! against.

/// Where in MLflow something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The parent run: one search.
    Run,
    /// The nested run: one trial.
    Trial,
}

/// What it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A column of the run itself.
    Field,
    /// A parameter.
    Param,
    /// A tag.
    Tag,
    /// A metric.
    Metric,
    /// An input.
    Input,
    /// A file.
    Artifact,
    /// A logged model.
    Model,
}

impl Kind {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Param => "parameter",
            Self::Tag => "tag",
            Self::Metric => "metric",
            Self::Input => "input",
            Self::Artifact => "artefact",
            Self::Model => "logged model",
        }
    }
}

/// One line of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Where it stands.
    pub on: On,
    /// What it is.
    pub kind: Kind,
    /// Its name in MLflow; a `*` at the end stands for whatever follows.
    pub name: &'static str,
    /// What it says, and from which field of which event.
    pub says: &'static str,
}

impl Row {
    /// True when this line is about a name.
    fn is_about(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

/// True when the list names it. Parameters, and the metrics and tags of other people, have names of their own: the list
/// tells where they come from, so only names with our prefix, or MLflow's, have to stand there by themselves.
pub fn is_listed(on: On, kind: Kind, name: &str) -> bool {
    let is_free = match kind {
        Kind::Param | Kind::Metric => true,
        Kind::Tag => !name.starts_with("cerebros.") && !name.starts_with("mlflow."),
        Kind::Field | Kind::Input | Kind::Artifact | Kind::Model => false,
    };
    is_free || ROWS.iter().any(|row| row.on == on && row.kind == kind && row.is_about(name))
}

const fn run(kind: Kind, name: &'static str, says: &'static str) -> Row {
    Row { on: On::Run, kind, name, says }
}

const fn trial(kind: Kind, name: &'static str, says: &'static str) -> Row {
    Row { on: On::Trial, kind, name, says }
}

use Kind::{Artifact, Field, Input, Metric, Model, Param, Tag};

/// The list, in the order people read it.
pub const ROWS: &[Row] = &[
    run(Field, "experiment", "`experiment` of the request; else `--mlflow-experiment` of the sink"),
    run(Field, "run_name", "the run id"),
    run(Field, "start_time", "`timestamp` of ml.run.start, else the time of the first event of the run"),
    run(
        Field,
        "status",
        "RUNNING; then FINISHED (RunCompleted), FAILED (RunFailed) or KILLED (RunCancelled); RUNNING again when the run is asked for again",
    ),
    run(Field, "end_time", "the time of that event, else `timestamp` of ml.run.finalize"),
    run(
        Param,
        "objective, strategy, trainer, direction, seed, entrypoint, dataset_id, tau",
        "of ml.run.start, and of its `extra`",
    ),
    run(Param, "budget.*", "each limit of the budget, names joined with dots"),
    run(Param, "parameters.*", "each parameter of the request"),
    run(Param, "search_space.*", "each dimension of the search space; a list stays one value"),
    run(Param, "*", "whatever else `extra` of ml.run.start holds, such as `dataset_sha256`"),
    run(Metric, "best/<objective>", "the best so far; step = trials that have ended, by number"),
    run(Metric, "trials_finished", "trials with a result, at the same steps"),
    run(Metric, "trials_failed", "trials without one that reported it, at the same steps"),
    run(Metric, "trials_pruned", "trials that were stopped early, at the same steps"),
    run(Metric, "<metric>", "`metrics` of ml.run.finalize: those of the best trial"),
    run(
        Input,
        "training",
        "the data set: `dataset_id`, with the first half of `dataset_sha256` as its digest",
    ),
    run(
        Tag,
        "<tag>",
        "`tags` of the request; one that begins with `mlflow.` or `cerebros.` becomes `cerebros.tag.<tag>`",
    ),
    run(Tag, "cerebros.kind", "`run`"),
    run(Tag, "cerebros.run_id", "the run id"),
    run(Tag, "cerebros.birth", "name of the announcement in the broker under which it was made"),
    run(
        Tag,
        "cerebros.schema_version",
        "schema ml.run.start was written with, of the header `ce-dataschema`",
    ),
    run(
        Tag,
        "cerebros.spec_sha256",
        "hash of what ml.run.start asks for: two runs of the same have the same",
    ),
    run(Tag, "cerebros.experiment", "name of the experiment that was asked for"),
    run(Tag, "cerebros.objective", "metric the search optimises"),
    run(Tag, "cerebros.direction", "`maximize` or `minimize`"),
    run(Tag, "cerebros.strategy", "how the search proposes"),
    run(Tag, "cerebros.trainer", "what trains"),
    run(Tag, "cerebros.seed", "seed of the run"),
    run(Tag, "cerebros.entrypoint", "the user's own search, if it is one"),
    run(Tag, "cerebros.correlation_id", "of the request, else the run id"),
    run(Tag, "cerebros.pulse_id", "of the request"),
    run(Tag, "cerebros.dataset_id", "of the request"),
    run(Tag, "cerebros.dataset_digest_of", "`name`, when the content of the data set is not known"),
    run(Tag, "cerebros.opened_at", "time of the latest start, in milliseconds since 1970"),
    run(
        Tag,
        "cerebros.state",
        "last state the run announced: `completed`, `failed`, `cancelled`; `running` once asked for again",
    ),
    run(Tag, "cerebros.attempt", "attempt that announced it"),
    run(Tag, "cerebros.ended_by", "what ended a completed run: `max_trials`, `max_seconds`, ..."),
    run(Tag, "cerebros.reason", "why it was cancelled"),
    run(
        Tag,
        "cerebros.refused",
        "MLflow's words, when it took only a part of an event; the event is a dead letter too",
    ),
    run(Tag, "cerebros.completed_trials", "of the final event"),
    run(Tag, "cerebros.failed_trials", "of the final event"),
    run(Tag, "cerebros.duration_ms", "of the final event"),
    run(Tag, "cerebros.best_trial_id", "of the final event"),
    run(Tag, "cerebros.best_metric", "of the final event"),
    run(Tag, "cerebros.best_model", "`best_model` of RunCompleted, JSON"),
    run(Tag, "cerebros.artifact_uri", "where the artefact of the run lies"),
    run(
        Artifact,
        "model/*",
        "the files of the best trial, `artifact_refs` of RunCompleted, from the object store",
    ),
    run(
        Model,
        "<run id>",
        "the best model with these files, where MLflow has logged models (version 3): an output of the run and of its \
         trial, with a file `MLmodel`, flavour `cerebros`, and the first 100 parameters of the trial",
    ),
    run(Tag, "cerebros.logged_model", "id of that logged model"),
    run(Tag, "cerebros.model.sha256.*", "of each of these files"),
    run(Tag, "cerebros.model.not_uploaded.*", "why one of these files is not there"),
    run(Tag, "cerebros.returncode", "exit code of the user's script"),
    run(Tag, "cerebros.warnings", "of ml.run.finalize, one a line"),
    run(
        Tag,
        "cerebros.failure.*",
        "`failure` of RunFailed: class, stage, message, fingerprint, exit_code, signal, traceback; class `unknown` of a run that \
         was RUNNING when neither the run registry nor the stream knew it any more",
    ),
    run(
        Tag,
        "cerebros.nonfinite.*",
        "values of a metric that are no numbers, JSON: the ranges of steps by value, the final one, the name as it was",
    ),
    run(Tag, "cerebros.name.*", "the name as it was, of one MLflow does not take"),
    run(
        Tag,
        "cerebros.cut.*",
        "`sha256:.. chars:.. sequence:..` of the whole of a value that was cut: what it was, and where it is in the stream",
    ),
    run(
        Artifact,
        "cerebros/originals.json",
        "`names` and `values` as they were: all that MLflow does not take as it is",
    ),
    run(
        Tag,
        "cerebros.originals",
        "that place; without a store for files, that they are in the stream only, and why",
    ),
    run(Tag, "cerebros.tag.*", "a tag of the request with a reserved name"),
    run(Tag, "mlflow.note.content", "a link to the run: of the dashboard, else the command that shows it"),
    run(Tag, "mlflow.source.*", "`cerebros`, a JOB"),
    run(Tag, "mlflow.runName", "MLflow's own copy of the name"),
    trial(Field, "run_name", "`trial-<number>`, else the trial id"),
    trial(
        Field,
        "start_time",
        "`started_at`, else the time of the report less `duration_ms`; of the first metric when that comes first",
    ),
    trial(
        Field,
        "status",
        "RUNNING; then FINISHED (succeeded), FAILED (failed, lost) or KILLED (pruned, cancelled, skipped)",
    ),
    trial(
        Field,
        "end_time",
        "`finished_at`, else the time of the report; that of the run for a trial nobody reported",
    ),
    trial(Param, "*", "`parameters` of ml.run.trial, names joined with dots; a list stays one value"),
    trial(
        Metric,
        "<metric>",
        "ml.run.metric at its step; the final value of ml.run.trial one step behind the last",
    ),
    trial(Metric, "spectral_norm_value", "of ml.run.trial"),
    trial(Tag, "mlflow.parentRunId", "the parent run"),
    trial(Tag, "mlflow.runName", "MLflow's own copy of the name"),
    trial(Tag, "cerebros.kind", "`trial`"),
    trial(Tag, "cerebros.run_id", "the run id"),
    trial(Tag, "cerebros.birth", "name of the announcement in the broker under which it was made"),
    trial(Tag, "cerebros.trial_id", "the trial id"),
    trial(Tag, "cerebros.number", "number of the trial in its run"),
    trial(
        Tag,
        "cerebros.status",
        "`succeeded`, `failed`, `pruned`, `cancelled`, `skipped`; `lost` when the run ended without its report",
    ),
    trial(Tag, "cerebros.reason", "why it was pruned, cancelled or skipped"),
    trial(Tag, "cerebros.unreported", "`true` when it was closed with its run"),
    trial(
        Tag,
        "cerebros.refused",
        "MLflow's words, when it did not take the report; that is a dead letter too",
    ),
    trial(Tag, "cerebros.attempt", "attempt of the run that trained it"),
    trial(Tag, "cerebros.before", "how it had ended, as long as it is trained again"),
    trial(Tag, "cerebros.objective", "that of the run"),
    trial(Tag, "cerebros.direction", "that of the run"),
    trial(Tag, "cerebros.experiment", "that of the run"),
    trial(Tag, "cerebros.worker_id", "who trained it"),
    trial(Tag, "cerebros.candidate_id", "of ml.run.trial"),
    trial(Tag, "cerebros.pulse_id", "of ml.run.trial"),
    trial(Tag, "cerebros.parent_ids", "candidates it was made from, joined with commas"),
    trial(Tag, "cerebros.rank", "of ml.run.trial"),
    trial(Tag, "cerebros.seed", "seed it was trained with"),
    trial(Tag, "cerebros.duration_ms", "of ml.run.trial"),
    trial(Tag, "cerebros.spectral_norm", "of ml.run.trial"),
    trial(Tag, "cerebros.artifact_uri", "where its model lies"),
    trial(Artifact, "model/*", "its files, when it is the best of a completed run"),
    trial(Model, "<run id>", "that of the run, when this trial trained it"),
    trial(Tag, "cerebros.logged_model", "id of that logged model"),
    trial(Tag, "cerebros.model.sha256.*", "of each of these files"),
    trial(Tag, "cerebros.model.not_uploaded.*", "why one of these files is not there"),
    trial(Tag, "cerebros.warnings", "of ml.run.trial, one a line"),
    trial(Tag, "cerebros.failure.*", "`failure` of ml.run.trial; class `worker_lost` for a lost one"),
    trial(
        Tag,
        "cerebros.nonfinite.*",
        "values of a metric that are no numbers, JSON: the ranges of steps by value, the final one, the name as it was",
    ),
    trial(Tag, "cerebros.name.*", "the name as it was, of one MLflow does not take"),
    trial(
        Tag,
        "cerebros.cut.*",
        "`sha256:.. chars:.. sequence:..` of the whole of a value that was cut: what it was, and where it is in the stream",
    ),
    trial(
        Artifact,
        "cerebros/originals.json",
        "`names` and `values` as they were: all that MLflow does not take as it is",
    ),
    trial(
        Tag,
        "cerebros.originals",
        "that place; without a store for files, that they are in the stream only, and why",
    ),
];

const HEAD: &str = "<!-- Written by `cerebros schemas export --format mlflow-mapping`; changes here are overwritten. -->

# What becomes what in MLflow

A search is a parent run, each of its trials a nested run under it. Everything follows from the events alone: writing an
event twice writes the same. Names MLflow does not take are changed to legal ones that end in a hash of the original;
values over its limits are cut; both lie whole in a file of their run. [events.md](events.md) describes the events.
";

/// The list as a page to be read.
pub fn document() -> String {
    let mut page = HEAD.to_owned();
    for (on, title) in [(On::Run, "The run"), (On::Trial, "A trial")] {
        page.push_str(&format!("\n## {title}\n\n| MLflow | name | what it says |\n| --- | --- | --- |\n"));
        for row in ROWS.iter().filter(|row| row.on == on) {
            page.push_str(&format!("| {} | `{}` | {} |\n", row.kind.word(), row.name, row.says));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_name_is_listed_twice() {
        let mut seen = BTreeSet::new();
        for row in ROWS {
            assert!(seen.insert((row.on == On::Run, row.kind.word(), row.name)), "{row:?}");
        }
    }

    #[test]
    fn the_page_in_the_repository_is_what_this_build_writes() {
        let kept = std::fs::read_to_string(testkit::workspace().join("docs/reference/mlflow-mapping.md"))
            .unwrap_or_default();
        assert!(
            kept == document(),
            "run: cargo run -p cerebros -- schemas export --format mlflow-mapping > docs/reference/mlflow-mapping.md"
        );
    }

    #[test]
    fn what_is_not_listed_is_found_out() {
        assert!(is_listed(On::Trial, Tag, "cerebros.failure.class") && is_listed(On::Run, Tag, "team"));
        assert!(!is_listed(On::Trial, Tag, "cerebros.unheard") && !is_listed(On::Run, Tag, "mlflow.unheard"));
    }
}
