//! Shows on /metrics what every slot has done and what its child uses.
//!
//! Looks once a second, so that what a child used in its last second before it died is not counted.

use std::sync::Arc;
use std::time::Duration;

use service_kit::metrics::{CounterOf, Gauge, GaugeOf, Metrics, RealCounterOf};

use crate::slots::{Reading, Slots};

const PERIOD: Duration = Duration::from_secs(1);

/// The numbers of a worker's slots.
#[derive(Debug, Clone)]
pub struct Census {
    resident: GaugeOf,
    memory: GaugeOf,
    cpu: RealCounterOf,
    calls: CounterOf,
    restarts: CounterOf,
    spares: Gauge,
}

impl Census {
    /// Registers the numbers.
    pub fn new(metrics: &Metrics) -> Self {
        let slot = "slot";
        Self {
            resident: metrics.gauge_of(
                "child_resident_bytes",
                "Pages in memory of a slot's child and everything below it",
                slot,
            ),
            memory: metrics.gauge_of(
                "child_memory_bytes",
                "The same without files: what --child-memory limits",
                slot,
            ),
            cpu: metrics.real_counter_of("child_cpu_seconds", "CPU time of a slot's children", slot),
            calls: metrics.counter_of("child_calls", "Calls a slot's children were given", slot),
            restarts: metrics.counter_of("child_restarts", "Children of a slot that replaced another", slot),
            spares: metrics.gauge("spares_ready", "Children that are ready to replace a killed one"),
        }
    }

    /// Looks for ever.
    pub async fn keep(self, slots: Arc<Slots>) {
        let mut before = vec![Reading::default(); slots.count()];
        let mut looks = tokio::time::interval(PERIOD);
        loop {
            looks.tick().await;
            let looked_at = slots.clone();
            // Dozens of small files for each slot: not in the way of those who talk to children.
            let Ok(now) = tokio::task::spawn_blocking(move || looked_at.readings()).await else { return };
            for (number, (before, now)) in (0_u16..).zip(before.iter().zip(&now)) {
                self.show(number, *before, *now);
            }
            self.spares.set(i64::try_from(slots.spares()).unwrap_or(i64::MAX));
            before = now;
        }
    }

    fn show(&self, number: u16, before: Reading, now: Reading) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let growth = Growth::between(before, now);
        self.resident.set(number, bytes(now.usage.resident_bytes));
        self.memory.set(number, bytes(now.usage.memory_bytes));
        self.cpu.inc_by(number, growth.cpu.as_secs_f64());
        self.calls.inc_by(number, growth.calls);
        self.restarts.inc_by(number, growth.restarts);
    }
}

/// What came to a slot's counts between two looks.
#[derive(Debug, PartialEq, Eq)]
struct Growth {
    calls: u64,
    restarts: u64,
    cpu: Duration,
}

impl Growth {
    fn between(before: Reading, now: Reading) -> Self {
        let restarts = |reading: Reading| reading.children.saturating_sub(1);
        let is_same = before.pid == now.pid;
        // A process that was waited for by nobody takes its time along, so that the sum may fall.
        let cpu = if is_same { now.usage.cpu.saturating_sub(before.usage.cpu) } else { now.usage.cpu };
        Self { calls: now.calls - before.calls, restarts: restarts(now) - restarts(before), cpu }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Usage;

    fn reading(calls: u64, children: u64, cpu_seconds: u64) -> Reading {
        let usage = Usage { cpu: Duration::from_secs(cpu_seconds), ..Usage::default() };
        Reading { calls, children, usage, pid: i32::try_from(children).ok().filter(|pid| *pid > 0) }
    }

    fn growth(calls: u64, restarts: u64, cpu_seconds: u64) -> Growth {
        Growth { calls, restarts, cpu: Duration::from_secs(cpu_seconds) }
    }

    #[test]
    fn the_first_child_of_a_slot_restarts_nothing() {
        assert_eq!(Growth::between(Reading::default(), reading(3, 1, 2)), growth(3, 0, 2));
    }

    #[test]
    fn a_child_s_time_is_counted_from_its_own_start() {
        assert_eq!(Growth::between(reading(3, 1, 50), reading(5, 1, 52)), growth(2, 0, 2));
        assert_eq!(Growth::between(reading(5, 1, 52), reading(9, 3, 1)), growth(4, 2, 1));
    }

    #[test]
    fn time_that_vanishes_is_not_taken_back() {
        assert_eq!(Growth::between(reading(1, 1, 5), reading(1, 1, 4)), growth(0, 0, 0));
    }
}
