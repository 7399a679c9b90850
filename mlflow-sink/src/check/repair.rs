//! Mending what a check has found, under the lease of the sinks and behind its fence: once the lease has ended no further
//! step is made, however late this process is woken.
//!
//! Two rounds. First in place: what was deleted is restored, doubles are deleted, tags that say something else are taken
//! away, and the events of the run are written again. What is wrong still cannot be changed in MLflow (a value of a
//! parameter, a point of a metric): that MLflow run is deleted, as far as MLflow deletes, and made anew from the events.
//! After each round everything is compared again.

mod places;

use std::collections::{BTreeMap, BTreeSet};

use schemas::RunId;
use service_kit::error::CliError;
use service_kit::output;
use service_kit::topology;

use super::finding::{Finding, Kind, after_repair};
use super::stream::Asked;
use super::survey::Key;
use super::{CheckArgs, Look, look};
use crate::client::error::ClientError;
use crate::fence::Fence;
use crate::ledger::Ledger;
use crate::progress::Progress;
use crate::replay::{replay, sweep};
use crate::serve::leader::Leader;
use crate::target::{Tools, unreachable};

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
    let mend = async |fence| Mend { tools, args, asked, progress, fence, name: &name }.mend().await;
    let mended = leader.while_held(mend).await;
    leader.release().await;
    mended
}

struct Mend<'a> {
    tools: &'a Tools,
    args: &'a CheckArgs,
    asked: &'a Asked,
    progress: &'a Progress,
    /// All of it is behind this one.
    fence: Fence,
    name: &'a str,
}

impl Mend<'_> {
    async fn mend(&self) -> Result<Vec<Finding>, CliError> {
        // A sink may have gone on writing until now.
        let first = self.look().await?;
        let found = first.findings.clone();
        for key in keys(&first.findings) {
            if !self.passes(self.in_place(&first, &key).await, &key)? {
                continue;
            }
            self.adopt(&first, &key).await?;
        }
        self.write_again(&first).await?;
        let second = self.look().await?;
        if keys(&second.findings).is_empty() {
            return Ok(after_repair(found, second.findings));
        }
        for key in keys(&second.findings) {
            self.passes(self.delete_doubles(&second, &key).await, &key)?;
        }
        for key in anew(&second) {
            self.take_away(&second, &key).await?;
        }
        self.write_again(&second).await?;
        Ok(after_repair(found, self.look().await?.findings))
    }

    /// True if it was done. What MLflow refuses is said and stays a finding: others are repaired all the same.
    fn passes(&self, done: Result<(), ClientError>, (run, trial): &Key) -> Result<bool, CliError> {
        match done {
            Ok(()) => Ok(true),
            Err(ClientError::Refused { words, .. }) => {
                let what =
                    trial.as_ref().map_or_else(|| format!("run {run}"), |trial| format!("trial {trial}"));
                output::warning(format!("MLflow refused the repair of {what}: {words}"));
                Ok(false)
            }
            Err(error) => Err(unreachable(&self.tools.client, &error)),
        }
    }

    async fn look(&self) -> Result<Look, CliError> {
        look(self.tools, self.asked, self.progress).await
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
        let told = replay(&self.tools.broker, &writer, &self.fence, from, Some(&runs), self.progress).await?;
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
    let mended = findings.iter().filter(|finding| finding.kind.is_mended());
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
