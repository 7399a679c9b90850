//! Mending what a check has found, under the lease of the sinks.
//!
//! Two rounds. First in place: what was deleted is restored, doubles are deleted, tags that say something else are taken
//! away, and the events of the run are written again. What is wrong still cannot be changed in MLflow (a value of a
//! parameter, a point of a metric): that MLflow run is deleted, as far as MLflow deletes, and made anew from the events.
//! After each round everything is compared again.

use std::collections::{BTreeMap, BTreeSet};

use schemas::RunId;
use service_kit::births::Birth;
use service_kit::error::CliError;
use service_kit::output;
use service_kit::topology;

use super::finding::{Finding, Kind, after_repair};
use super::server::birth_key;
use super::stream::Asked;
use super::survey::{Key, Sighting};
use super::{CheckArgs, Look, look};
use crate::client::error::ClientError;
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::projection::parent::{self, KIND_TAG, OBJECTIVE_TAG, RUN_TAG};
use crate::projection::trial::{self, PARENT_TAG, TRIAL_TAG};
use crate::projection::{RunStatus, Writes};
use crate::replay::{replay, sweep};
use crate::serve::leader::Leader;
use crate::target::{Tools, no_births, unreachable};

/// Mends, and tells of everything that was found whether it is found still.
pub(super) async fn repair(
    tools: &Tools,
    args: &CheckArgs,
    asked: &Asked,
    progress: &Progress,
) -> Result<Vec<Finding>, CliError> {
    topology::ensure(&tools.broker).await?;
    let name = format!("check-{}", uuid::Uuid::now_v7().simple());
    let leader = Leader::demand(&tools.broker, name.clone(), Ledger::temporary()?).await?;
    let mended = Mend { tools, args, asked, progress, leader: &leader, name: &name }.mend().await;
    leader.release().await;
    mended
}

struct Mend<'a> {
    tools: &'a Tools,
    args: &'a CheckArgs,
    asked: &'a Asked,
    progress: &'a Progress,
    leader: &'a Leader,
    name: &'a str,
}

impl Mend<'_> {
    async fn mend(&self) -> Result<Vec<Finding>, CliError> {
        // A sink may have gone on writing until now.
        let first = self.look().await?;
        let found = first.findings.clone();
        let cannot = |error: ClientError| unreachable(&self.tools.client, &error);
        for key in keys(&first.findings) {
            self.in_place(&first, &key).await.map_err(cannot)?;
            self.adopt(&first, &key).await?;
        }
        self.write_again(&first).await?;
        let second = self.look().await?;
        if keys(&second.findings).is_empty() {
            return Ok(after_repair(found, second.findings));
        }
        for key in keys(&second.findings) {
            self.delete_doubles(&second, &key).await.map_err(cannot)?;
        }
        for key in anew(&second) {
            self.take_away(&second, &key).await?;
        }
        self.write_again(&second).await?;
        Ok(after_repair(found, self.look().await?.findings))
    }

    async fn look(&self) -> Result<Look, CliError> {
        look(self.tools, self.asked, self.progress).await
    }

    /// Makes a key such that its events, written again, complete it.
    async fn in_place(&self, look: &Look, key: &Key) -> Result<(), ClientError> {
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

    async fn delete_doubles(&self, look: &Look, key: &Key) -> Result<(), ClientError> {
        let Some(kept) = look.survey.kept(key, &look.births) else { return Ok(()) };
        for double in look.survey.doubles(key, kept) {
            tracing::info!(run = %key.0, id = %double.id, kept = %kept.id, "a double is deleted");
            self.tools.client.delete_run(&double.id).await?;
        }
        Ok(())
    }

    /// Tells the broker which MLflow run is used, where it does not know: else another would be made.
    async fn adopt(&self, look: &Look, key: &Key) -> Result<(), CliError> {
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
    async fn take_away(&self, look: &Look, key: &Key) -> Result<(), CliError> {
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

    /// Writes the events of everything that was found again.
    async fn write_again(&self, look: &Look) -> Result<(), CliError> {
        let runs: BTreeSet<RunId> = keys(&look.findings).into_iter().map(|(run, _)| run).collect();
        let known = &look.reading.expected.runs;
        let Some(from) = runs.iter().filter_map(|run| known.get(run)).map(|run| run.first).min() else {
            return Ok(());
        };
        // Nothing is remembered of what was there before.
        let ledger = Ledger::temporary()?;
        let writer = self.tools.writer(self.name, ledger, &self.args.target, &self.args.broker);
        let told = replay(&self.tools.broker, &writer, self.leader, from, Some(&runs), self.progress).await?;
        self.progress.clear();
        let mut said: BTreeMap<&str, usize> = BTreeMap::new();
        for refusal in &told.refusals {
            *said.entry(&refusal.reason).or_default() += 1;
        }
        for (reason, count) in said {
            output::warning(format!("MLflow refused {count} events: {reason}"));
        }
        sweep(&writer, &self.tools.broker).await
    }
}

/// What was found something about that a repair is for: what nobody speaks of is left to people.
fn keys(findings: &[Finding]) -> BTreeSet<Key> {
    let mended = findings.iter().filter(|finding| finding.kind != Kind::Orphan);
    mended.map(|finding| (finding.run.clone(), finding.trial.clone())).collect()
}

/// What has to be made anew; with a run all of its trials.
fn anew(look: &Look) -> BTreeSet<Key> {
    let mut all = BTreeSet::new();
    // Of what is only there twice the other one is deleted.
    let wrong: Vec<Finding> =
        look.findings.iter().filter(|finding| finding.kind != Kind::Duplicate).cloned().collect();
    for (run, trial) in keys(&wrong) {
        if trial.is_none()
            && let Some(known) = look.reading.expected.runs.get(&run)
        {
            all.extend(known.trials.keys().map(|trial| (run.clone(), Some(trial.clone()))));
        }
        all.insert((run, trial));
    }
    all
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
