//! What of some sequences nobody can answer for, and why not. Pure.

use serde::Serialize;

use super::facts::Facts;
use super::gone::Gone;
use super::ranges::{Range, common, shown, some_shown, total, united, without};
use super::unexplained::Unexplained;
use crate::operation::Answered;

/// Ranges of one kind that are told.
const MAX_SHOWN: usize = 20;
/// Losses that are told.
const MAX_LOSSES: usize = 20;

/// Some that are left alone for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Left {
    pub(crate) count: u64,
    /// Which, as far as there is room to say.
    pub(crate) sequences: String,
    pub(crate) why: String,
}

/// Everything of `wanted` that is not among the answers, each sequence once.
pub(crate) fn left(
    facts: &Facts,
    gone: &Gone,
    unexplained: &Unexplained,
    wanted: &[Range],
    answered: &Answered,
) -> Vec<Left> {
    let losses = answered.losses.iter().map(|loss| (loss.from, loss.to));
    let mut rest = without(wanted, &united(losses.chain(answered.ranges.iter().copied()).collect()));
    let mut told = partial(unexplained, &rest, answered);
    let on_stream = without(&[(1, facts.last)], gone.all_of_it());
    let only_of_all = answered.consumer.is_some();
    let open = if only_of_all {
        "not a matter of this consumer alone: leave --consumer out, or name another"
    } else {
        "gone only a moment ago, which may explain itself: run the command again"
    };
    let kinds = [
        (
            on_stream,
            "still on the stream, so it is handled or can be: an answer is for what is gone, or for a loss a classifier has written down",
        ),
        (unexplained.sequences(), open),
        (gone.acknowledged(facts, &[]), "acknowledged already"),
        (gone.dead.clone(), "explained: it has a dead letter"),
        (gone.expired.clone(), "explained: it expired with notice"),
        (gone.before.clone(), "explained: it had left the stream before records were kept"),
        (gone.silent(), open),
        (vec![(1, facts.last)], "explained: everybody had settled it before it left the stream"),
    ];
    for (kind, why) in kinds {
        let these = common(&rest, &kind);
        rest = without(&rest, &these);
        if !these.is_empty() {
            let sequences = some_shown(&these, MAX_SHOWN);
            told.push(Left { count: total(&these), sequences, why: why.to_owned() });
        }
    }
    told
}

/// Losses of which only a part was named.
fn partial(unexplained: &Unexplained, rest: &[Range], answered: &Answered) -> Vec<Left> {
    let is_meant = |name: &str| answered.consumer.as_deref().is_none_or(|only| only == name);
    let touched = unexplained.losses.iter().filter(|loss| {
        let range = [(loss.from, loss.to)];
        is_meant(&loss.consumer) && !answered.losses.contains(loss) && !common(&range, rest).is_empty()
    });
    let told = touched.take(MAX_LOSSES).map(|loss| {
        let sequences = shown((loss.from, loss.to));
        let why =
            format!("lost at {}, and nobody can tell which: name {sequences} as a whole", loss.consumer);
        Left { count: loss.count, sequences, why }
    });
    told.collect()
}

#[cfg(test)]
mod tests;
