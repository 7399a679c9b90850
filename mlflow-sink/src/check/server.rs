//! What MLflow has, read page by page and judged on the way, so that no more than a page of it is held.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream;
use schemas::RunId;
use service_kit::births::{Birth, BirthsError, run_key, trial_key};
use service_kit::registry::RegistryError;

use super::stream::Reading;
use super::survey::{Key, Survey};
use crate::client::error::ClientError;
use crate::client::histories::BULK_RUNS;
use crate::client::pages::Page;
use crate::client::whole::NamedExperiment;
use crate::client::{HistoryPoint, MAX_CONNECTIONS, PAGE_EXPERIMENTS};
use crate::progress::Progress;
use crate::projection::expected::{Expected, Name};
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
    let all = client.all_experiments().await?;
    let experiments: Vec<String> = all.iter().map(|experiment| experiment.id.clone()).collect();
    let deleted = all.into_iter().filter(NamedExperiment::is_deleted);
    survey.deleted_experiments = deleted.map(|experiment| (experiment.id, experiment.name)).collect();
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
    read_histories(tools, expected, &mut survey, progress).await?;
    Ok(survey)
}

/// Reads the histories of what is to be compared, as many at once as MLflow serves.
async fn read_histories(
    tools: &Tools,
    expected: &Expected,
    survey: &mut Survey,
    progress: &Progress,
) -> Result<(), ClientError> {
    let histories = std::mem::take(&mut survey.histories);
    let pages = histories.iter().flat_map(|(name, runs)| runs.chunks(BULK_RUNS).map(|some| (*name, some)));
    let jobs: Vec<_> = pages.map(|(name, runs)| read_page(tools, expected, name, runs)).collect();
    let total = jobs.len();
    let mut reading = stream::iter(jobs).buffer_unordered(MAX_CONNECTIONS);
    let mut done = 0;
    while let Some(read) = reading.next().await {
        let (name, runs, points) = read?;
        let keys: BTreeMap<&str, &Key> = runs.iter().map(|(key, id)| (&**id, key)).collect();
        for (id, points) in points {
            if let Some(key) = keys.get(id.as_str()) {
                survey.see_history(expected, key, &id, name, points);
            }
        }
        done += 1;
        progress.say(|| format!("{done} of {total} pages of histories read"));
    }
    Ok(())
}

type Histories = Vec<(String, Vec<HistoryPoint>)>;

async fn read_page<'a>(
    tools: &Tools,
    expected: &Expected,
    name: Name,
    runs: &'a [(Key, Arc<str>)],
) -> Result<(Name, &'a [(Key, Arc<str>)], Histories), ClientError> {
    let ids: Vec<&str> = runs.iter().map(|(_, id)| &**id).collect();
    let mut points = Vec::with_capacity(runs.len());
    let mut take = |id: &str, history| points.push((id.to_owned(), history));
    tools.client.histories(&ids, expected.names.text(name), &mut take).await?;
    Ok((name, runs, points))
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

/// The runs among these that this broker's registry knows.
pub(crate) async fn registered(
    tools: &Tools,
    runs: BTreeSet<RunId>,
) -> Result<BTreeSet<RunId>, RegistryError> {
    let mut known = BTreeSet::new();
    for run in runs {
        if tools.registry.get(&run).await?.is_some() {
            known.insert(run);
        }
    }
    Ok(known)
}

/// The name of the birth of a key.
pub(crate) fn birth_key(server: &str, (run, trial): &Key) -> String {
    match trial {
        None => run_key(server, run),
        Some(trial) => trial_key(server, run, trial),
    }
}
