//! What the service counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::FailureClass;
use service_kit::metrics::{Counter, CounterBy, Gauge, GaugeBy, Metrics, RealGauge};

use crate::alert::{Kind, State};

/// The counters of the service.
#[derive(Debug, Clone)]
pub struct Measures {
    seen: Counter,
    valid: Counter,
    unknown_fields: Counter,
    dead: CounterBy,
    gone: Counter,
    is_stopped: Gauge,
    all_dead: Arc<AtomicU64>,
    open: Gauge,
    oldest: RealGauge,
    rate: Gauge,
    room: RealGauge,
    expiring: Gauge,
    alerts: GaugeBy,
}

impl Measures {
    /// Registers the counters.
    pub fn new(metrics: &Metrics) -> Self {
        let alerts = metrics.gauge_by("dlq_alert", "1 while the bound of an alert is crossed", "alert");
        // A rule should find them all from the start.
        Kind::ALL.iter().for_each(|kind| alerts.set(kind.as_str(), 0));
        Self {
            seen: metrics.counter("classifier_seen", "Events looked at"),
            valid: metrics.counter("classifier_valid", "Events that every reader can use"),
            unknown_fields: metrics
                .counter("classifier_unknown_fields", "Fields that were not understood and ignored"),
            dead: metrics.counter_by("classifier_dead", "Messages dead-lettered, by class", "class"),
            gone: metrics.counter(
                "classifier_gone",
                "Messages that ran out of deliveries and were gone when looked for",
            ),
            is_stopped: metrics
                .gauge("dlq_storm", "1 while the classifiers have stopped at their storm limit, else 0"),
            all_dead: Arc::default(),
            open: metrics.gauge("dlq_open", "Dead letters nobody has dealt with"),
            oldest: metrics
                .real_gauge("dlq_oldest_seconds", "Age of the oldest dead letter nobody has dealt with"),
            rate: metrics.gauge("dlq_last_minute", "Messages that died within the last minute"),
            room: metrics
                .real_gauge("dlq_room_ratio", "Part of the room of the dead-letter stream that is taken"),
            expiring: metrics.gauge("dlq_expiring", "Open dead letters the stream drops soon"),
            alerts,
        }
    }

    pub(super) fn valid(&self, unknown_fields: usize) {
        self.seen.inc();
        self.valid.inc();
        self.unknown_fields.inc_by(u64::try_from(unknown_fields).unwrap_or(u64::MAX));
    }

    /// A message of the event stream was dead-lettered.
    pub(super) fn died(&self, class: FailureClass) {
        self.seen.inc();
        self.given_up(class);
    }

    /// A message the broker gave up delivering was dead-lettered.
    pub(super) fn given_up(&self, class: FailureClass) {
        self.dead.inc(class.as_str());
        self.all_dead.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn gone(&self) {
        self.gone.inc();
    }

    /// The numbers of the queue.
    pub(super) fn queue(&self, values: &BTreeMap<Kind, f64>) {
        for (kind, &value) in values {
            match kind {
                Kind::Depth => drop(self.open.set(value as i64)),
                Kind::Age => drop(self.oldest.set(value)),
                Kind::Rate => drop(self.rate.set(value as i64)),
                Kind::Room => drop(self.room.set(value)),
                Kind::Expiring => drop(self.expiring.set(value as i64)),
            }
        }
    }

    /// The state of an alert.
    pub(super) fn alert(&self, kind: Kind, state: State) {
        self.alerts.set(kind.as_str(), i64::from(state == State::Crossed));
    }

    pub(super) fn stopped(&self, is_stopped: bool) {
        self.is_stopped.set(i64::from(is_stopped));
    }

    /// Events looked at so far.
    pub fn seen(&self) -> u64 {
        self.seen.get()
    }

    /// Messages dead-lettered so far.
    pub fn dead(&self) -> u64 {
        self.all_dead.load(Ordering::Relaxed)
    }
}
