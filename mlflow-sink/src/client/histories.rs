//! The histories of metrics, of many runs at once.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;

use super::error::{Call, ClientError};
use super::wire::HistoryPoint;
use super::{CALL_TIMEOUT, Client};

/// Most runs whose histories are asked for at once: MLflow's own limit.
pub const BULK_RUNS: usize = 100;
/// Most points of one such answer. One that has as many may have been cut.
const BULK_POINTS: usize = 25_000;
/// The interface of MLflow's own pages, seen from the one for programs.
const BULK: &str = "../../../ajax-api/2.0/mlflow/metrics/get-history-bulk";

#[derive(Deserialize)]
struct BulkAnswer {
    #[serde(default)]
    metrics: Vec<BulkPoint>,
}

#[derive(Deserialize)]
struct BulkPoint {
    run_id: String,
    #[serde(flatten)]
    point: HistoryPoint,
}

impl Client {
    /// Every point of a metric of at most [`BULK_RUNS`] runs, by run; the run and its points are handed over once each.
    pub async fn histories(
        &self,
        runs: &[&str],
        key: &str,
        each: &mut (dyn FnMut(&str, Vec<HistoryPoint>) + Send),
    ) -> Result<(), ClientError> {
        let mut waiting = vec![runs];
        while let Some(some) = waiting.pop() {
            match self.together(some, key).await? {
                Ok(mut points) => {
                    some.iter().for_each(|run| each(run, points.remove(*run).unwrap_or_default()));
                }
                Err(fewer) => waiting.extend(some.chunks(fewer)),
            }
        }
        Ok(())
    }

    /// The same in one answer; or of how many runs to ask when there is none for so many: they have too many points, or
    /// this server does not have the interface of MLflow's pages, or not as we know it.
    async fn together<'a>(
        &self,
        runs: &[&'a str],
        key: &str,
    ) -> Result<Result<BTreeMap<&'a str, Vec<HistoryPoint>>, usize>, ClientError> {
        if let [run] = runs {
            return Ok(Ok(BTreeMap::from([(*run, self.history(run, key).await?)])));
        }
        match self.bulk(runs, key).await {
            Ok(points) if points.values().map(Vec::len).sum::<usize>() < BULK_POINTS => Ok(Ok(points)),
            Ok(_) => Ok(Err(runs.len().div_ceil(2))),
            Err(
                error @ (ClientError::Unsupported { .. }
                | ClientError::Outage { .. }
                | ClientError::Unwieldy { .. }
                | ClientError::Misconfigured { .. }),
            ) => {
                tracing::debug!(%error, "histories are read one by one");
                Ok(Err(1))
            }
            Err(error) => Err(error),
        }
    }

    async fn bulk<'a>(
        &self,
        runs: &[&'a str],
        key: &str,
    ) -> Result<BTreeMap<&'a str, Vec<HistoryPoint>>, ClientError> {
        let limit = BULK_POINTS.to_string();
        let mut query: Vec<(&str, &str)> = runs.iter().map(|run| ("run_id", *run)).collect();
        query.extend([("metric_key", key), ("max_results", &limit)]);
        let request = self.wire.request(Method::GET, BULK).query(&query);
        let call = Call { path: "metrics/get-history-bulk", is_optional: true, is_divisible: false };
        let answer: BulkAnswer = self.wire.call(call, request, CALL_TIMEOUT).await?;
        let mut points: BTreeMap<&str, Vec<HistoryPoint>> = BTreeMap::new();
        for BulkPoint { run_id, point } in answer.metrics {
            if let Some(run) = runs.iter().find(|run| **run == run_id) {
                points.entry(run).or_default().push(point);
            }
        }
        Ok(points)
    }
}
