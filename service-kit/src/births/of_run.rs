//! Which MLflow runs a run and its trials are: read for whoever wants to lead there.
//!
//! One filtered read of what the bucket holds, and bounded. A run that was written to several tracking servers has
//! births for each; the answer is about one of them.

use std::collections::BTreeMap;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use schemas::{RunId, TrialId};

use super::{Birth, part};
use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::history::History;
use crate::topology::MLFLOW_BUCKET;

/// Most births that are remembered of one run; as many trials as are shown of it.
const MAX_BIRTHS: usize = 100_000;

/// The MLflow runs of a run and of its trials, on one tracking server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Family {
    run: Option<String>,
    /// By the id of the trial as it stands in a key.
    trials: BTreeMap<String, String>,
    /// Revision of the latest of them.
    latest: u64,
}

impl Family {
    /// MLflow's id of the run.
    pub fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }

    /// MLflow's id of a trial.
    pub fn trial(&self, trial: &TrialId) -> Option<&str> {
        self.trials.get(&part(trial.as_str())).map(String::as_str)
    }
}

/// Reads the births of a run. Of several servers the one counts that has the MLflow run `known`, else the one that was
/// written to last.
///
/// # Errors
/// When the broker does not let us read them.
pub async fn of_run(broker: &Broker, run: &RunId, known: Option<&str>) -> Result<Family, CliError> {
    let stream = format!("KV_{MLFLOW_BUCKET}");
    match broker.jetstream.get_stream(&stream).await {
        Ok(_) => {}
        // No sink was ever here.
        Err(error) if is_not_found(&error.kind()) => return Ok(Family::default()),
        Err(error) => {
            let what = format!("the bucket {MLFLOW_BUCKET} cannot be read");
            return Err(CliError::new("births-unreadable", Exit::Unreachable, what)
                .because(error)
                .help("is the broker up, and may this user read the bucket? `cerebros doctor` tells"));
        }
    }
    let prefix = format!("$KV.{MLFLOW_BUCKET}.");
    let filter = format!("{prefix}*.{}.>", part(run.as_str()));
    let mut values = History::to_the_present(broker, &stream, &[&filter], 1).await?;
    let mut families = Families::default();
    while let Some(value) = values.next().await? {
        if value.headers.get("KV-Operation").is_none()
            && let Some(key) = value.subject.strip_prefix(&prefix)
        {
            families.take(key, &value.payload, value.sequence);
        }
    }
    Ok(families.of(known))
}

fn is_not_found(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

/// Those of every server.
#[derive(Debug, Default)]
struct Families {
    by_server: BTreeMap<String, Family>,
    births: usize,
}

impl Families {
    /// Takes one key of the run; what is no birth, or not made yet, is left out.
    fn take(&mut self, key: &str, value: &[u8], revision: u64) {
        let mut parts = key.split('.');
        let (Some(server), Some(_run), Some(kind)) = (parts.next(), parts.next(), parts.next()) else {
            return;
        };
        let (trial, is_over) = (parts.next(), parts.next().is_none());
        let is_ours = is_over && matches!((kind, trial), ("run", None) | ("trial", Some(_)));
        if !is_ours || self.births >= MAX_BIRTHS {
            return;
        }
        let Some(Birth::Made { id, .. }) = super::parse(key, value) else { return };
        self.births += 1;
        let family = self.by_server.entry(server.to_owned()).or_default();
        family.latest = family.latest.max(revision);
        match trial {
            Some(trial) => drop(family.trials.insert(trial.to_owned(), id)),
            None => family.run = Some(id),
        }
    }

    fn of(self, known: Option<&str>) -> Family {
        let mut families: Vec<Family> = self.by_server.into_values().collect();
        families.sort_by_key(|family| (known.is_some() && family.run.as_deref() == known, family.latest));
        families.pop().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(id: &str) -> Vec<u8> {
        let birth = Birth::Made {
            id: id.to_owned(),
            experiment: "1".to_owned(),
            is_from_birth: true,
            doubts: Vec::new(),
        };
        serde_json::to_vec(&birth).unwrap()
    }

    fn of(keys: &[(&str, &str)], known: Option<&str>) -> Family {
        let mut families = Families::default();
        for (revision, (key, id)) in keys.iter().enumerate() {
            families.take(key, &made(id), revision as u64 + 1);
        }
        families.of(known)
    }

    #[test]
    fn a_run_and_its_trials_are_found_by_their_ids_also_with_dots_in_them() {
        let run = RunId::parse("a.b").unwrap();
        let trial = TrialId::numbered(&run, 3);
        let family = of(&[("s.a=b.run", "1"), ("s.a=b.trial.a=b-t00003", "2"), ("s.a=b.doubts", "3")], None);
        assert_eq!((family.run(), family.trial(&trial)), (Some("1"), Some("2")));
        assert_eq!(family.trial(&TrialId::numbered(&run, 4)), None);
    }

    #[test]
    fn of_two_servers_the_one_counts_that_is_known_else_the_one_written_to_last() {
        let keys = [("s1.r.run", "1"), ("s1.r.trial.x", "2"), ("s2.r.run", "3"), ("s2.r.trial.x", "4")];
        let trial = TrialId::from_text("x");
        assert_eq!(of(&keys, Some("1")).trial(&trial), Some("2"));
        assert_eq!(of(&keys, None).trial(&trial), Some("4"));
        assert_eq!(of(&keys, Some("gone")).trial(&trial), Some("4"));
    }

    #[test]
    fn what_is_not_made_yet_or_no_birth_at_all_leads_nowhere() {
        let mut families = Families::default();
        families.take("s.r.run", br#"{"state":"creating"}"#, 1);
        families.take("sinks.leader", b"{}", 2);
        assert_eq!(families.of(None), Family::default());
    }
}
