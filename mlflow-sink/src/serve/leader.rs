//! The lease, kept in the broker: whether this sink is the one that takes events. What is to be done is decided in
//! [`crate::lease`].

mod office;

use std::time::{Duration, Instant};

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::topology::MLFLOW_BUCKET;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::lease::Candidate;
use crate::ledger::Ledger;
use office::Office;

/// How long a command waits for the lease: a sink gives way within two looks, one that is gone within the time its key
/// has to stand still.
const DEMAND_PATIENCE: Duration = Duration::from_secs(20);
/// How long the lease is waited for to be given up.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);

/// This sink's part in who takes events.
pub(crate) struct Leader {
    until: watch::Receiver<Option<Instant>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Leader {
    /// Begins to stand for the lease under a name no other living sink has.
    ///
    /// What the ledger remembers is forgotten whenever another sink has written since.
    pub(crate) async fn stand(broker: &Broker, name: String, ledger: Ledger) -> Result<Self, CliError> {
        Self::begin(broker, name, ledger, false).await
    }

    /// Asks for the lease and waits until it is held: the sink that has it lets go of what it has in hand, and stands by
    /// until the lease is given up. For commands.
    ///
    /// # Errors
    /// When nobody gives it up in time.
    pub(crate) async fn demand(broker: &Broker, name: String, ledger: Ledger) -> Result<Self, CliError> {
        let leader = Self::begin(broker, name, ledger, true).await?;
        let mut until = leader.watch();
        if timeout(DEMAND_PATIENCE, until.wait_for(Option::is_some)).await.is_ok() {
            return Ok(leader);
        }
        leader.release().await;
        Err(CliError::new(
            "lease-held",
            Exit::Unreachable,
            "a sink is writing into MLflow and does not give way",
        )
        .because(format!("the lease was not given up within {} s", DEMAND_PATIENCE.as_secs()))
        .help("is another `check --repair` or `rebuild` under way? Else stop the sink and try again"))
    }

    async fn begin(
        broker: &Broker,
        name: String,
        ledger: Ledger,
        is_demanding: bool,
    ) -> Result<Self, CliError> {
        let bucket = broker.jetstream.get_key_value(MLFLOW_BUCKET).await.map_err(|error| {
            CliError::new(
                "bucket-missing",
                Exit::Unreachable,
                format!("the bucket {MLFLOW_BUCKET} is not there"),
            )
            .because(error)
            .help("start the sink again: it creates what is missing")
        })?;
        let (until, watched) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let office = Office::new(bucket, Candidate::new(name), ledger, until, is_demanding);
        Ok(Self { until: watched, stop, task: tokio::spawn(office.keep(stopped)) })
    }

    /// True while this sink may take events and write.
    pub(crate) fn holds(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }

    /// Tells of every change and renewal.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Instant>> {
        self.until.clone()
    }

    /// Gives the lease up, so that another sink goes on at once.
    pub(crate) async fn release(self) {
        let _ = self.stop.send(());
        if timeout(RELEASE_PATIENCE, self.task).await.is_err() {
            tracing::debug!("the lease was not given up; it runs out instead");
        }
    }
}
