//! What MLflow has, read page by page and judged on the way, so that no more than a page of it is held.

use std::collections::{BTreeMap, BTreeSet};

use schemas::RunId;
use service_kit::births::{Birth, BirthsError, run_key, trial_key};

use super::stream::Reading;
use super::survey::{Key, Survey};
use crate::client::PAGE_EXPERIMENTS;
use crate::client::error::ClientError;
use crate::client::whole::{BULK_RUNS, Page};
use crate::progress::Progress;
use crate::projection::parent::{self, KIND_TAG, RUN_TAG};
use crate::projection::trial;
use crate::target::Tools;

/// Reads every run of ours, and the histories of what is to be compared.
pub(crate) async fn survey(
    tools: &Tools,
    reading: &Reading,
    progress: &Progress,
) -> Result<Survey, ClientError> {
    let (client, expected) = (&tools.client, &reading.expected);
    let mut survey = Survey::default();
    let tags: Vec<(&str, &str)> = match &reading.scope.only {
        Some(run) => vec![(RUN_TAG, run.as_str())],
        None => vec![(KIND_TAG, parent::KIND), (KIND_TAG, trial::KIND)],
    };
    let experiments = client.experiments().await?;
    let mut count = 0;
    for some in experiments.chunks(PAGE_EXPERIMENTS as usize) {
        for tag in &tags {
            let mut next = Some(Page::first());
            while let Some(page) = next {
                let (runs, behind) = client.search_whole(some, *tag, page).await?;
                for run in &runs {
                    count += 1;
                    survey.see(expected, &reading.scope, run);
                }
                progress.say(|| format!("{count} MLflow runs read"));
                next = behind;
            }
        }
    }
    let histories = std::mem::take(&mut survey.histories);
    let (total, mut done) = (histories.len(), 0);
    for (name, runs) in histories {
        done += 1;
        progress.say(|| format!("histories: {done} of {total} metrics"));
        let key = expected.names.text(name).to_owned();
        for some in runs.chunks(BULK_RUNS) {
            let by_id: BTreeMap<&str, &Key> = some.iter().map(|(key, id)| (&**id, key)).collect();
            let ids: Vec<&str> = by_id.keys().copied().collect();
            let mut take = |id: &str, points| {
                if let Some(key) = by_id.get(id) {
                    survey.see_history(expected, key, id, name, points);
                }
            };
            client.histories(&ids, &key, &mut take).await?;
        }
    }
    Ok(survey)
}

/// The MLflow runs the broker knows for these keys.
pub(crate) async fn births(
    tools: &Tools,
    server: &str,
    keys: Vec<Key>,
) -> Result<BTreeMap<Key, String>, BirthsError> {
    let mut known = BTreeMap::new();
    for key in keys {
        if let (Some(Birth::Made { id, .. }), _) = tools.births.get(&birth_key(server, &key)).await? {
            known.insert(key, id);
        }
    }
    Ok(known)
}

/// The runs among these that this broker knows: by their birth, or by its registry.
pub(crate) async fn ours(
    tools: &Tools,
    server: &str,
    runs: BTreeSet<RunId>,
) -> Result<BTreeSet<RunId>, BirthsError> {
    let mut ours = BTreeSet::new();
    for run in runs {
        let is_born = tools.births.get(&run_key(server, &run)).await?.0.is_some();
        // The registry is not asked in vain: a birth outlives it.
        if is_born || tools.registry.get(&run).await.is_ok_and(|held| held.is_some()) {
            ours.insert(run);
        }
    }
    Ok(ours)
}

/// The name of the birth of a key.
pub(crate) fn birth_key(server: &str, (run, trial): &Key) -> String {
    match trial {
        None => run_key(server, run),
        Some(trial) => trial_key(server, run, trial),
    }
}
