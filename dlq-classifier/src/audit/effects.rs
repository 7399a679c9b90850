//! Requests by their effect: one that the workers have settled has made a run, or was refused with a letter.
//!
//! A floor tells that a request was settled, not that anything came of it: two readers that each take a request for the
//! other's to give up would both settle it. There may be any number of requests; they are looked for in the registry a
//! block at a time.

use std::hash::{BuildHasher as _, RandomState};

use futures_util::TryStreamExt as _;
use schemas::cloudevents::header;
use schemas::subject::STREAM;
use schemas::{Event, Record, RunId};
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{History, Kept};
use service_kit::topology::{CLASSIFIER_CONSUMER, WORKER_CONSUMER};

use super::facts::Facts;
use super::ledger::Ledger;
use super::reading;
use super::report::Finding;

/// Requests whose runs are looked for at once: 4 MB of them.
const BLOCK: usize = 250_000;

/// Finds settled requests of which nothing has come.
pub(super) async fn missing(broker: &Broker, ledger: &mut Ledger) -> Result<(), CliError> {
    let Facts { first, last, .. } = *ledger.facts();
    let settled = through(ledger.facts(), WORKER_CONSUMER).min(last);
    let classified = through(ledger.facts(), CLASSIFIER_CONSUMER);
    if settled < first {
        return Ok(());
    }
    let subject = Record::RunRequested.subject();
    let mut asked = Asked::default();
    let mut requests = History::to_the_present(broker, STREAM, &[subject], first).await?;
    while let Some(request) = requests.next().await?.filter(|request| request.sequence <= settled) {
        let is_excused = ledger.facts().letters.excuse(request.sequence, WORKER_CONSUMER);
        // A reserved request is carried out by a process of its own, whenever that comes.
        if is_excused || request.headers.get(header::RESERVED).is_some() {
            continue;
        }
        match run_of(&request) {
            Some(run) => asked.take(run.as_str(), request.sequence),
            None if request.sequence <= classified => {
                let why = "it cannot be read, everybody has settled it, and it has no dead letter";
                ledger.find(Finding::of(request.sequence, subject, CLASSIFIER_CONSUMER, why));
            }
            None => {}
        }
        if asked.runs.len() == BLOCK {
            look_for(broker, &mut asked, ledger).await?;
        }
    }
    look_for(broker, &mut asked, ledger).await
}

/// Everything up to here is settled by a consumer.
fn through(facts: &Facts, name: &str) -> u64 {
    let reader = facts.readers.iter().find(|reader| reader.name == name);
    reader.map_or(0, |reader| if reader.in_hand == 0 { reader.delivered } else { reader.floor })
}

/// Finds those whose runs nobody knows, and forgets all of them.
async fn look_for(broker: &Broker, asked: &mut Asked, ledger: &mut Ledger) -> Result<(), CliError> {
    if asked.runs.is_empty() {
        return Ok(());
    }
    asked.seal();
    let mut runs = std::pin::pin!(reading::known_runs(broker).await?);
    while let Some(run) = runs.try_next().await? {
        asked.is_known(&run);
    }
    let why = "the workers have settled it, and the registry knows no run of it";
    for seq in asked.unknown() {
        ledger.find(Finding::of(seq, Record::RunRequested.subject(), WORKER_CONSUMER, why));
    }
    Ok(())
}

fn run_of(request: &Kept) -> Option<RunId> {
    let Ok(Event::RunRequested(asked)) = request.decode().map(|decoded| decoded.event) else { return None };
    let millis = u64::try_from(request.time.millis()).unwrap_or(0);
    Some(asked.run_id.unwrap_or_else(|| RunId::derive(STREAM, request.sequence, millis)))
}

/// Requests whose runs are looked for.
#[derive(Debug, Default)]
struct Asked {
    /// Hashes of the runs, which nobody can aim at, and sequences of the requests; 0 when the run is known.
    runs: Vec<(u64, u64)>,
    hasher: RandomState,
}

impl Asked {
    fn take(&mut self, run: &str, seq: u64) {
        self.runs.push((self.hasher.hash_one(run), seq));
    }

    /// Of several requests of one run the first stands for all.
    fn seal(&mut self) {
        self.runs.sort_unstable();
        self.runs.dedup_by_key(|(run, _)| *run);
    }

    fn is_known(&mut self, run: &str) {
        let hash = self.hasher.hash_one(run);
        if let Ok(at) = self.runs.binary_search_by_key(&hash, |(run, _)| *run) {
            self.runs[at].1 = 0;
        }
    }

    /// Takes out all, and returns those whose runs are not known.
    fn unknown(&mut self) -> impl Iterator<Item = u64> {
        self.runs.drain(..).map(|(_, seq)| seq).filter(|seq| *seq > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_requests_of_a_run_nobody_knows_the_first_is_told_and_the_next_block_begins_anew() {
        let mut asked = Asked::default();
        for (seq, run) in [(5, "b"), (1, "a"), (2, "b"), (3, "c"), (4, "b")] {
            asked.take(run, seq);
        }
        asked.seal();
        ["a", "x", "a"].into_iter().for_each(|run| asked.is_known(run));
        let mut unknown: Vec<u64> = asked.unknown().collect();
        unknown.sort_unstable();
        assert_eq!(unknown, [2, 3]);
        asked.take("a", 9);
        asked.seal();
        assert_eq!(asked.unknown().collect::<Vec<_>>(), [9]);
    }
}
