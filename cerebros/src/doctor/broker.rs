//! The broker and what lies on it.

use std::time::Duration;

use dlq_classifier::figures::Figures;
use schemas::Timestamp;
use schemas::subject::STREAM;
use serde::Deserialize;
use service_kit::broker::Broker;
use service_kit::check::broker::{CREATED_BY, schemas, server, streams};
use service_kit::check::{Check, Finding, bounded};
use service_kit::clock;
use service_kit::config::BrokerTarget;
use service_kit::topology::WORKER_CONSUMER;
use tokio::time::sleep;

/// How long a broker that refuses connections is asked again.
const PATIENCE: Duration = Duration::from_millis(500);
/// Looks before it is said that nobody takes requests: a worker between two pulls is there all the same.
const LOOKS: u32 = 3;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(150);
/// How far the clocks may be apart: more than this, and times in one listing contradict each other.
const MAX_SKEW: Duration = Duration::from_secs(2);
/// The checks that need a broker, in the order in which they are shown.
const DEPENDENT: [&str; 5] = ["streams", "schemas", "worker", "dlq", "clock"];

/// The broker itself, and if it answers everything that lies on it.
pub(super) async fn checks(target: &BrokerTarget) -> Vec<Check> {
    let mut connected = Err(None);
    let first = bounded("broker", async {
        connected = Broker::connect(target, "cerebros-doctor", PATIENCE).await.map_err(Some);
        match &connected {
            Ok(broker) => server(broker).await,
            Err(Some(error)) => Finding::of(error.clone()),
            Err(None) => Finding::error(format!("no answer from {}", target.url), "check network and load"),
        }
    })
    .await;
    let Ok(broker) = connected else {
        let finding =
            Finding::warning("not checked: the broker does not answer", "make the broker answer first");
        let dependent = DEPENDENT.into_iter().map(|name| finding.clone().named(name));
        return std::iter::once(first).chain(dependent).collect();
    };
    let [streams_name, schemas_name, worker_name, dlq_name, clock_name] = DEPENDENT;
    let (streams, schemas, worker, dlq, clock) = tokio::join!(
        bounded(streams_name, streams(&broker)),
        bounded(schemas_name, schemas(&broker)),
        bounded(worker_name, worker(&broker)),
        bounded(dlq_name, dead_letters(&broker)),
        bounded(clock_name, skew(&broker)),
    );
    vec![first, streams, schemas, worker, dlq, clock]
}

/// Does anybody take run requests?
async fn worker(broker: &Broker) -> Finding {
    for _ in 1..LOOKS {
        let finding = worker_now(broker).await;
        if finding.is_ok() {
            return finding;
        }
        sleep(PAUSE).await;
    }
    worker_now(broker).await
}

async fn worker_now(broker: &Broker) -> Finding {
    let stream = match broker.jetstream.get_stream_no_info(STREAM).await {
        Ok(stream) => stream,
        Err(error) => return Finding::warning(format!("not checked: {error}"), CREATED_BY),
    };
    let Ok(consumer) = stream.consumer_info(WORKER_CONSUMER).await else {
        return Finding::warning("no worker has ever been here", CREATED_BY);
    };
    let (waiting, busy, queued) = (consumer.num_waiting, consumer.num_ack_pending, consumer.num_pending);
    if waiting > 0 || busy > 0 {
        return Finding::ok(format!(
            "takes requests: {waiting} open pulls, {busy} runs in hand, {queued} queued"
        ));
    }
    let remedy = "start one: `cerebros up`, or `bridge-worker serve`";
    Finding::warning(format!("nobody takes requests; {queued} are queued"), remedy)
}

/// How many dead letters nobody has dealt with, and what threatens them.
async fn dead_letters(broker: &Broker) -> Finding {
    match Figures::read(broker).await {
        Ok(figures) => of_figures(&figures),
        Err(error) => Finding::warning(format!("not checked: {error}"), CREATED_BY),
    }
}

fn of_figures(figures: &Figures) -> Finding {
    let Figures { all, open, near_end, full, .. } = figures;
    let mut troubles = Vec::new();
    if *open > 0 {
        troubles.push((
            format!("{open} open dead letters ({all} in all)"),
            "`cerebros dlq groups` tells what is wrong with them, `cerebros dlq replay` brings them back",
        ));
    }
    if *near_end > 0 {
        troubles.push((
            format!("{near_end} of them are dropped by age within three days"),
            "replay them, or `cerebros dlq discard` them with a reason",
        ));
    }
    if figures.has_dropped {
        troubles.push((
            "the stream has dropped letters before their time, whether or not anybody had dealt with them"
                .to_owned(),
            "`cerebros dlq audit` names messages that lack a letter",
        ));
    }
    if !figures.is_safe {
        troubles.push((
            "a full dead-letter stream would drop its oldest letters, open ones too".to_owned(),
            "set its discard policy to new, with any NATS client: an earlier build has created it",
        ));
    }
    if figures.is_nearly_full() {
        troubles.push((
            format!("the dead-letter stream is {full} % full"),
            "deal with letters and raise its max_bytes: when it is full, malformed messages stay where they are",
        ));
    }
    if troubles.is_empty() {
        return Finding::ok(format!("no open dead letters ({all} in all)"));
    }
    let (messages, remedies): (Vec<String>, Vec<&str>) = troubles.into_iter().unzip();
    Finding::warning(messages.join("; "), remedies.join("; "))
}

/// How far the broker's clock is from ours.
async fn skew(broker: &Broker) -> Finding {
    #[derive(Deserialize)]
    struct Answer {
        ts: Option<Timestamp>,
    }
    let asked = clock::now();
    let answer = broker.client.request(format!("$JS.API.STREAM.INFO.{STREAM}"), "".into()).await;
    let answered = clock::now();
    let answer = answer.ok().and_then(|message| serde_json::from_slice::<Answer>(&message.payload).ok());
    let Some(theirs) = answer.and_then(|answer| answer.ts) else {
        return Finding::warning("not checked: the broker does not tell the time", CREATED_BY);
    };
    // Asked and answered around the moment it was written down.
    let ours = i64::midpoint(asked.micros(), answered.micros());
    let skew = Duration::from_micros(ours.abs_diff(theirs.micros()));
    if skew > MAX_SKEW {
        let message = format!("the broker's clock is {:.1} s from ours", skew.as_secs_f64());
        return Finding::warning(message, "set both by NTP");
    }
    Finding::ok(format!("within {} ms of the broker's", skew.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_well_or_everything_that_threatens_it_is_told_with_its_remedy() {
        let well = Figures { all: 3, is_safe: true, ..Figures::default() };
        assert_eq!(of_figures(&well), Finding::ok("no open dead letters (3 in all)"));
        let ill = Figures { open: 2, near_end: 1, is_safe: false, has_dropped: true, full: 95, ..well };
        let found = format!("{:?}", of_figures(&ill));
        for part in
            ["2 open", "1 of them", "before their time", "drop its oldest", "95 % full", "discard policy"]
        {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}
