//! Numbers for Prometheus. No globals: whoever counts holds a handle.
//!
//! Invariant: the number of time series is bounded, because a label's values are `&'static str` (classes, stages,
//! states) or the number of one of a fixed number of things (slots), never ids or text from a message.
//!
//! Names: `cerebros_<name>` with the unit last (`_seconds`, `_bytes`); counters get `_total` when they are rendered.

mod numbered;

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::{counter, gauge, histogram};
use prometheus_client::registry::{Metric, Registry};

pub use numbered::{CounterOf, GaugeOf, RealCounterOf};

/// The media type of [`Metrics::render`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Counts events; never falls.
pub type Counter = counter::Counter;
/// Adds up amounts with fractions; never falls.
pub type RealCounter = counter::Counter<f64, std::sync::atomic::AtomicU64>;
/// A value that rises and falls.
pub type Gauge = gauge::Gauge;
/// A value with fractions that rises and falls.
pub type RealGauge = gauge::Gauge<f64, std::sync::atomic::AtomicU64>;
/// A distribution in fixed buckets.
pub type Histogram = histogram::Histogram;

/// Buckets for durations in seconds, from 1 ms to about 4 minutes.
pub const SECONDS: [f64; 10] = [0.001, 0.004, 0.016, 0.064, 0.256, 1.0, 4.0, 16.0, 64.0, 256.0];

type Label = [(&'static str, &'static str); 1];

/// One counter for each value of one label.
#[derive(Debug, Clone)]
pub struct CounterBy {
    label: &'static str,
    family: Family<Label, Counter>,
}

impl CounterBy {
    /// Counts one event under `value`.
    pub fn inc(&self, value: &'static str) {
        self.inc_by(value, 1);
    }

    /// Counts `count` events under `value`.
    pub fn inc_by(&self, value: &'static str, count: u64) {
        self.family.get_or_create(&[(self.label, value)]).inc_by(count);
    }

    /// What was counted under `value` so far.
    pub fn get(&self, value: &'static str) -> u64 {
        self.family.get_or_create(&[(self.label, value)]).get()
    }
}

/// One gauge for each value of one label.
#[derive(Debug, Clone)]
pub struct GaugeBy {
    label: &'static str,
    family: Family<Label, Gauge>,
}

impl GaugeBy {
    /// Sets the gauge of `value`.
    pub fn set(&self, value: &'static str, level: i64) {
        self.family.get_or_create(&[(self.label, value)]).set(level);
    }
}

/// One distribution of seconds, in the buckets [`SECONDS`], for each value of one label.
#[derive(Debug, Clone)]
pub struct SecondsBy {
    label: &'static str,
    family: Family<Label, Histogram, fn() -> Histogram>,
}

impl SecondsBy {
    /// Counts `took` under `value`.
    pub fn observe(&self, value: &'static str, took: std::time::Duration) {
        self.family.get_or_create(&[(self.label, value)]).observe(took.as_secs_f64());
    }
}

/// Everything one process measures.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Nothing measured yet.
    pub fn new() -> Self {
        Self { registry: Arc::new(Mutex::new(Registry::with_prefix("cerebros"))) }
    }

    /// A counter; register each name once.
    pub fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        self.register(name, help, Counter::default())
    }

    /// A counter for each value of `label`.
    pub fn counter_by(&self, name: &'static str, help: &'static str, label: &'static str) -> CounterBy {
        CounterBy { label, family: self.register(name, help, Family::default()) }
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        self.register(name, help, Gauge::default())
    }

    /// A gauge with fractions.
    pub fn real_gauge(&self, name: &'static str, help: &'static str) -> RealGauge {
        self.register(name, help, RealGauge::default())
    }

    /// A gauge for each value of `label`.
    pub fn gauge_by(&self, name: &'static str, help: &'static str, label: &'static str) -> GaugeBy {
        GaugeBy { label, family: self.register(name, help, Family::default()) }
    }

    /// A histogram with the given upper bounds, such as [`SECONDS`].
    pub fn histogram(&self, name: &'static str, help: &'static str, buckets: &[f64]) -> Histogram {
        self.register(name, help, Histogram::new(buckets.iter().copied()))
    }

    /// A histogram of seconds for each value of `label`.
    pub fn seconds_by(&self, name: &'static str, help: &'static str, label: &'static str) -> SecondsBy {
        let buckets: fn() -> Histogram = || Histogram::new(SECONDS);
        SecondsBy { label, family: self.register(name, help, Family::new_with_constructor(buckets)) }
    }

    /// Everything in the text format of Prometheus ([`MEDIA_TYPE`]).
    pub fn render(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("a string takes any text");
        out
    }

    fn register<M: Metric + Clone>(&self, name: &'static str, help: &'static str, metric: M) -> M {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(name, help, metric.clone());
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_measured_is_rendered() {
        let metrics = Metrics::new();
        metrics.counter("runs", "Runs taken").inc();
        metrics.counter_by("failures", "Failures", "class").inc_by("timeout_trial", 2);
        metrics.gauge("slots", "Slots").set(3);
        metrics.gauge_by("consumers", "State of consumers", "state").set("paused", 1);
        metrics.real_gauge("load", "Load").set(0.5);
        metrics.histogram("call_seconds", "Calls", &SECONDS).observe(0.5);
        metrics
            .seconds_by("trial_seconds", "Trials", "end")
            .observe("oom", std::time::Duration::from_secs(2));
        let text = metrics.render();
        for line in [
            "cerebros_trial_seconds_count{end=\"oom\"} 1",
            "cerebros_runs_total 1",
            "cerebros_failures_total{class=\"timeout_trial\"} 2",
            "cerebros_slots 3",
            "cerebros_consumers{state=\"paused\"} 1",
            "cerebros_load 0.5",
            "cerebros_call_seconds_bucket{le=\"1.0\"} 1",
            "cerebros_call_seconds_count 1",
        ] {
            assert!(text.lines().any(|rendered| rendered == line), "{line} is missing in\n{text}");
        }
    }
}
