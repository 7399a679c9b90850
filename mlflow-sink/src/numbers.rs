//! What the sink counts.

use service_kit::metrics::{Counter, CounterBy, Gauge, Histogram, Metrics, SECONDS};

/// Numbers for Prometheus.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// Events by what became of them: written, refused, postponed, ignored.
    pub events: CounterBy,
    /// Events in hand.
    pub held: Gauge,
    /// Events in the stream that MLflow does not have yet.
    pub lag: Gauge,
    /// Seconds the oldest of them is in the stream.
    pub oldest_event_seconds: Gauge,
    /// Bytes of them.
    pub held_bytes: Gauge,
    /// 1 while this sink is the one that takes events, 0 while it stands by.
    pub is_leader: Gauge,
    /// Times MLflow could not be used.
    pub outages: Counter,
    /// Duration of a written batch.
    pub batch_seconds: Histogram,
}

impl Numbers {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            events: metrics.counter_by("sink_events", "Events by what became of them", "outcome"),
            held: metrics.gauge("sink_held_events", "Events in hand"),
            lag: metrics.gauge("sink_lag_events", "Events in the stream that MLflow does not have yet"),
            oldest_event_seconds: metrics.gauge(
                "sink_oldest_event_seconds",
                "Seconds the oldest event that MLflow does not have yet is in the stream",
            ),
            held_bytes: metrics.gauge("sink_held_bytes", "Bytes of the events in hand"),
            is_leader: metrics.gauge(
                "sink_is_leader",
                "1 while this sink is the one that takes events, 0 while it stands by",
            ),
            outages: metrics.counter("sink_outages", "Times MLflow could not be used"),
            batch_seconds: metrics.histogram("sink_batch_seconds", "Duration of written batches", &SECONDS),
        }
    }
}
