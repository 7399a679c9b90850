//! Says changes of the alerts, once: each is noted by compare-and-set, and its event is named by that revision.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::Timestamp;
use schemas::cloudevents::{Headers, header};
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::publish::{self, Outgoing};
use service_kit::topology::DLQ_BUCKET;

use super::text;
use crate::alert::{Alert, Bounds, Kind, State, judge};
use crate::serve::notes::Notes;

/// How long an event is repeated while the broker does not confirm it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A change older than this is not said again: the broker may have forgotten the message id by then.
const SAID_AGAIN: Duration = Duration::from_secs(12 * 3600);

/// Says changes, once.
pub(super) struct Speaker<'a> {
    broker: &'a Broker,
    bounds: &'a Bounds,
    notes: Notes,
    /// Revisions whose event the broker has.
    said: BTreeMap<Kind, u64>,
    /// Revisions whose event it did not take, of which that was told.
    failed: BTreeMap<Kind, u64>,
}

/// What was found about an alert.
pub(super) struct Judged {
    pub(super) state: State,
    /// A change of which the broker may not have the event.
    pub(super) unsaid: Option<(Alert, u64)>,
}

impl<'a> Speaker<'a> {
    pub(super) async fn open(broker: &'a Broker, bounds: &'a Bounds) -> Result<Self, String> {
        let notes = Notes::open(broker, DLQ_BUCKET).await?;
        Ok(Self { broker, bounds, notes, said: BTreeMap::new(), failed: BTreeMap::new() })
    }

    /// Notes what has become of an alert, if it has changed.
    pub(super) async fn judge(&mut self, kind: Kind, value: f64) -> Result<Judged, String> {
        let note = self.notes.read::<Alert>(&kind.key()).await?;
        let said = note.said.as_ref().map_or(State::Cleared, |known| known.state);
        let now = clock::now();
        let known = match judge(kind, said, value, self.bounds, now) {
            // When another classifier was faster, it says it.
            Some(alert) => {
                self.notes.write(&kind.key(), &note, &alert).await?.map(|revision| (alert, revision))
            }
            None => note.said.zip(note.revision),
        };
        let Some((alert, revision)) = known else { return Ok(Judged { state: said, unsaid: None }) };
        let state = alert.state;
        let is_news = self.said.get(&kind) != Some(&revision) && is_recent(alert.at, now);
        Ok(Judged { state, unsaid: is_news.then_some((alert, revision)) })
    }

    /// Says a change, or tells once that it cannot be said.
    pub(super) async fn say(&mut self, (alert, revision): (Alert, u64)) {
        let kind = alert.alert;
        match self.publish(&alert, revision).await {
            Ok(()) => drop(self.said.insert(kind, revision)),
            Err(reason) if self.failed.insert(kind, revision) != Some(revision) => {
                tracing::warn!(
                    alert = kind.as_str(),
                    reason,
                    "an alert cannot be published yet: {}",
                    alert.message
                );
            }
            Err(reason) => tracing::debug!(alert = kind.as_str(), reason, "an alert cannot be published yet"),
        }
    }

    async fn publish(&self, alert: &Alert, revision: u64) -> Result<(), String> {
        let mut headers = Headers::default();
        headers.push(header::MESSAGE_ID, format!("dlq-alert:{}:{revision}", alert.alert.as_str()));
        headers.push(header::CONTENT_TYPE, "application/json");
        let message = Outgoing {
            subject: alert.alert.subject(),
            headers: publish::to_header_map(&headers),
            payload: serde_json::to_vec(alert).expect("an alert is plain data").into(),
        };
        let published = publish::send(self.broker, &message, PATIENCE).await.map_err(text)?;
        if !published.is_duplicate {
            match alert.state {
                State::Crossed => tracing::warn!(alert = alert.alert.as_str(), "{}", alert.message),
                State::Cleared => tracing::info!(alert = alert.alert.as_str(), "{}", alert.message),
            }
        }
        Ok(())
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    let age = Duration::from_micros(u64::try_from(now.micros() - at.micros()).unwrap_or(0));
    age < SAID_AGAIN
}
