//! The connection: one client per process, short pings, endless reconnects, bounded waits.
//!
//! The first connection is awaited up to a deadline and fails with a reason; later losses are the client's to mend,
//! while every request has a deadline of its own.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, context::ContextBuilder};

use crate::config::{BrokerTarget, Credentials};
use crate::dead_letter::Seen;
use crate::error::CliError;
use crate::exit::Exit;
use crate::schema_registry::Known;

/// A dead connection is noticed after two unanswered pings; the client's own default of 60 s would take minutes.
const PING_INTERVAL: Duration = Duration::from_secs(3);
/// Deadline of one connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Deadline of one request to the broker.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Publishes that may wait for their ack at once; more make the publisher wait.
const MAX_ACKS_IN_FLIGHT: usize = 4096;
/// How often it is looked whether the client is dead.
const GONE_POLL: Duration = Duration::from_millis(500);
/// How often it is looked whether a lost connection is back.
const CONNECTION_POLL: Duration = Duration::from_millis(20);
/// Pause before the second attempt to connect; it doubles with each.
const FIRST_RECONNECT_DELAY: Duration = Duration::from_millis(20);
/// Longest pause between two attempts to reconnect.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// The broker, connected.
#[derive(Debug, Clone)]
pub struct Broker {
    /// Core client, for plain subscriptions.
    pub client: async_nats::Client,
    /// JetStream.
    pub jetstream: jetstream::Context,
    /// Schemas of other builds that were met on it.
    pub(crate) schemas: Known,
    /// The room for dead letters, as it was seen last.
    pub(crate) letters_room: Seen,
    url: String,
    /// Copies of each stream and bucket that is created.
    pub(crate) replicas: usize,
}

impl Broker {
    /// Connects, waiting at most `patience` for a broker that does not answer yet.
    pub async fn connect(target: &BrokerTarget, name: &str, patience: Duration) -> Result<Self, CliError> {
        let deadline = tokio::time::Instant::now() + patience;
        let mut delay = Duration::from_millis(50);
        loop {
            let error = match options(target, name)?.connect(target.servers()).await {
                Ok(client) => return Ok(Self::on(client, target)),
                Err(error) => error,
            };
            let is_hopeless = matches!(
                error.kind(),
                async_nats::ConnectErrorKind::AuthorizationViolation
                    | async_nats::ConnectErrorKind::Authentication
                    | async_nats::ConnectErrorKind::ServerParse
            );
            if is_hopeless || tokio::time::Instant::now() + delay > deadline {
                return Err(unreachable(target, &error));
            }
            tracing::debug!(url = target.url, %error, "broker does not answer yet");
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(MAX_RECONNECT_DELAY);
        }
    }

    fn on(client: async_nats::Client, target: &BrokerTarget) -> Self {
        let jetstream = ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(MAX_ACKS_IN_FLIGHT)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Self {
            client,
            jetstream,
            schemas: Known::default(),
            letters_room: Seen::default(),
            url: target.url.clone(),
            replicas: target.replicas.into(),
        }
    }

    /// Where the broker is, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// True while the connection stands.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Waits for a connection that stands, for at most `patience`; false when there is none.
    ///
    /// What is handed to the client without one is kept, and sent when the connection is back, however late: a message
    /// whose first copy had arrived would then be stored twice once the broker has forgotten its id.
    pub async fn connected_within(&self, patience: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        while !self.is_connected() {
            if tokio::time::Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(CONNECTION_POLL).await;
        }
        true
    }

    /// True when the client has ended and will never reconnect: a message whose headers hold a lone carriage return makes
    /// its connection task panic. Whoever holds such a broker has to connect anew.
    pub async fn is_gone(&self) -> bool {
        matches!(tokio::time::timeout(Duration::from_secs(2), self.client.flush()).await, Ok(Err(_)))
    }

