//! FastStream on the broker that our runs go through, with a stream of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream;
use bytes::Bytes;
use local_stack::process::{Launch, Supervised};
use schemas::Encoding;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::publish::{Outgoing, Publisher};

use super::ours::Sample;
use crate::cli::progress;
use crate::environments::{peer_scripts, peers_python};
use crate::faults;
use crate::stand::Stand;
use crate::stream_client::StreamClient;

const STREAM: &str = "BENCH_FASTSTREAM";
const REQUESTED: &str = "bench.faststream.requested";
const COMPLETED: &str = "bench.faststream.completed";
const IDENTITY: &str = "Bench-Id";
/// As long as our own stream looks for duplicates.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// FastStream, running.
pub(super) struct FastStream {
    /// Submits to it.
    pub(super) client: StreamClient,
    _processes: Vec<Supervised>,
}

impl FastStream {
    /// Starts so many processes that share a durable consumer. The inner error says why it cannot be measured here.
    pub(super) async fn start(
        stand: &Stand,
        sample: &Sample,
        processes: usize,
    ) -> Result<Result<Self, String>, CliError> {
        let python = match peers_python().await {
            Ok(python) => python,
            Err(error) => return Ok(Err(format!("{error}; {}", error.help()))),
        };
        progress("starting FastStream");
        let broker = stand.connect().await?;
        create_stream(&broker).await?;
        let dir = stand.dir().join("faststream");
        std::fs::create_dir_all(&dir)?;
        let mut started = Vec::new();
        for number in 0..processes {
            let launch = Launch::new(&python, dir.join(format!("process-{number}.log")))
                .arg(peer_scripts().join("faststream_app.py"))
                .env("NATS_URL", stand.url())
                .env("BENCH_RESULT", &sample.ending)
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .cwd(&dir);
            started.push(Supervised::spawn(launch).await.map_err(|error| faults::not_spawned(&error))?);
        }
        Ok(Ok(Self { client: client(broker, &sample.request), _processes: started }))
    }
}

/// A stream with the same storage as ours, and the consumer, so that no process can miss a request while it starts.
async fn create_stream(broker: &Broker) -> Result<(), CliError> {
    let config = stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![REQUESTED.to_owned(), COMPLETED.to_owned()],
        duplicate_window: DUPLICATE_WINDOW,
        ..stream::Config::default()
    };
    let consumer = pull::Config {
        durable_name: Some("bench-faststream".to_owned()),
        filter_subject: REQUESTED.to_owned(),
        max_ack_pending: 10_000,
        ..pull::Config::default()
    };
    let created = broker.jetstream.create_stream(config).await.map_err(|error| refused(&error))?;
    created.create_consumer(consumer).await.map_err(|error| refused(&error))?;
    Ok(())
}

fn client(broker: Broker, request: &str) -> StreamClient {
    let payload = Bytes::from(request.to_owned());
    let counted = AtomicU64::new(0);
    StreamClient {
        publisher: Publisher::new(&broker, Encoding::Json),
        broker,
        endings_in: STREAM,
        ending_subjects: &[COMPLETED],
        success: COMPLETED,
        request: Box::new(move || {
            let identity = format!("request-{:012}", counted.fetch_add(1, Ordering::Relaxed));
            let mut headers = HeaderMap::new();
            headers.insert(async_nats::header::NATS_MESSAGE_ID, identity.as_str());
            headers.insert("Content-Type", "application/json");
            headers.insert(IDENTITY, identity.as_str());
            let message = Outgoing { subject: REQUESTED.to_owned(), headers, payload: payload.clone() };
            Ok((message, identity))
        }),
        identity: IDENTITY,
    }
}

fn refused(error: &dyn std::error::Error) -> CliError {
    CliError::new("no-stream", Exit::Unreachable, "the stream for FastStream cannot be created")
        .because(error)
}
