//! A task as people and machines see it.

use std::io::{self, Write};

use schemas::Timestamp;
use serde::Serialize;
use service_kit::output::{Row, plain_text};

use crate::task::{Counts, Task, Trouble, Wish};

/// One line of the list.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: String,
    state: &'static str,
    /// What is asked of it.
    wish: Wish,
    /// How far it has come, in hundredths.
    percent: u64,
    #[serde(flatten)]
    counts: Counts,
    actor: String,
    filter: Option<String>,
    /// How many entries were named.
    named: Option<usize>,
    reason: Option<String>,
    owner: Option<String>,
    created: Timestamp,
    updated: Timestamp,
}

impl Line {
    pub(super) fn of(task: &Task) -> Self {
        let plan = &task.plan;
        Self {
            id: task.id.clone(),
            state: task.stage.as_str(),
            wish: task.wish,
            percent: task.percent(),
            counts: task.counts,
            actor: plan.actor.clone(),
            filter: plan.filter.clone(),
            named: (!plan.wanted.is_bulk()).then(|| plan.wanted.count()),
            reason: plan.reason.clone(),
            owner: task.owner.clone(),
            created: task.created,
            updated: task.updated,
        }
    }

    fn picked(&self) -> String {
        match (&self.filter, self.named) {
            (Some(filter), _) => filter.clone(),
            (None, Some(1)) => "1 id".to_owned(),
            (None, count) => format!("{} ids", count.unwrap_or(0)),
        }
    }
}

impl Row for Line {
    fn headings() -> &'static [&'static str] {
        &["id", "state", "done", "replayed", "invalid", "skipped", "entries", "actor", "created"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.state.to_owned(),
            format!("{} %", self.percent),
            self.counts.replayed.to_string(),
            self.counts.invalid.to_string(),
            self.counts.skipped.to_string(),
            self.picked(),
            self.actor.clone(),
            self.created.to_string(),
        ]
    }
}

/// One task, whole.
#[derive(Debug, Serialize)]
pub(super) struct Sheet {
    #[serde(flatten)]
    line: Line,
    to: Option<String>,
    edit: Option<String>,
    rate: Option<f64>,
    trouble: Option<Trouble>,
}

impl Sheet {
    pub(super) fn of(task: &Task) -> Self {
        let plan = &task.plan;
        Self {
            line: Line::of(task),
            to: plan.to.clone(),
            edit: plan.edit.as_ref().map(crate::edit::Edit::text),
            rate: plan.rate.map(f64::from),
            trouble: task.trouble.clone(),
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let task = &self.line;
        let mut line =
            |name: &str, value: &str| writeln!(out, "{name:<12} {}", plain_text::one_line(value, 2000));
        line("id", &task.id)?;
        line("state", task.state)?;
        line("done", &format!("{} %", task.percent))?;
        let Counts { replayed, invalid, skipped } = task.counts;
        line("counts", &format!("{replayed} replayed, {invalid} invalid, {skipped} skipped"))?;
        line("entries", &task.picked())?;
        line("actor", &task.actor)?;
        let given = [
            ("reason", task.reason.clone()),
            ("to", self.to.clone()),
            ("edit", self.edit.clone()),
            ("rate", self.rate.map(|rate| format!("{rate}/s"))),
            ("owner", task.owner.clone()),
            ("failed", self.trouble.as_ref().map(|trouble| trouble.what.clone())),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                line(name, &value)?;
            }
        }
        line("created", &task.created.to_string())?;
        line("updated", &task.updated.to_string())
    }
}
