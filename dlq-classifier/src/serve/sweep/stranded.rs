//! Which messages a floor stands below ran out, as far as anybody can tell.
//!
//! Of sequences, at most twice as many are held as the broker holds of such messages itself, or [`MAX_DOUBTFUL`]. All are
//! found in one go: the next ack moves the floor past them.

use async_nats::jetstream::consumer::Info;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::history;

use super::effects;
use super::single::{self, Acked, Known};
use super::standing::{Extent, Memory};
use crate::serve::advisory;

/// Messages a consumer may have done before the broker was restarted that are told all the same: as many as a consumer has
/// in hand at once when nobody has said otherwise.
const MAX_DOUBTFUL: u64 = 1000;

/// What a consumer will never settle.
#[derive(Debug)]
pub(super) struct Stranded {
    /// Ran out, for certain.
    pub(super) ran_out: Vec<u64>,
    /// Ran out or were done: nobody can tell.
    pub(super) doubtful: Vec<u64>,
    pub(super) doubt: Doubt,
}

/// Why it is not known whether a message ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// So many ran out, of so many.
    OneOf { ran_out: u64, of: u64 },
    /// The broker was restarted, and has forgotten when it was acked last.
    Forgotten,
}

impl Stranded {
    /// All of these ran out.
    pub(super) fn surely(ran_out: Vec<u64>) -> Self {
        Self { ran_out, doubtful: Vec::new(), doubt: Doubt::Forgotten }
    }
}

/// Finds what ran out in a range above the floor.
pub(super) async fn find(
    broker: &Broker,
    info: &Info,
    memory: &Memory,
    range: (u64, u64),
) -> Result<Stranded, String> {
    // One more than twice as many as ran out tells all there is to tell, where they are counted.
    let enough = memory.reading.redelivered.saturating_mul(2).saturating_add(2);
    let mut found = taken_in(broker, info, range, enough).await?;
    let (before, first) = (found.len() as u64, found.first().copied());
    if memory.extent(before, 0) != Extent::All {
        announced_apart(broker, info, &mut found).await?;
    }
    let of = found.len() as u64;
    match memory.extent(of, before - of) {
        Extent::Nothing | Extent::First if single::is_single(info) && !effects::are_known(&info.name) => {
            handed_over_once(broker, info, memory, range, first).await
        }
        Extent::All => Ok(Stranded::surely(found)),
        Extent::Some { ran_out } => {
            let doubt = Doubt::OneOf { ran_out, of };
            Ok(Stranded { ran_out: Vec::new(), doubtful: found, doubt })
        }
        Extent::Nothing => Ok(Stranded::surely(Vec::new())),
        // Of our own consumers more is known.
        Extent::First => {
            found.truncate(1);
            let more = effects::missing(broker, &info.name, range.1).await?;
            let first = found.first().copied();
            found.extend(more.into_iter().filter(|sequence| Some(*sequence) != first));
            Ok(Stranded::surely(found))
        }
    }
}

/// What ran out of a consumer whose redeliveries nobody counts, because there are none.
async fn handed_over_once(
    broker: &Broker,
    info: &Info,
    memory: &Memory,
    (from, to): (u64, u64),
    first: Option<u64>,
) -> Result<Stranded, String> {
    let acked = single::last_ack(broker, info, memory.acked, (from, to)).await?;
    let (after, enough) = match acked {
        Acked::Before(after) => (after, u64::MAX),
        Acked::Once(after) => (after, MAX_DOUBTFUL),
    };
    let mut found = taken_in(broker, info, (from.max(after), to), enough).await?;
    if let Some(first) = first.filter(|first| found.first() != Some(first)) {
        found.insert(0, first);
    }
    announced_apart(broker, info, &mut found).await?;
    let of_kind = |kind: Known| {
        let is_so = |sequence: &u64| single::known(*sequence, first, acked) == kind;
        found.iter().copied().filter(is_so).collect()
    };
    Ok(Stranded {
        ran_out: of_kind(Known::RanOut),
        doubtful: of_kind(Known::Doubtful),
        doubt: Doubt::Forgotten,
    })
}

/// Leaves out what the broker has said itself: it is a dead letter already, or becomes one.
async fn announced_apart(broker: &Broker, info: &Info, found: &mut Vec<u64>) -> Result<(), String> {
    let announced = advisory::announced(broker, &info.name).await?;
    found.retain(|sequence| !announced.contains(sequence));
    Ok(())
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
