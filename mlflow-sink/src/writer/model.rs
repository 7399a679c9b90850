//! The files of the best model, from the broker's object store into MLflow: on its trial and on the run.
//!
//! Invariants:
//! - a file goes through in pieces, whatever its size, and arrives whole and as it was announced, or not at all;
//! - what cannot be brought over is said in a tag and holds nothing up: the run has ended. Only a server that cannot be
//!   reached is waited for;
//! - a file MLflow has already is not sent again, and one whose way was cut in the middle is sent once more.

use async_nats::jetstream::object_store::Object;
use futures_util::stream::{self, Stream};
use schemas::event::{ArtifactRef, RunCompleted};
use schemas::{RunId, TrialId};
use service_kit::topology::ARTIFACTS_BUCKET;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::{Trouble, Writer};
use crate::client::content::Standing;
use crate::client::files::{Store, Upload};
use crate::client::pages::Page;
use crate::ledger::record::Parent;
use crate::projection::dataset::hex;
use crate::projection::model::{Model, excuses, model, not_uploaded_tag};
use crate::projection::{Seen, Writes, parent, trial};

/// Bytes of one piece.
const PIECE: usize = 128 << 10;

impl Writer {
    /// Brings the files of the best model to the run and to its trial.
    pub(super) async fn keep_models(
        &self,
        run: &RunId,
        known: &Parent,
        ended: &RunCompleted,
        seen: &Seen,
    ) -> Result<(), Trouble> {
        if ended.artifact_refs.is_empty() {
            return Ok(());
        }
        let best = match &ended.best_trial_id {
            Some(best) => self.best_trial(run, known, &TrialId::from_text(best)).await?,
            None => None,
        };
        let (mut kept, mut is_whole) = (Vec::new(), true);
        for mlflow_id in [Some(&known.mlflow_id), best.as_ref()].into_iter().flatten() {
            let standing = self.client.standing(mlflow_id).await?;
            is_whole &= matches!(standing.store, Store::Kept(_));
            kept.clear();
            for artifact in &ended.artifact_refs {
                let (writes, there) = self.keep_model(mlflow_id, &standing, artifact).await?;
                self.client.write(mlflow_id, writes).await?;
                if there.is_some() {
                    for excuse in excuses(artifact, &standing.tags) {
                        self.client.delete_tag(mlflow_id, excuse).await?;
                    }
                }
                is_whole &= there.is_some();
                kept.extend(there);
            }
        }
        if is_whole {
            self.keep_logged_model(known, best.as_deref(), (ended, seen), &kept).await?;
        }
        Ok(())
    }

    async fn best_trial(
        &self,
        run: &RunId,
        known: &Parent,
        trial: &TrialId,
    ) -> Result<Option<String>, Trouble> {
        if let Some(child) = self.ledger.child(run, trial)? {
            return Ok(Some(child.mlflow_id));
        }
        let tags = [
            (trial::PARENT_TAG, known.mlflow_id.as_str()),
            (parent::RUN_TAG, run.as_str()),
            (trial::TRIAL_TAG, trial.as_str()),
        ];
        let (found, _) =
            self.client.search(std::slice::from_ref(&known.experiment_id), &tags, Page::first()).await?;
        Ok(found.first().map(|found| found.run_id.clone()))
    }

    /// Brings one file to one run, and gives the tags that say so, or why not, and the file when it is there.
    async fn keep_model(
        &self,
        mlflow_id: &str,
        standing: &Standing,
        artifact: &ArtifactRef,
    ) -> Result<(Writes, Option<Model>), Trouble> {
        let mut writes = Writes::default();
        let model = match model(artifact) {
            Ok(model) if model.is_there(&standing.tags) => return Ok((writes, Some(model))),
            Ok(model) => model,
            Err(reason) => {
                writes.tag(&not_uploaded_tag(artifact), reason);
                return Ok((writes, None));
            }
        };
        Ok(match self.send_model(mlflow_id, &standing.store, &model).await? {
            Ok(()) => {
                model.tell(&mut writes);
                (writes, Some(model))
            }
            Err(reason) => {
                tracing::warn!(
                    mlflow_run = mlflow_id,
                    object = model.object,
                    reason,
                    "a model is not brought into MLflow"
                );
                writes.tag(&not_uploaded_tag(artifact), format!("{}: {reason}", artifact.uri));
                (writes, None)
            }
        })
    }

    /// Sends a file to its place among those of a run, or of a logged model of it; once more when the connection is cut in
    /// its middle, which a good deal stands behind that is over in a moment.
    pub(super) async fn send_model(
        &self,
        mlflow_id: &str,
        store: &Store,
        model: &Model,
    ) -> Result<Result<(), String>, Trouble> {
        let mut sent = self.try_to_send(mlflow_id, store, model).await?;
        if let Upload::Torn(reason) = &sent {
            tracing::info!(mlflow_run = mlflow_id, object = model.object, reason, "a file is sent once more");
            sent = self.try_to_send(mlflow_id, store, model).await?;
        }
        Ok(sent.done())
    }

    async fn try_to_send(&self, mlflow_id: &str, store: &Store, model: &Model) -> Result<Upload, Trouble> {
        let Some(broker) = &self.models else {
            return Ok(Upload::NotTaken("no object store is at hand".to_owned()));
        };
        let opened = async {
            let store = broker
                .jetstream
                .get_object_store(ARTIFACTS_BUCKET)
                .await
                .map_err(|error| error.to_string())?;
            store.get(&model.object).await.map_err(|error| error.to_string())
        };
        let object = match opened.await {
            Ok(object) => object,
            Err(error) => {
                return Ok(Upload::NotTaken(format!("the object store does not give it: {error}")));
            }
        };
        let bytes = object.info().size as u64;
        let body = reqwest::Body::wrap_stream(checked(object, model.sha256.clone()));
        Ok(self.client.send_file(mlflow_id, store, &model.path, bytes, body).await?)
    }
}

/// The pieces of an object. The last one is held back until the whole is known to be what was announced.
fn checked(
    object: Object,
    wanted: String,
) -> impl Stream<Item = Result<Vec<u8>, std::io::Error>> + Send + 'static {
    let begin = Some((object, Sha256::new(), Vec::new()));
    stream::try_unfold(begin, move |state| {
        let wanted = wanted.clone();
        async move {
            let Some((mut object, mut digest, mut held)) = state else { return Ok(None) };
            loop {
                let mut piece = Vec::with_capacity(PIECE);
                if (&mut object).take(PIECE as u64).read_to_end(&mut piece).await? == 0 {
                    if hex(&digest.finalize()) != wanted {
                        return Err(std::io::Error::other("its content is not what was announced"));
                    }
                    return Ok((!held.is_empty()).then_some((held, None)));
                }
                digest.update(&piece);
                let before = std::mem::replace(&mut held, piece);
                if !before.is_empty() {
                    return Ok(Some((before, Some((object, digest, held)))));
                }
            }
        }
    })
}
