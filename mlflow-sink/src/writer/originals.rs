//! Writes to a run, and keeps beside it what MLflow does not take as it is.
//!
//! The file is there before anything that was cut is: whoever finds a cut value finds the whole one. Where there is no
//! place for files the tag says so, and the stream has it.

use super::{Trouble, Writer};
use crate::client::error::ClientError;
use crate::projection::Writes;
use crate::projection::originals::{FOLDER, MAX_BYTES, ORIGINALS_TAG, Originals, PATH, Told};

impl Writer {
    /// Writes to a run; `told` is what is known of its file.
    pub(super) async fn put(
        &self,
        mlflow_id: &str,
        told: &mut Told,
        mut writes: Writes,
    ) -> Result<(), Trouble> {
        let originals = std::mem::take(&mut writes.originals);
        if !told.lacks(&originals) {
            return Ok(self.client.write(mlflow_id, writes).await?);
        }
        let place = match self.keep_originals(mlflow_id, &originals).await? {
            Ok(()) => PATH.to_owned(),
            Err(reason) => {
                tracing::info!(mlflow_run = mlflow_id, reason, "originals are kept in the stream only");
                format!("in the stream only, at the sequences the tags cerebros.cut.* name: {reason}")
            }
        };
        writes.tag(ORIGINALS_TAG, place);
        self.client.write(mlflow_id, writes).await?;
        told.note(&originals);
        Ok(())
    }

    /// Adds to the file of a run, or says why not.
    async fn keep_originals(
        &self,
        mlflow_id: &str,
        originals: &Originals,
    ) -> Result<Result<(), String>, Trouble> {
        let known = match self.client.file(mlflow_id, FOLDER, PATH, MAX_BYTES).await? {
            Ok(file) => file.as_deref().and_then(Originals::read),
            Err(reason) => return Ok(Err(reason)),
        };
        let is_new = known.is_none();
        let known = known.unwrap_or_default();
        let mut all = known.clone();
        all.extend(originals.clone());
        if all == known && !is_new {
            return Ok(Ok(()));
        }
        let file = all.file();
        if file.len() > MAX_BYTES {
            return Ok(Err(format!("{PATH} is full, it has at most {MAX_BYTES} bytes")));
        }
        let standing = match self.client.standing(mlflow_id).await {
            Ok(standing) => standing,
            Err(error @ (ClientError::Outage { .. } | ClientError::Missing { .. })) => {
                return Err(error.into());
            }
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(self.client.send_bytes(mlflow_id, &standing.store, PATH, file.into()).await?.done())
    }
}
