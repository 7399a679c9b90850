//! The best model of a completed run as a logged model, where MLflow has such.
//!
//! Invariants:
//! - one for one set of files, whatever crashes and whoever else tries: it is born as runs are, announced before it is
//!   made ([`service_kit::births`]);
//! - it is ready once its files, their description and the way from its runs are there, and not before;
//! - without the files on the run there is none: they are the proof that they can be brought over.

use std::time::{Duration, Instant};

use schemas::RunId;
use schemas::event::RunCompleted;
use service_kit::births::procedure::{Born, Heard, Next, Procedure};
use service_kit::births::{Announcement, BIRTH_TAG, Birth, model_key};

use super::birth::MAX_STEPS;
use super::{Stopped, Trouble, Writer};
use crate::client::error::{ClientError, Scope};
use crate::client::files::Store;
use crate::client::models::FoundModel;
use crate::ledger::record::Parent;
use crate::projection::logged_model::{DESCRIPTION, LOGGED_MODEL_TAG, LoggedModel, logged_model};
use crate::projection::model::Model;
use crate::projection::{Seen, Writes};

impl Writer {
    /// Makes sure that the model with these files, which are on the run already, is a logged model of its runs: the trial
    /// that trained it, when it is known, and the run.
    pub(super) async fn keep_logged_model(
        &self,
        known: &Parent,
        trial: Option<&str>,
        (ended, seen): (&RunCompleted, &Seen),
        files: &[Model],
    ) -> Result<(), Trouble> {
        if files.is_empty() || !self.client.has_logged_models(&known.experiment_id).await? {
            return Ok(());
        }
        let model = logged_model(ended, seen, files);
        let source = trial.unwrap_or(&known.mlflow_id);
        let born = self.born_model(&ended.run_id, &known.experiment_id, source, &model).await?;
        let Some(found) = self.client.logged_model(&born.id).await? else {
            return Err(Trouble::Vanished(format!("the logged model {} is gone", born.id)));
        };
        if found.is_ready {
            return Ok(());
        }
        if let Err(reason) = self.fill_model(&found, source, &model, files).await? {
            tracing::warn!(run = %ended.run_id, model = found.id, reason, "a logged model is not filled");
            return Ok(());
        }
        let mut told = Writes::default();
        told.tag(LOGGED_MODEL_TAG, &found.id);
        for mlflow_id in [Some(known.mlflow_id.as_str()), trial].into_iter().flatten() {
            self.client.log_output(mlflow_id, &found.id).await?;
            self.client.write(mlflow_id, told.clone()).await?;
        }
        Ok(self.client.finish_logged_model(&found.id).await?)
    }

    async fn fill_model(
        &self,
        found: &FoundModel,
        source: &str,
        model: &LoggedModel,
        files: &[Model],
    ) -> Result<Result<(), String>, Trouble> {
        // A server brings only the files of runs elsewhere.
        if !matches!(found.store, Store::Kept(_)) {
            return Ok(Err("its files lie outside the server".to_owned()));
        }
        for file in files {
            if let Err(reason) = self.send_model(source, &found.store, file).await? {
                return Ok(Err(reason));
            }
        }
        let description = model.description(&found.id, source);
        Ok(self.client.send_bytes(source, &found.store, DESCRIPTION, description.into()).await?.done())
    }

    async fn born_model(
        &self,
        run: &RunId,
        experiment: &str,
        source: &str,
        model: &LoggedModel,
    ) -> Result<Born, Trouble> {
        let key = model_key(&self.server().await?, run, &model.mark);
        let nonces = || uuid::Uuid::now_v7().simple().to_string();
        let mut procedure = Procedure::new(self.sink.clone(), experiment.to_owned(), false, nonces);
        let place = |found: FoundModel| (found.id, found.experiment_id);
        for _ in 0..MAX_STEPS {
            let heard = match procedure.next().clone() {
                Next::Read => {
                    let (birth, revision) = self.births.get(&key).await?;
                    Heard::Record(birth, revision)
                }
                // Nobody made one before there were births.
                Next::SearchTags => Heard::Found(None),
                Next::SearchNonce(announced) => {
                    Heard::Found(self.announced_models(&announced).await?.into_iter().next().map(place))
                }
                Next::Fetch(id) => Heard::Found(self.client.logged_model(&id).await?.map(place)),
                Next::Put(birth, over) => Heard::Put(self.put_birth(run, &key, &birth, over).await?),
                Next::Create(announced) => {
                    let tag = (BIRTH_TAG, announced.nonce.as_str());
                    let id =
                        self.client.create_logged_model(&announced.experiment, source, model, tag).await?;
                    Heard::Created(id, announced.experiment)
                }
                Next::Delete(id) => {
                    tracing::warn!(key, id, "another sink made this logged model, too; ours is deleted");
                    self.client.delete_logged_model(&id).await?;
                    Heard::Deleted
                }
                Next::Done(born) => return Ok(born),
            };
            procedure.heard(heard);
        }
        Err(Trouble::Stopped(Stopped {
            reason: format!("the logged model of {key} is made by others all the time"),
            pause: Duration::ZERO,
            scope: Scope::Lane,
        }))
    }

    /// Logged models that were created for an announcement.
    pub(super) async fn announced_models(
        &self,
        announced: &Announcement,
    ) -> Result<Vec<FoundModel>, Trouble> {
        let tag = (BIRTH_TAG, announced.nonce.as_str());
        match self.client.logged_models(&announced.experiment, tag).await {
            Ok(found) => Ok(found),
            Err(ClientError::Missing { .. } | ClientError::Unsupported { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a birth down; a doubt in it is noted before.
    pub(super) async fn put_birth(
        &self,
        run: &RunId,
        key: &str,
        birth: &Birth,
        over: u64,
    ) -> Result<Option<u64>, Trouble> {
        if !birth.doubts().is_empty() {
            self.births.note_doubt(&self.server().await?, run, key).await?;
            self.doubts().note(run, Instant::now());
        }
        Ok(self.births.put(key, birth, over).await?)
    }
}
