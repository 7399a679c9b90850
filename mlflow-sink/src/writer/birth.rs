//! The edge of births: carries out what [`service_kit::births::procedure`] asks for, and deletes runs that turned up
//! after all.

use std::future::Future;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use schemas::{Event, RunId};
use service_kit::births::procedure::{Heard, Next, Procedure};
use service_kit::births::{Announcement, BIRTH_TAG, Birth, is_model_key};

use super::doubts::Doubts;
use super::{Stopped, Trouble, Writer};
use crate::client::FoundRun;
use crate::client::error::{ClientError, Scope};
use crate::client::pages::Page;
use crate::projection::{self, Seen};

/// Steps of one procedure; each of them that leads nowhere means that somebody else made progress.
pub(super) const MAX_STEPS: usize = 64;

/// A run that may be used.
pub(super) struct Run {
    pub(super) id: String,
    pub(super) experiment: String,
    /// See [`service_kit::births::procedure::Born`].
    pub(super) is_from_birth: bool,
    /// What the server has of it; `None` when it was created just now.
    pub(super) found: Option<FoundRun>,
}

impl Writer {
    /// The MLflow run of a key: known to the broker, else looked for by `older` when it may be from before births, else
    /// created in `experiment`.
    pub(super) async fn born<F: Future<Output = Result<Option<FoundRun>, Trouble>>>(
        &self,
        run: &RunId,
        key: &str,
        experiment: &str,
        birth: &projection::Birth,
        older: Option<impl Fn() -> F>,
    ) -> Result<Run, Trouble> {
        let nonces = || uuid::Uuid::now_v7().simple().to_string();
        let mut procedure = Procedure::new(self.sink.clone(), experiment.to_owned(), older.is_some(), nonces);
        let mut found: Option<FoundRun> = None;
        for _ in 0..MAX_STEPS {
            let heard = match procedure.next().clone() {
                Next::Read => {
                    let (birth, revision) = self.births.get(key).await?;
                    Heard::Record(birth, revision)
                }
                Next::SearchTags => {
                    found = match &older {
                        Some(search) => search().await?,
                        None => None,
                    };
                    Heard::Found(place(found.as_ref()))
                }
                Next::SearchNonce(announced) => {
                    found = self.announced(&announced).await?.into_iter().next();
                    Heard::Found(place(found.as_ref()))
                }
                Next::Fetch(id) => {
                    found = self.client.run(&id).await?;
                    Heard::Found(place(found.as_ref()))
                }
                Next::Put(birth, over) => Heard::Put(self.put_birth(run, key, &birth, over).await?),
                Next::Create(announced) => {
                    let mut birth = birth.clone();
                    birth.tags.insert(BIRTH_TAG.to_owned(), announced.nonce);
                    let id = self.client.create_run(&announced.experiment, &birth).await?;
                    Heard::Created(id, announced.experiment)
                }
                Next::Delete(id) => {
                    tracing::warn!(key, id, "another sink made this run, too; ours is deleted");
                    self.client.delete_run(&id).await?;
                    Heard::Deleted
                }
                Next::Done(born) => {
                    let found = found.filter(|found| found.run_id == born.id && !born.is_new);
                    return Ok(Run {
                        id: born.id,
                        experiment: born.experiment,
                        is_from_birth: born.is_from_birth,
                        found,
                    });
                }
            };
            procedure.heard(heard);
        }
        Err(Trouble::Stopped(Stopped {
            reason: format!("the MLflow run of {key} is made by others all the time"),
            pause: Duration::ZERO,
            scope: Scope::Lane,
        }))
    }

    /// Runs that were created for an announcement: one, or none, or two when a request was carried out twice.
    async fn announced(&self, announced: &Announcement) -> Result<Vec<FoundRun>, Trouble> {
        let tags = [(BIRTH_TAG, announced.nonce.as_str())];
        match self.client.search(std::slice::from_ref(&announced.experiment), &tags, Page::first()).await {
            Ok((found, _)) => Ok(found),
            // The experiment is gone, and its runs with it.
            Err(ClientError::Missing { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// At the end of a run, when it is complete: see [`Writer::sweep_doubts`].
    pub(super) async fn sweep_at_the_end(&self, run: &RunId, events: &[Seen]) -> Result<(), Trouble> {
        if events.iter().any(|seen| is_end(&seen.event)) { self.sweep_doubts(run).await } else { Ok(()) }
    }

    /// Looks for what is due to be looked for.
    ///
    /// # Errors
    /// When nothing can be done now; the end of the run is the next occasion.
    pub async fn sweep_due(&self) -> Result<(), Stopped> {
        loop {
            let due = self.doubts().take_due(Instant::now());
            let Some(run) = due else { return Ok(()) };
            match self.sweep_doubts(&run).await {
                Ok(()) => {}
                Err(Trouble::Stopped(stopped)) => return Err(stopped),
                Err(Trouble::Vanished(words) | Trouble::Raced(words) | Trouble::Refused(words)) => {
                    tracing::warn!(%run, words, "MLflow keeps a second run of a late create");
                }
            }
        }
    }

    /// Deletes runs of creates that were carried out after they were looked for. They were never written to.
    async fn sweep_doubts(&self, run: &RunId) -> Result<(), Trouble> {
        for key in self.births.doubted(&self.server().await?, run).await? {
            let Some(birth) = self.births.get(&key).await?.0 else { continue };
            let Birth::Made { id: used, .. } = &birth else { continue };
            for doubt in birth.doubts() {
                if is_model_key(&key) {
                    self.sweep_model(&key, used, doubt).await?;
                    continue;
                }
                for found in self.announced(doubt).await? {
                    if found.run_id != *used {
                        tracing::warn!(%run, key, id = found.run_id, "a second run of a late create is deleted");
                        self.client.delete_run(&found.run_id).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn sweep_model(&self, key: &str, used: &str, doubt: &Announcement) -> Result<(), Trouble> {
        for found in self.announced_models(doubt).await?.into_iter().filter(|found| found.id != used) {
            tracing::warn!(key, id = found.id, "a second logged model of a late create is deleted");
            self.client.delete_logged_model(&found.id).await?;
        }
        Ok(())
    }

    pub(super) fn doubts(&self) -> MutexGuard<'_, Doubts> {
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which server it is, as part of a key. Whoever has asked has the ledger of that server.
    pub(super) async fn server(&self) -> Result<String, Trouble> {
        let mut known = self.server.lock().await;
        if let Some(server) = &*known {
            return Ok(server.clone());
        }
        let server = self.client.name().await?;
        self.ledger.turn_to(&server)?;
        *known = Some(server.clone());
        Ok(server)
    }
}

fn place(found: Option<&FoundRun>) -> Option<(String, String)> {
    found.map(|found| (found.run_id.clone(), found.experiment_id.clone()))
}

fn is_end(event: &Event) -> bool {
    match event {
        Event::RunCompleted(_) | Event::RunFailed(_) | Event::RunCancelled(_) => true,
        Event::RunRequested(_)
        | Event::RunCancelRequested(_)
        | Event::RunStarted(_)
        | Event::RunInterrupted(_)
        | Event::MlRunStarted(_)
        | Event::MlRunFinalized(_)
        | Event::TrialReported(_)
        | Event::MetricReported(_)
        | Event::RunException(_) => false,
    }
}
