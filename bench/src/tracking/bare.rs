//! What the server takes when nothing is between: the sink's own client and bodies, without a broker, a ledger or an order.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use mlflow_sink::client::error::ClientError;
use mlflow_sink::client::{Client, MAX_CONNECTIONS};
use mlflow_sink::projection::{Birth, Point, Seen, Writes, trial};
use schemas::{Event, Timestamp};
use service_kit::births::BIRTH_TAG;
use service_kit::error::CliError;
use service_kit::mlflow::tracking::{Authorization, Tracking};
use tokio::time::Instant;

use crate::contracts::{trials as specimens, voice};

/// Reports the sink writes together, before it draws the curve of the best so far.
const BATCH: usize = 250;
/// What is drawn on the parent for each trial.
const CURVE: [&str; 4] = ["best/accuracy", "trials_finished", "trials_failed", "trials_pruned"];
/// The client, and an experiment to write to.
pub(super) struct Bare {
    client: Client,
    experiment: String,
}

impl Bare {
    /// Connects and makes the experiment.
    pub(super) async fn new(url: &str) -> Result<Self, CliError> {
        let tracking = Tracking::new(url, Authorization::None)?;
        let client = Client::new(tracking)?;
        let experiment = client.create_experiment("bare").await.map_err(CliError::internal)?;
        Ok(Self { client, experiment })
    }

    /// How long it takes to create, write and close so many trials under a parent of their own.
    pub(super) async fn trials(&self, run: &str, count: u32) -> Result<Duration, CliError> {
        let voice = voice(run);
        let birth = Birth { name: run.to_owned(), start_time: 0, tags: BTreeMap::new() };
        let parent = self.client.create_run(&self.experiment, &birth).await.map_err(CliError::internal)?;
        let at = Timestamp::from_micros(1_769_860_800_000_000);
        let mut events = specimens(&voice, count).into_iter().map(|event| Seen {
            event,
            at,
            schema: None,
            sequence: 0,
            attempt: None,
        });
        let began = Instant::now();
        let mut written = 0;
        loop {
            let batch: Vec<Seen> = events.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return Ok(began.elapsed());
            }
            let (from, size) = (written, batch.len());
            stream::iter(batch.into_iter().map(Ok))
                .try_for_each_concurrent(MAX_CONNECTIONS, |seen| self.trial(&parent, seen))
                .await
                .map_err(CliError::internal)?;
            self.curve(&parent, from, size).await.map_err(CliError::internal)?;
            written += size;
        }
    }

    /// A point a trial of each metric the sink draws on the parent.
    async fn curve(&self, parent: &str, from: usize, count: usize) -> Result<(), ClientError> {
        let mut writes = Writes::default();
        for trial in from..from + count {
            let step = i64::try_from(trial).unwrap_or(i64::MAX);
            writes.points.extend(CURVE.map(|key| Point {
                key: key.to_owned(),
                value: 0.5,
                timestamp: 1_769_860_800_000,
                step,
            }));
        }
        self.client.write(parent, writes).await
    }

    async fn trial(&self, parent: &str, seen: Seen) -> Result<(), ClientError> {
        let Event::TrialReported(report) = &seen.event else { return Ok(()) };
        let mut birth = trial::birth(&report.run_id, &report.trial_id, parent, &[&seen]);
        let kin = trial::kin(Some("accuracy"), None, None);
        birth.tags.extend(trial::tags_at_birth(&[&seen], kin).unwrap_or_default());
        // Of the length of the sink's nonce.
        birth.tags.insert(BIRTH_TAG.to_owned(), format!("{:032x}", seen.at.micros()));
        let id = self.client.create_run(&self.experiment, &birth).await?;
        let projected = trial::reported(report, &seen);
        let mut writes = Writes { tags: BTreeMap::new(), ..projected.writes };
        let timestamp = projected.closing.end_time;
        let points =
            projected.finals.into_iter().map(|(key, value)| Point { key, value, timestamp, step: 0 });
        writes.points.extend(points);
        self.client.write(&id, writes).await?;
        self.client.close(&id, &projected.closing.after_birth_with(&birth.all_tags())).await
    }
}
