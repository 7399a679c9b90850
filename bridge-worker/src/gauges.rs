//! What a worker counts and shows on /metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use service_kit::metrics::Metrics;

use crate::invocations::Invocations;

/// The numbers of one worker.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// Runs claimed, every attempt counted.
    pub claims: Counter,
    /// Requests that can never be executed.
    pub rejected: Counter,
    /// Events of attempts that were taken over, refused by the broker.
    pub stale_events: Counter,
    /// Trials answered from the result cache.
    pub cache_hits: Counter,
    /// Trials the result cache had no answer for.
    pub cache_misses: Counter,
    /// Results that were not kept because the result cache was behind.
    pub cache_dropped: Counter,
    /// Results that are kept.
    pub cache_entries: Gauge,
    /// Runs in hand.
    pub runs: Gauge,
    /// Slots in use.
    pub busy_slots: Gauge,
    /// Calls of children.
    pub invocations: Invocations,
}

impl Gauges {
    /// Registers the numbers.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            claims: metrics.counter("run_claims", "Attempts of runs that were claimed"),
            rejected: metrics.counter("requests_rejected", "Requests that can never be executed"),
            stale_events: metrics.counter(
                "stale_events_refused",
                "Events of attempts that were taken over, refused by the broker",
            ),
            cache_hits: metrics.counter("cache_hits", "Trials answered from the result cache"),
            cache_misses: metrics.counter("cache_misses", "Trials the result cache had no answer for"),
            cache_dropped: metrics
                .counter("cache_dropped", "Results that were not kept because the result cache was behind"),
            cache_entries: metrics.gauge("cache_entries", "Results in the result cache"),
            runs: metrics.gauge("runs_active", "Runs in hand"),
            busy_slots: metrics.gauge("slots_busy", "Slots in use"),
            invocations: Invocations::new(metrics),
        }
    }
}
