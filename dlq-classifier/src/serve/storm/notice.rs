//! What subscribers are told of the limit: that it was passed, and that letters are written again; once each.
//!
//! The id of an alert is made of the revision at which the note began to say "stopped". Whether it was told already, the last
//! alert on the stream knows, however long ago that was. That all is well again is confirmed before the note says so: where
//! somebody was killed in between, whoever looks next finds a note that says "stopped" and an alert that says "cleared", and
//! finishes what was begun.

use std::time::Duration;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use schemas::cloudevents::{Headers, header};
use schemas::subject::{DLQ_ALERT_PREFIX, DLQ_STREAM};
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::publish::{self, Outgoing};

use super::Standing;

/// How long an alert is tried. It is said in the log and on the health page as well.
const ALERT_PATIENCE: Duration = Duration::from_secs(5);
/// Kind of the alert.
const KIND: &str = "storm";

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Notice {
    /// The limit was passed.
    Crossed,
    /// Letters are written again.
    Cleared,
}

/// What subscribers of the alerts get.
#[derive(Debug, Serialize)]
struct Alert<'a> {
    alert: &'static str,
    state: Notice,
    value: f64,
    threshold: f64,
    at: schemas::Timestamp,
    source: &'static str,
    reason: &'a str,
}

impl Notice {
    /// The id of the alert about a stop, by the revision of the note that says it.
    fn message_id(self, stopped_at: u64) -> String {
        match self {
            Self::Crossed => format!("dlq-alert:{KIND}:{stopped_at}"),
            Self::Cleared => format!("dlq-alert:{KIND}:{stopped_at}:cleared"),
        }
    }
}

/// What was told last about a stop.
pub(crate) async fn told(broker: &Broker, stopped_at: u64) -> Result<Option<Notice>, String> {
    let stream = broker.jetstream.get_stream_no_info(DLQ_STREAM).await.map_err(|error| error.to_string())?;
    let last = match stream.get_last_raw_message_by_subject(&subject()).await {
        Ok(last) => last,
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let id = last.headers.get(header::MESSAGE_ID).map(async_nats::HeaderValue::as_str).unwrap_or_default();
    Ok([Notice::Crossed, Notice::Cleared].into_iter().find(|notice| notice.message_id(stopped_at) == id))
}

/// Tells it, unless it was told, and waits for the confirmation.
pub(crate) async fn tell(
    broker: &Broker,
    notice: Notice,
    stopped: &Standing,
    stopped_at: u64,
) -> Result<(), String> {
    let Standing::Stopped { reason, value, threshold, .. } = stopped else { return Ok(()) };
    if told(broker, stopped_at).await? == Some(notice) {
        return Ok(());
    }
    let (value, threshold) = (*value, *threshold);
    let alert = Alert {
        alert: KIND,
        state: notice,
        value,
        threshold,
        at: clock::now(),
        source: "dlq-classifier",
        reason,
    };
    let mut headers = Headers::default();
    headers.push(header::MESSAGE_ID, notice.message_id(stopped_at));
    headers.push(header::CONTENT_TYPE, "application/json");
    let message = Outgoing {
        subject: subject(),
        headers: publish::to_header_map(&headers),
        payload: serde_json::to_vec(&alert).map_err(|error| error.to_string())?.into(),
    };
    publish::send(broker, &message, ALERT_PATIENCE).await.map(drop).map_err(|error| error.to_string())
}

fn subject() -> String {
    format!("{DLQ_ALERT_PREFIX}{KIND}")
}
