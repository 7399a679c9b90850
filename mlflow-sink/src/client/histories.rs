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
        while let Some(runs) = waiting.pop() {
            let [first, ..] = runs else { continue };
            let points = if let [run] = runs {
                BTreeMap::from([(run.to_owned(), self.history(run, key).await?)])
            } else {
                match self.bulk(runs, key).await {
                    Ok(points) if points.values().map(Vec::len).sum::<usize>() < BULK_POINTS => points,
                    // Too many points for one answer.
                    Ok(_) => {
                        let (left, right) = runs.split_at(runs.len() / 2);
                        waiting.extend([left, right]);
                        continue;
                    }
                    // An interface of its pages, which another server may not have, or not in this way: one by one.
                    Err(error @ (ClientError::Outage { .. } | ClientError::Misconfigured { .. })) => {
                        tracing::debug!(%error, first, "histories are read one by one");
                        waiting.extend(runs.chunks(1));
                        continue;
                    }
                    Err(ClientError::Unsupported { .. }) => {
                        waiting.extend(runs.chunks(1));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            };
            let mut points = points;
            for run in runs {
                each(run, points.remove(*run).unwrap_or_default());
            }
        }
        Ok(())
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
        let call = Call { path: "metrics/get-history-bulk", is_optional: true };
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
