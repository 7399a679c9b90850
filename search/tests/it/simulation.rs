//! A run without a worker: slots, completion in any order, crashes, and a made-up objective.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use search::{Evaluation, Plan, Proposal, Recorded, Search, Status};
use sha2::{Digest, Sha256};

/// What the world does to a run; none of it may show in the candidates.
#[derive(Debug, Clone)]
pub(crate) struct Weather {
    /// Trials trained at once.
    pub(crate) slots: usize,
    /// Decides who finishes first.
    pub(crate) order: u64,
    /// The process dies after this many results, losing what is in flight.
    pub(crate) crash_after: Option<usize>,
}

pub(crate) const CALM: Weather = Weather { slots: 1, order: 0, crash_after: None };

/// What is left of a run.
pub(crate) struct Outcome {
    pub(crate) proposals: BTreeMap<u64, Proposal>,
    pub(crate) search: Search,
}

/// Runs a plan to its end.
pub(crate) fn run(plan: &Plan, weather: &Weather, evaluate: impl Fn(&Proposal) -> Evaluation) -> Outcome {
    let rng = &mut ChaCha8Rng::seed_from_u64(weather.order);
    let mut search = Search::new(plan.clone()).unwrap();
    let mut proposals = BTreeMap::new();
    let mut results: Vec<(u64, Evaluation)> = Vec::new();
    let mut in_flight: Vec<Proposal> = Vec::new();
    let mut crash_after = weather.crash_after;
    loop {
        while in_flight.len() < weather.slots
            && let Some(proposal) = search.propose()
        {
            let before = proposals.insert(proposal.number, proposal.clone());
            assert!(before.is_none_or(|before| before == proposal), "a trial was proposed differently");
            in_flight.push(proposal);
        }
        if in_flight.is_empty() {
            break;
        }
        let done = in_flight.swap_remove(rng.random_range(0..in_flight.len()));
        let evaluation = evaluate(&done);
        results.push((done.number, evaluation.clone()));
        assert_eq!(search.record(done.number, evaluation), Ok(Recorded::New));
        if crash_after.take_if(|after| *after <= results.len()).is_some() {
            in_flight.clear();
            search = resume(plan, &results, rng);
        }
    }
    Outcome { proposals, search }
}

/// A new process: the results come back from their events, in any order and through JSON.
fn resume(plan: &Plan, results: &[(u64, Evaluation)], rng: &mut ChaCha8Rng) -> Search {
    let mut search = Search::new(plan.clone()).unwrap();
    let mut left = results.to_vec();
    while !left.is_empty() {
        let (number, evaluation) = left.swap_remove(rng.random_range(0..left.len()));
        let text = serde_json::to_string(&evaluation).unwrap();
        assert_eq!(search.record(number, serde_json::from_str(&text).unwrap()), Ok(Recorded::New));
    }
    search
}

/// An objective without rhyme or reason but always the same for a candidate, and every way a trial can end.
pub(crate) fn erratic(proposal: &Proposal) -> Evaluation {
    let digest = Sha256::digest(proposal.candidate.id.as_bytes());
    let parameters = proposal.candidate.parameters.clone();
    let without = |status| Evaluation::without_objective(status, parameters.clone());
    match digest[0] % 16 {
        0 => without(Status::Failed),
        1 => without(Status::Skipped),
        2 => without(Status::Cancelled),
        3 => without(Status::Pruned),
        4 => Evaluation { objective: None, ..Evaluation::succeeded(0.0, parameters) },
        _ => Evaluation::succeeded(f64::from(digest[1]) / 7.0, parameters),
    }
}
