//! What the service counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemas::FailureClass;
use service_kit::metrics::{Counter, CounterBy, Gauge, Metrics};

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
}

impl Measures {
    /// Registers the counters.
    pub fn new(metrics: &Metrics) -> Self {
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
