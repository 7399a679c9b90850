//! One MLflow run, made ready for its events to be written again.

use std::collections::BTreeSet;

use service_kit::births::Birth;
use service_kit::error::CliError;
use service_kit::output;

use super::super::Look;
use super::super::finding::Kind;
use super::super::server::birth_key;
use super::super::survey::{Key, Sighting};
use super::Mend;
use crate::client::error::ClientError;
use crate::projection::parent::{self, KIND_TAG, OBJECTIVE_TAG, RUN_TAG};
use crate::projection::trial::{self, PARENT_TAG, TRIAL_TAG};
use crate::projection::{RunStatus, Writes};
use crate::target::{no_births, unreachable};

impl Mend<'_> {
    /// Makes a key such that its events, written again, complete it.
    pub(super) async fn in_place(&self, look: &Look, key: &Key) -> Result<(), ClientError> {
        let client = &self.tools.client;
        let Some(kept) = look.survey.kept(key, &look.births) else {
            return self.find_again(look, key).await;
        };
        if kept.is_deleted {
            client.restore_run(&kept.id).await?;
        }
        self.delete_doubles(look, key).await?;
        if kept.wrong.is_empty() && key.1.is_none() {
            return Ok(());
        }
        for tag in kept.wrong.iter().filter_map(|wrong| wrong.tag.as_deref()) {
            client.delete_tag(&kept.id, tag).await?;
        }
        if key.1.is_none() {
            // Without it what the start of the run says is written again.
            client.delete_tag(&kept.id, OBJECTIVE_TAG).await?;
        }
        self.identify(look, key, kept).await?;
        let should_run = look.reading.expected.runs.get(&key.0).is_some_and(|run| {
            let image = match &key.1 {
                None => Some(&run.image),
                Some(trial) => run.trials.get(trial).map(|trial| &trial.image),
            };
            image.is_some_and(|image| image.status == RunStatus::Running)
        });
        if should_run && kept.wrong.iter().any(|wrong| wrong.kind == Kind::WrongStatus) {
            client.reopen(&kept.id).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_doubles(&self, look: &Look, key: &Key) -> Result<(), ClientError> {
        let Some(kept) = look.survey.kept(key, &look.births) else { return Ok(()) };
        for double in look.survey.doubles(key, kept) {
            tracing::info!(run = %key.0, id = %double.id, kept = %kept.id, "a double is deleted");
            self.tools.client.delete_run(&double.id).await?;
        }
        Ok(())
    }

    /// Tells the broker which MLflow run is used, where it does not know: else another would be made.
    pub(super) async fn adopt(&self, look: &Look, key: &Key) -> Result<(), CliError> {
        let Some(kept) = look.survey.kept(key, &look.births) else { return Ok(()) };
        let name = birth_key(&look.server, key);
        let (None, revision) = self.tools.births.get(&name).await.map_err(no_births)? else { return Ok(()) };
        let (id, experiment) = (kept.id.to_string(), kept.experiment.clone());
        let made = Birth::Made { id, experiment, is_from_birth: false, doubts: Vec::new() };
        self.tools.births.put(&name, &made, revision).await.map_err(no_births)?;
        Ok(())
    }

    /// Writes the tags a run is found by, which are written only when it is made.
    async fn identify(&self, look: &Look, key: &Key, kept: &Sighting) -> Result<(), ClientError> {
        let parent = look.survey.kept(&(key.0.clone(), None), &look.births).map(|parent| &*parent.id);
        self.tools.client.write(&kept.id, identity(key, parent)).await
    }

    /// Nothing at the server says that it is of this key; the broker may know better.
    async fn find_again(&self, look: &Look, key: &Key) -> Result<(), ClientError> {
        let client = &self.tools.client;
        let Ok((Some(Birth::Made { id, .. }), _)) =
            self.tools.births.get(&birth_key(&look.server, key)).await
        else {
            return Ok(());
        };
        let Some(found) = client.whole_run(&id).await? else { return Ok(()) };
        if found.is_deleted {
            client.restore_run(&id).await?;
        }
        let parent = look.survey.kept(&(key.0.clone(), None), &look.births).map(|parent| &*parent.id);
        client.write(&id, identity(key, parent)).await
    }

    /// Takes an MLflow run away, so that it is made anew.
    pub(super) async fn take_away(&self, look: &Look, key: &Key) -> Result<(), CliError> {
        let cannot = |error: ClientError| unreachable(&self.tools.client, &error);
        let name = birth_key(&look.server, key);
        let mut gone: BTreeSet<String> =
            look.survey.kept(key, &look.births).map(|kept| kept.id.to_string()).into_iter().collect();
        if let (Some(Birth::Made { id, .. }), _) = self.tools.births.get(&name).await.map_err(no_births)? {
            gone.insert(id);
        }
        for id in gone {
            self.progress.clear();
            output::note(format!("{} is made anew; the old MLflow run {id} is deleted", told(key)));
            self.tools.client.delete_run(&id).await.map_err(cannot)?;
        }
        self.tools.births.forget(&name).await.map_err(no_births)
    }
}

fn identity((run, trial): &Key, parent: Option<&str>) -> Writes {
    let mut writes = Writes::default();
    writes.tag(RUN_TAG, run.as_str());
    match trial {
        None => writes.tag(KIND_TAG, parent::KIND),
        Some(trial) => {
            writes.tag(KIND_TAG, trial::KIND);
            writes.tag(TRIAL_TAG, trial.as_str());
            writes.tag_some(PARENT_TAG, parent);
        }
    }
    writes
}

fn told((run, trial): &Key) -> String {
    trial.as_ref().map_or_else(|| format!("run {run}"), |trial| format!("trial {trial}"))
}
