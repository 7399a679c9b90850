//! One run's writes in the bites MLflow takes: at most 1000 metrics, 100 parameters, 100 tags, 1000 of all together
//! and one megabyte of JSON a request.

use serde::Serialize;

use super::Writes;

/// Most metrics of one request.
const MAX_METRICS: usize = 1000;
/// Most parameters of one request.
const MAX_PARAMS: usize = 100;
/// Most tags of one request.
const MAX_TAGS: usize = 100;
/// Most of all of one request.
const MAX_ENTRIES: usize = 1000;
/// Most JSON of one request; MLflow refuses a million bytes, and other servers count the run id and brackets too.
const MAX_BYTES: usize = 950_000;

/// Body of one `runs/log-batch`, without the run id.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Batch {
    /// Metrics.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// Parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<Pair>,
    /// Tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Pair>,
}

/// One metric on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "MLflow's own names")]
pub struct Metric {
    pub key: String,
    pub value: f64,
    pub timestamp: i64,
    pub step: i64,
}

/// One parameter or tag on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "MLflow's own names")]
pub struct Pair {
    pub key: String,
    pub value: String,
}

/// The requests that carry everything, in order, each within the limits. Parameters go first, so that a change MLflow
/// refuses is refused before anything is appended.
pub fn split(writes: Writes) -> Vec<Batch> {
    let mut full = Vec::new();
    let mut open = Open::default();
    for (key, value) in writes.params {
        let pair = Pair { key, value };
        open.make_room(&mut full, json_bytes(&pair), |batch| batch.params.len() < MAX_PARAMS);
        open.batch.params.push(pair);
    }
    for point in writes.points {
        let metric =
            Metric { key: point.key, value: point.value, timestamp: point.timestamp, step: point.step };
        open.make_room(&mut full, json_bytes(&metric), |batch| batch.metrics.len() < MAX_METRICS);
        open.batch.metrics.push(metric);
    }
    for (key, value) in writes.tags {
        let pair = Pair { key, value };
        open.make_room(&mut full, json_bytes(&pair), |batch| batch.tags.len() < MAX_TAGS);
        open.batch.tags.push(pair);
    }
    if open.entries > 0 {
        full.push(open.batch);
    }
    full
}

#[derive(Default)]
struct Open {
    batch: Batch,
    entries: usize,
    bytes: usize,
}

impl Open {
    fn make_room(&mut self, full: &mut Vec<Batch>, bytes: usize, has_room: impl Fn(&Batch) -> bool) {
        let fits = has_room(&self.batch) && self.entries < MAX_ENTRIES && self.bytes + bytes <= MAX_BYTES;
        if !fits && self.entries > 0 {
            full.push(std::mem::take(self).batch);
        }
        self.entries += 1;
        self.bytes += bytes;
    }
}

fn json_bytes(entry: &impl Serialize) -> usize {
    // With the comma behind it.
    serde_json::to_vec(entry).expect("names, numbers and texts are plain data").len() + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::projection::Point;

    fn writes(params: usize, tags: usize, points: usize, text: &str) -> Writes {
        let pair = |index| (format!("n{index}"), text.to_owned());
        let point =
            |index| Point { key: "m".into(), value: 0.5, timestamp: 1, step: i64::try_from(index).unwrap() };
        Writes {
            params: (0..params).map(pair).collect(),
            tags: (0..tags).map(pair).collect(),
            points: (0..points).map(point).collect(),
            ..Writes::default()
        }
    }

    #[test]
    fn nothing_makes_no_request() {
        assert!(split(Writes::default()).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn everything_is_carried_once_and_every_request_is_within_the_limits(
            params in 0_usize..400, tags in 0_usize..400, points in 0_usize..3000, length in 0_usize..6000,
        ) {
            let all = writes(params, tags, points, &"\"".repeat(length));
            let batches = split(all);
            for batch in &batches {
                prop_assert!(batch.metrics.len() <= 1000 && batch.params.len() <= 100 && batch.tags.len() <= 100);
                prop_assert!(batch.metrics.len() + batch.params.len() + batch.tags.len() <= 1000);
                prop_assert!(serde_json::to_vec(batch).unwrap().len() < 1_000_000);
                prop_assert!(batch != &Batch::default());
            }
            let sum = |count: fn(&Batch) -> usize| batches.iter().map(count).sum::<usize>();
            prop_assert_eq!(sum(|batch| batch.params.len()), params);
            prop_assert_eq!(sum(|batch| batch.tags.len()), tags);
            let steps: Vec<i64> = batches.iter().flat_map(|batch| batch.metrics.iter().map(|m| m.step)).collect();
            prop_assert_eq!(steps, (0..i64::try_from(points).unwrap()).collect::<Vec<_>>());
        }
    }
}
