//! Births of MLflow runs: which MLflow run belongs to which run and trial, so that two sinks cannot make two. The same
//! holds for the logged models of runs.
//!
//! MLflow takes no id and no idempotency key with a create, so the broker decides: a birth is one key, changed by
//! compare-and-set only. Who wants to create a run announces it with a nonce first, tags the run with the nonce, and
//! then writes down its id. Whoever finds an announcement looks for the nonce at the server and adopts the run, or
//! announces a nonce of his own and keeps the old one as a doubt: a request that was on its way may still be carried
//! out. At most one run of a key is ever used; a second one is always found by its doubt, and never receives a write.
//!
//! What to do is decided in [`procedure`], without a broker and without MLflow.

pub mod of_run;
pub mod procedure;

use async_nats::jetstream::kv;
use schemas::{RunId, TrialId};
use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::topology::MLFLOW_BUCKET;

/// Most births of one run that are noted as having doubts.
const MAX_DOUBTED: usize = 1000;
/// Compare-and-set races lost in a row before a note is given up; each loss means somebody else made progress.
const MAX_RACES: usize = 16;

/// Third part of the key of a logged model.
const MODEL: &str = "model";

/// Tag of a run that names the announcement it was created for.
pub const BIRTH_TAG: &str = "cerebros.birth";

/// A create that somebody is about to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// What the run will carry as its tag.
    pub nonce: String,
    /// The experiment it will be in.
    pub experiment: String,
}

/// What is known of one MLflow run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Birth {
    /// Somebody is about to create it, or died over it.
    Creating {
        /// How to know it.
        announced: Announcement,
        /// Who announced it.
        sink: String,
        /// Earlier announcements whose requests may still be carried out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        doubts: Vec<Announcement>,
    },
    /// It is there.
    Made {
        /// MLflow's id.
        id: String,
        /// Its experiment.
        experiment: String,
        /// False for a run that was found, made before there were births.
        is_from_birth: bool,
        /// Announcements whose requests may still be carried out.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        doubts: Vec<Announcement>,
    },
}

impl Birth {
    /// Announcements whose runs, should there be any but the one that is used, are to be deleted.
    pub fn doubts(&self) -> &[Announcement] {
        match self {
            Self::Creating { doubts, .. } | Self::Made { doubts, .. } => doubts,
        }
    }
}

/// The births could not be read or changed; the broker is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the births of MLflow runs are not available: {0}")]
pub struct BirthsError(String);

/// The births of all runs, in the broker.
#[derive(Debug, Clone)]
pub struct Births {
    bucket: kv::Store,
}

impl Births {
    /// Opens them; [`crate::topology::ensure`] has created the bucket.
    pub async fn open(broker: &Broker) -> Result<Self, CliError> {
        let bucket = broker.jetstream.get_key_value(MLFLOW_BUCKET).await.map_err(|error| {
            CliError::new(
                "bucket-missing",
                Exit::Unreachable,
                format!("the bucket {MLFLOW_BUCKET} is not there"),
            )
            .because(error)
            .help("start the sink again: it creates what is missing")
        })?;
        Ok(Self { bucket })
    }

    /// One birth and the revision it was read at; revision 0 is that of a key that is not there.
    pub async fn get(&self, key: &str) -> Result<(Option<Birth>, u64), BirthsError> {
        let Some(entry) = self.bucket.entry(key).await.map_err(unavailable)? else { return Ok((None, 0)) };
        Ok((read(&entry), entry.revision))
    }

    /// Writes a birth over the revision it was read at; `None` when somebody else was faster.
    pub async fn put(&self, key: &str, birth: &Birth, over: u64) -> Result<Option<u64>, BirthsError> {
        let value = serde_json::to_vec(birth).expect("a birth is plain data").into();
        match self.bucket.update(key, value, over).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Forgets a birth: the next one who needs the run makes another.
    pub async fn forget(&self, key: &str) -> Result<(), BirthsError> {
        self.bucket.delete(key).await.map_err(unavailable)
    }

    /// Notes that a birth of a run has a doubt, so that it is found without a look at all of them. To be done before the
    /// doubt is written down.
    pub async fn note_doubt(&self, server: &str, run: &RunId, key: &str) -> Result<(), BirthsError> {
        let list = doubts_key(server, run);
        for _ in 0..MAX_RACES {
            let (mut known, revision) = self.list(&list).await?;
            if known.len() >= MAX_DOUBTED || known.iter().any(|known| known == key) {
                return Ok(());
            }
            known.push(key.to_owned());
            let value = serde_json::to_vec(&known).expect("a list of keys is plain data").into();
            match self.bucket.update(&list, value, revision).await {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == kv::UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err(unavailable(format!("{MAX_RACES} others noted doubts meanwhile")))
    }

    /// The keys of a run whose births have doubts.
    pub async fn doubted(&self, server: &str, run: &RunId) -> Result<Vec<String>, BirthsError> {
        Ok(self.list(&doubts_key(server, run)).await?.0)
    }

    async fn list(&self, key: &str) -> Result<(Vec<String>, u64), BirthsError> {
        let Some(entry) = self.bucket.entry(key).await.map_err(unavailable)? else {
            return Ok((Vec::new(), 0));
        };
        Ok((serde_json::from_slice(&entry.value).unwrap_or_default(), entry.revision))
    }
}

/// Key of the parent run of a run. `server` tells tracking servers apart.
pub fn run_key(server: &str, run: &RunId) -> String {
    format!("{server}.{}.run", part(run.as_str()))
}

/// Key of the nested run of a trial.
pub fn trial_key(server: &str, run: &RunId, trial: &TrialId) -> String {
    format!("{server}.{}.trial.{}", part(run.as_str()), part(trial.as_str()))
}

/// Key of a logged model of a run; `mark` tells its models apart and is a part of a key as it is.
pub fn model_key(server: &str, run: &RunId, mark: &str) -> String {
    format!("{server}.{}.{MODEL}.{mark}", part(run.as_str()))
}

/// True for a key of [`model_key`].
pub fn is_model_key(key: &str) -> bool {
    key.split('.').nth(2) == Some(MODEL)
}

/// Ids may hold dots, which part keys, and never hold an equals sign.
fn part(id: &str) -> String {
    id.replace('.', "=")
}

/// Key of the list of a run's births that have doubts.
fn doubts_key(server: &str, run: &RunId) -> String {
    format!("{server}.{}.doubts", part(run.as_str()))
}

fn read(entry: &kv::Entry) -> Option<Birth> {
    if entry.operation == kv::Operation::Put { parse(&entry.key, &entry.value) } else { None }
}

/// One that cannot be read (written by a stranger) counts as absent, and is said.
fn parse(key: &str, value: &[u8]) -> Option<Birth> {
    serde_json::from_slice(value)
        .inspect_err(|error| tracing::error!(key, %error, "a birth cannot be read"))
        .ok()
}

fn unavailable(error: impl std::fmt::Display) -> BirthsError {
    BirthsError(error.to_string())
}
