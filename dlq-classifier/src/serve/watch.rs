//! Watches the dead-letter queue: its numbers for Prometheus, and its alerts.
//!
//! The queue is read for counting only ([`reading`]); nothing is done about what is read. Each change of an alert is
//! decided on its state in the broker by compare-and-set, and its event is named by that revision ([`speaker`]): several
//! classifiers make one, and whoever died between the two is followed by the next one to look.

mod reading;
mod seen;
mod speaker;

use std::collections::BTreeMap;
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::shutdown::Shutdown;
use tokio::time::{MissedTickBehavior, interval};

use super::Measures;
use crate::alert::{Bounds, Kind};
use reading::{Facts, Reading};
use speaker::Speaker;

/// How often the queue is looked at.
const EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(broker: Broker, measures: Measures, bounds: Bounds, shutdown: Shutdown) {
    let mut watch =
        Watch { broker: &broker, measures, bounds: &bounds, reading: Reading::default(), speaker: None };
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let looked = async {
            look.tick().await;
            watch.look().await
        };
        let looked = tokio::select! {
            looked = looked => looked,
            () = shutdown.drain() => return,
        };
        // What was counted until then still holds, and is looked through the next time.
        if let Err(reason) = looked {
            tracing::warn!(reason, "the dead-letter queue cannot be watched; trying again");
        }
    }
}

struct Watch<'a> {
    broker: &'a Broker,
    measures: Measures,
    bounds: &'a Bounds,
    reading: Reading,
    speaker: Option<Speaker<'a>>,
}

impl Watch<'_> {
    async fn look(&mut self) -> Result<(), String> {
        let facts = self.reading.catch_up(self.broker).await?;
        let values = measure(&mut self.reading, facts, self.bounds);
        self.measures.queue(&values);
        let speaker = match &mut self.speaker {
            Some(speaker) => speaker,
            None => self.speaker.insert(Speaker::open(self.broker, self.bounds).await?),
        };
        let mut changes = Vec::new();
        for (kind, value) in values {
            match speaker.judge(kind, value).await {
                Ok(judged) => {
                    self.measures.alert(kind, judged.state);
                    changes.extend(judged.unsaid);
                }
                Err(reason) => tracing::warn!(alert = kind.as_str(), reason, "an alert cannot be judged yet"),
            }
        }
        // What is not said now is said at the next look; nothing else waits for it.
        for change in changes {
            speaker.say(change).await;
        }
        Ok(())
    }
}

/// The numbers.
fn measure(reading: &mut Reading, facts: Facts, bounds: &Bounds) -> BTreeMap<Kind, f64> {
    let now = clock::now();
    let tally = &mut reading.tally;
    BTreeMap::from([
        (Kind::Depth, tally.open() as f64),
        (Kind::Age, tally.oldest(now).as_secs_f64()),
        (Kind::Rate, f64::from(tally.rate(now))),
        (Kind::Room, facts.room),
        (Kind::Expiring, tally.expiring(now, facts.max_age, bounds.notice) as f64),
    ])
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
