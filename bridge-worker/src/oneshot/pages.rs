//! What a search says about itself over HTTP, at the address it was asked to: the pages of a worker that serves.

use std::sync::Arc;
use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::health::{ComponentHandle, Health};
use service_kit::metrics::Metrics;
use service_kit::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::census::Census;
use crate::cli::ServeArgs;
use crate::gauges::Gauges;
use crate::serve::{HEALTH_PORT, note_load, watch_broker};
use crate::slots::Slots;

/// How often it is looked how many slots are in use.
const PERIOD: Duration = Duration::from_millis(250);

/// The pages of one search. It is ready as long as it goes on, and its broker is there.
pub(super) struct Pages {
    pub(super) metrics: Metrics,
    health: Health,
    search: ComponentHandle,
}

impl Pages {
    /// Serves them, but only where an address was given: a search that nobody looks at opens no port.
    pub(super) async fn open(args: &ServeArgs, shutdown: &Shutdown) -> Result<Self, CliError> {
        let (metrics, health) = (Metrics::new(), Health::new("bridge-worker"));
        let search = health.component("search");
        if args.health.http.is_some() {
            args.health.serve(HEALTH_PORT, health.clone(), metrics.clone(), shutdown.clone()).await?;
        }
        Ok(Self { metrics, health, search })
    }

    /// Keeps them up to date until the answer is dropped: the search is under way.
    pub(super) fn keep(&self, gauges: &Gauges, slots: &Arc<Slots>, broker: Option<&Broker>) -> JoinSet<()> {
        let mut keepers = JoinSet::new();
        keepers.spawn(Census::new(&self.metrics).keep(slots.clone()));
        keepers.spawn(keep_load(gauges.clone(), slots.clone()));
        if let Some(broker) = broker {
            keepers.spawn(watch_broker(broker.clone(), self.health.component("broker")));
        }
        self.search.ready();
        keepers
    }
}

async fn keep_load(gauges: Gauges, slots: Arc<Slots>) {
    let mut looks = tokio::time::interval(PERIOD);
    loop {
        looks.tick().await;
        note_load(&gauges, &slots, 1);
    }
}