    /// Resolves when the client is dead for good (see [`Broker::is_gone`]), with what a service has to say then.
    pub async fn gone(&self) -> CliError {
        let mut tick = tokio::time::interval(GONE_POLL);
        while !self.is_gone().await {
            tick.tick().await;
        }
        CliError::new("client-dead", Exit::Unreachable, "the connection to the broker ended for good")
            .because(
                "a message with broken headers ends the NATS client; the classifier removes such messages",
            )
            .help("start the service again; `cerebros up` and containers do so by themselves")
    }

    /// Sends what is still buffered, waiting at most two seconds.
    pub async fn flush(&self) {
        let flushed = tokio::time::timeout(Duration::from_secs(2), self.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!("connection could not be flushed before the end");
        }
    }
}

/// How long the client waits before an attempt to connect, counted from one. The first one is that of a command somebody has
/// just typed, or that after a connection was lost.
fn reconnect_delay(attempt: usize) -> Duration {
    let Some(earlier) = attempt.checked_sub(2) else { return Duration::ZERO };
    let doublings = u32::try_from(earlier.min(6)).unwrap_or(6);
    (FIRST_RECONNECT_DELAY * 2_u32.pow(doublings)).min(MAX_RECONNECT_DELAY)
}

fn options(target: &BrokerTarget, name: &str) -> Result<ConnectOptions, CliError> {
    let mut options = ConnectOptions::new()
        .name(name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(|event| async move {
            match event {
                async_nats::Event::Connected => tracing::info!("connected to the broker"),
                async_nats::Event::Disconnected => tracing::warn!("lost the broker, reconnecting"),
                async_nats::Event::SlowConsumer(id) => tracing::error!(id, "a subscription dropped messages"),
                other @ (async_nats::Event::LameDuckMode
                | async_nats::Event::Draining
                | async_nats::Event::Closed
                | async_nats::Event::ServerError(_)
                | async_nats::Event::ClientError(_)) => tracing::debug!(event = %other, "connection event"),
            }
        });
    options = match &target.credentials {
        Credentials::None => options,
        Credentials::UserPassword { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        Credentials::NkeySeed(seed) => options.nkey(seed.clone()),
        Credentials::CredsFile(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::new(
                    "credentials-unreadable",
                    Exit::Permission,
                    format!("cannot read {}", path.display()),
                )
                .because(error)
                .help("point NATS_CREDS at a readable credentials file")
            })?;
            options.credentials(&text).map_err(|error| {
                CliError::new(
                    "credentials-invalid",
                    Exit::Permission,
                    format!("{} holds no credentials", path.display()),
                )
                .because(error)
            })?
        }
    };
    if let Some(ca) = &target.ca {
        options = options.add_root_certificates(ca.clone()).require_tls(true);
    }
    if let Some((certificate, key)) = &target.client_cert {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

fn unreachable(target: &BrokerTarget, error: &async_nats::ConnectError) -> CliError {
    let is_refusal = matches!(
        error.kind(),
        async_nats::ConnectErrorKind::AuthorizationViolation | async_nats::ConnectErrorKind::Authentication
    );
    if is_refusal {
        return CliError::new(
            "broker-refused",
            Exit::Permission,
            format!("the broker at {} refused us", target.url),
        )
        .because(error)
        .help("check NATS_CREDS, NATS_NKEY or NATS_USER and NATS_PASSWORD");
    }
    CliError::new("broker-unreachable", Exit::Unreachable, format!("no broker answers at {}", target.url))
        .because(format!("{error} (address from {})", target.origin))
        .help("start one with `cerebros up`, or set NATS_URL to a running nats-server with JetStream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_attempt_to_connect_waits_for_nothing_and_later_ones_at_most_a_second() {
        let delays = [0, 1, 2, 3, 4, 7, 8, 9, usize::MAX].map(|attempt| reconnect_delay(attempt).as_millis());
        assert_eq!(delays, [0, 0, 20, 40, 80, 640, 1000, 1000, 1000]);
    }
}
