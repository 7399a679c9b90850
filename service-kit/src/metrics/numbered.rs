//! Numbers of things that are counted through, such as slots: there are as many series as things.

use prometheus_client::metrics::family::Family;

use super::{Counter, Gauge, Metrics, RealCounter};

type Number = [(&'static str, u16); 1];

/// One gauge for each of a fixed number of things.
#[derive(Debug, Clone)]
pub struct GaugeOf {
    label: &'static str,
    family: Family<Number, Gauge>,
}

impl GaugeOf {
    /// Sets the gauge of thing `number`.
    pub fn set(&self, number: u16, level: i64) {
        self.family.get_or_create(&[(self.label, number)]).set(level);
    }
}

/// One counter for each of a fixed number of things.
#[derive(Debug, Clone)]
pub struct CounterOf {
    label: &'static str,
    family: Family<Number, Counter>,
}

impl CounterOf {
    /// Counts `count` events of thing `number`.
    pub fn inc_by(&self, number: u16, count: u64) {
        self.family.get_or_create(&[(self.label, number)]).inc_by(count);
    }
}

/// One counter with fractions for each of a fixed number of things.
#[derive(Debug, Clone)]
pub struct RealCounterOf {
    label: &'static str,
    family: Family<Number, RealCounter>,
}

impl RealCounterOf {
    /// Adds `amount`, which is not negative, to that of thing `number`.
    pub fn inc_by(&self, number: u16, amount: f64) {
        self.family.get_or_create(&[(self.label, number)]).inc_by(amount);
    }
}

impl Metrics {
    /// A gauge for each of a fixed number of things, numbered in `label`.
    pub fn gauge_of(&self, name: &'static str, help: &'static str, label: &'static str) -> GaugeOf {
        GaugeOf { label, family: self.register(name, help, Family::default()) }
    }

    /// A counter for each of a fixed number of things, numbered in `label`.
    pub fn counter_of(&self, name: &'static str, help: &'static str, label: &'static str) -> CounterOf {
        CounterOf { label, family: self.register(name, help, Family::default()) }
    }

    /// A counter with fractions for each of a fixed number of things, numbered in `label`.
    pub fn real_counter_of(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
    ) -> RealCounterOf {
        RealCounterOf { label, family: self.register(name, help, Family::default()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thing_has_a_series_of_its_own() {
        let metrics = Metrics::new();
        metrics.gauge_of("bytes", "Bytes", "slot").set(1, 5);
        metrics.counter_of("calls", "Calls", "slot").inc_by(0, 2);
        metrics.real_counter_of("cpu_seconds", "CPU", "slot").inc_by(0, 0.25);
        let text = metrics.render();
        for line in [
            "cerebros_bytes{slot=\"1\"} 5",
            "cerebros_calls_total{slot=\"0\"} 2",
            "cerebros_cpu_seconds_total{slot=\"0\"} 0.25",
        ] {
            assert!(text.lines().any(|rendered| rendered == line), "{line} is missing in\n{text}");
        }
    }
}
