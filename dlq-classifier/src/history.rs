//! `history`: who did what about dead letters, when, to how many, and why.

use std::collections::HashMap;

use schemas::Timestamp;
use serde::Serialize;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::moment::{Moment, parse_moment};
use service_kit::output::Row;

use crate::audit::ranges::{Range, some_shown};
use crate::cli::Common;
use crate::operation::{Kind, Missing, Operation};
use crate::queue::Queue;

/// Ranges of one action that are shown in a table.
const MAX_SHOWN: usize = 3;

/// Which actions are told.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Wanted {
    /// Done since: a time such as 2026-01-31T12:00:00Z, or a while ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Moment>,
    /// Done by: a user, or user@host
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
}

/// One action. What was done in several records, because it was much, is one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Action {
    /// When its last part was done.
    at: Timestamp,
    operation: Kind,
    actor: String,
    /// Entries, or messages where it is about a range.
    count: u64,
    /// Entries whose payload was changed.
    edited: u64,
    filter: Option<String>,
    reason: Option<String>,
    edit: Option<String>,
    task: Option<String>,
    range: Option<(u64, u64)>,
    /// Of an acknowledgement: the ranges, the losses, and the consumer unless it is for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<(u64, u64)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    losses: Vec<Missing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<String>,
    ids: Vec<String>,
}

pub(crate) async fn run(wanted: &Wanted, common: &Common) -> Result<Exit, CliError> {
    let queue = Queue::open(&common.broker).await?;
    let mut actions = Actions::default();
    queue.each_operation(|record, _| actions.take(record)).await?;
    let now = clock::now();
    let told: Vec<Action> = actions.begun.into_iter().filter(|action| wanted.takes(action, now)).collect();
    common.output.printer().rows(&told)?;
    Ok(Exit::Done)
}

impl Wanted {
    fn takes(&self, action: &Action, now: Timestamp) -> bool {
        let user = action.actor.split('@').next();
        self.since.is_none_or(|since| action.at >= since.resolve(now))
            && self.actor.as_deref().is_none_or(|who| who == action.actor || Some(who) == user)
    }
}

/// The actions, in the order in which they were begun.
#[derive(Default)]
struct Actions {
    begun: Vec<Action>,
    by_task: HashMap<(String, Kind), usize>,
}

impl Actions {
    /// Takes the next record.
    fn take(&mut self, record: Operation) {
        let task = record.task.clone().map(|task| (task, record.operation));
        let known = task.as_ref().and_then(|task| self.by_task.get(task)).copied();
        let part = Action::of(record);
        match known.and_then(|index| self.begun.get_mut(index)) {
            Some(action) => action.take(part),
            None => {
                self.by_task.extend(task.map(|task| (task, self.begun.len())));
                self.begun.push(part);
            }
        }
    }
}

impl Action {
    fn of(record: Operation) -> Self {
        Self {
            count: record.count(),
            at: record.at,
            operation: record.operation,
            actor: record.actor,
            edited: record.replays.iter().filter(|replay| replay.edited).count() as u64,
            filter: record.filter,
            reason: record.reason,
            edit: record.edit,
            task: record.task,
            range: record.range,
            ranges: record.ranges,
            losses: record.losses,
            consumer: record.consumer,
            ids: record.ids,
        }
    }

    /// What it is about, where it was not picked by a filter.
    fn named(&self) -> String {
        let ranges: Vec<Range> = self.range.iter().chain(&self.ranges).copied().collect();
        let losses: Vec<Range> = self.losses.iter().map(|loss| (loss.from, loss.to)).collect();
        let mut parts = Vec::new();
        if !ranges.is_empty() {
            parts.push(format!("sequences {}", some_shown(&ranges, MAX_SHOWN)));
        }
        if !losses.is_empty() {
            parts.push(format!("lost among {}", some_shown(&losses, MAX_SHOWN)));
        }
        match self.ids.as_slice() {
            [only] if parts.is_empty() => only.clone(),
            _ if parts.is_empty() => "-".to_owned(),
            _ => parts.join(", "),
        }
    }

    fn take(&mut self, part: Self) {
        self.at = self.at.max(part.at);
        self.count += part.count;
        self.edited += part.edited;
        self.ids.extend(part.ids);
    }
}

impl Row for Action {
    fn headings() -> &'static [&'static str] {
        &["when", "what", "who", "count", "edited", "filter", "reason"]
    }

    fn cells(&self) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.at.to_string(),
            self.operation.as_str().to_owned(),
            self.actor.clone(),
            self.count.to_string(),
            self.edited.to_string(),
            self.filter.clone().unwrap_or_else(|| self.named()),
            text(&self.reason),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Act, Replay};

    fn part(task: Option<&str>, actor: &str, at: i64, edited: bool) -> Operation {
        let act = Act { actor: actor.into(), reason: None, filter: Some("--all".into()) };
        let at = Timestamp::from_micros(at);
        let ids = vec![format!("{at}-a")];
        Operation {
            task: task.map(str::to_owned),
            operation: Kind::Replayed,
            replays: ids
                .iter()
                .map(|id| {
                    let text = r#""sequence":1,"subject":"s","message_id":"m""#;
                    let text = format!(r#"{{"id":"{id}",{text},"edited":{edited}}}"#);
                    serde_json::from_str::<Replay>(&text).unwrap()
                })
                .collect(),
            ..Operation::discarded(&act, at, ids.into_iter().map(|id| (id, String::new())).collect())
        }
    }

    #[test]
    fn the_parts_of_a_task_are_one_action_and_others_stay_apart() {
        let records = [
            part(Some("t1"), "ann@host", 1, true),
            part(None, "bob@host", 2, false),
            part(Some("t1"), "ann@host", 3, false),
            part(None, "bob@host", 4, false),
        ];
        let mut actions = Actions::default();
        records.into_iter().for_each(|record| actions.take(record));
        let found = actions.begun;
        let told: Vec<_> =
            found.iter().map(|one| (one.actor.as_str(), one.at.micros(), one.count, one.edited)).collect();
        assert_eq!(told, [("ann@host", 3, 2, 1), ("bob@host", 2, 1, 0), ("bob@host", 4, 1, 0)]);
        let by = |actor: &str, since: Option<Moment>| {
            let wanted = Wanted { since, actor: Some(actor.to_owned()) };
            found.iter().filter(|one| wanted.takes(one, Timestamp::from_micros(10))).count()
        };
        assert_eq!([by("bob", None), by("bob@host", None), by("bo", None)], [2, 2, 0]);
        assert_eq!([by("bob", Some(Moment::Ago(7))), by("ann", Some(Moment::Ago(6)))], [1, 0]);
    }
}
