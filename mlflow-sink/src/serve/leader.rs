//! The lease, kept in the broker: whether this sink is the one that takes events. What is to be done is decided in
//! [`crate::lease`].

mod office;

use std::time::Duration;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::topology::MLFLOW_BUCKET;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::fence::{Fence, Terms};
use crate::lease::{Candidate, Holder};
use crate::ledger::Ledger;
use office::Office;

/// How long a command waits for the lease: a sink gives way within two looks, one that is gone within the time its key
/// has to stand still.
const DEMAND_PATIENCE: Duration = Duration::from_secs(20);
/// How long the lease is waited for to be given up.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);

/// This sink's part in who takes events.
pub(crate) struct Leader {
    terms: Terms,
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
        let mut terms = leader.terms.0.clone();
        if timeout(DEMAND_PATIENCE, terms.wait_for(Option::is_some)).await.is_ok() {
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
        let (term, watched) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let me = Holder { name, nonce: uuid::Uuid::now_v7().simple().to_string() };
        let office = Office::new(bucket, Candidate::new(me), ledger, term, is_demanding);
        Ok(Self { terms: Terms(watched), stop, task: tokio::spawn(office.keep(stopped)) })
    }

    /// True while this sink may take events and write.
    pub(crate) fn holds(&self) -> bool {
        self.terms.present().is_some()
    }

    /// The number of this time it holds the lease.
    pub(crate) fn term(&self) -> Option<u64> {
        self.terms.present()
    }

    /// For what may only go on while it is held.
    pub(crate) fn fence(&self) -> Option<Fence> {
        self.terms.fence()
    }

    /// Carries a command on as long as it holds the lease this time.
    ///
    /// # Errors
    /// Those of the command; and when the lease ended before it.
    pub(crate) async fn while_held<T>(
        &self,
        work: impl AsyncFnOnce(Fence) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let fence = self.fence().ok_or_else(lease_lost)?;
        fence.during(work(fence.clone())).await.unwrap_or_else(|| Err(lease_lost()))
    }

    /// Tells of every change and renewal.
    pub(crate) fn terms(&self) -> Terms {
        self.terms.clone()
    }

    /// Gives the lease up, so that another sink goes on at once.
    pub(crate) async fn release(self) {
        let _ = self.stop.send(());
        if timeout(RELEASE_PATIENCE, self.task).await.is_err() {
            tracing::debug!("the lease was not given up; it runs out instead");
        }
    }
}

/// The lease is somebody else's: nothing may be written any more.
pub(crate) fn lease_lost() -> CliError {
    CliError::new("lease-lost", Exit::Unreachable, "another sink has taken over the writing into MLflow")
        .because("the lease could not be renewed in time")
        .help("see that the broker answers, and run the command again: what is done stays done")
}
