//! Which messages a floor stands below ran out, as far as anybody can tell.
//!
//! Of sequences, at most twice as many are held as the broker holds of such messages itself, or [`MAX_DOUBTFUL`]. All are
//! found in one go: the next ack moves the floor past them.

use async_nats::jetstream::consumer::Info;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::history;

use super::effects;
use super::standing::{Extent, MAX_DOUBTFUL, Memory};
use crate::serve::advisory;
use crate::serve::lost::Doubt;

/// What a consumer will never settle.
#[derive(Debug)]
pub(super) struct Stranded {
    /// Ran out, for certain.
    pub(super) ran_out: Vec<u64>,
    /// Ran out or were done: nobody can tell.
    pub(super) doubtful: Vec<u64>,
    pub(super) doubt: Doubt,
}

impl Stranded {
    /// All of these ran out.
    pub(super) fn surely(ran_out: Vec<u64>) -> Self {
        Self { ran_out, doubtful: Vec::new(), doubt: Doubt::default() }
    }
}

/// Finds what ran out in a range above the floor.
pub(super) async fn find(
    broker: &Broker,
    info: &Info,
    memory: &Memory,
    range: (u64, u64),
) -> Result<Stranded, String> {
    let mut found = taken_in(broker, info, range, enough(memory)).await?;
    let before = found.len() as u64;
    if memory.extent(before, 0) != Extent::All {
        // What the broker has said is a dead letter already, or becomes one.
        let announced = advisory::announced(broker, &info.name).await?;
        found.retain(|sequence| !announced.contains(sequence));
    }
    let of = found.len() as u64;
    let is_told_by_effects = effects::tell_of(&info.name);
    match memory.extent(of, before - of) {
        Extent::All => Ok(Stranded::surely(found)),
        Extent::Some { ran_out } => {
            let doubt = Doubt { ran_out: Some(ran_out), of };
            Ok(Stranded { ran_out: Vec::new(), doubtful: found, doubt })
        }
        Extent::Nothing => Ok(Stranded::surely(Vec::new())),
        Extent::Uncounted if !is_told_by_effects => {
            let doubtful = found.split_off(1.min(found.len()));
            Ok(Stranded { ran_out: found, doubtful, doubt: Doubt { ran_out: None, of } })
        }
        Extent::First | Extent::Uncounted => {
            found.truncate(1);
            let more = effects::missing(broker, &info.name, range.1).await?;
            let first = found.first().copied();
            found.extend(more.into_iter().filter(|sequence| Some(*sequence) != first));
            Ok(Stranded::surely(found))
        }
    }
}

/// So many candidates, or all there are, tell all there is to tell: one more than twice as many as ran out.
fn enough(memory: &Memory) -> u64 {
    let counted = memory.reading.redelivered.saturating_mul(2).saturating_add(2);
    if memory.reading.takes_once() { counted.max(MAX_DOUBTFUL + 1) } else { counted }
}

/// The messages in a range that a consumer takes in, `enough` of them at most.
async fn taken_in(
    broker: &Broker,
    info: &Info,
    (from, to): (u64, u64),
    enough: u64,
) -> Result<Vec<u64>, String> {
    let one = std::slice::from_ref(&info.config.filter_subject);
    let filters = if info.config.filter_subjects.is_empty() { one } else { &info.config.filter_subjects };
    let (mut found, mut next) = (Vec::new(), from);
    while next <= to && (found.len() as u64) < enough {
        let mut nearest = None;
        for filter in filters {
            let at =
                history::next_on(broker, STREAM, filter, next).await.map_err(|error| error.to_string())?;
            nearest = [nearest, at].into_iter().flatten().min();
        }
        let Some(sequence) = nearest.filter(|sequence| *sequence <= to) else { break };
        found.push(sequence);
        next = sequence + 1;
    }
    Ok(found)
}
