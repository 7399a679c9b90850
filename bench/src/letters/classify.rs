//! Valid traffic through the classifier, beside a bare client that pulls and acks the same messages from a consumer with
//! the same settings.
//!
//! Both sides are timed by a third one, which asks the broker about the consumer: from the first message handed over to
//! the last ack.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt as _;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::topology::{self, CLASSIFIER_CONSUMER};
use tokio::time::{Instant, sleep};

use super::{MEGABYTES, PROGRAM, filling};
use crate::cli::{Effort, progress};
use crate::faults;
use crate::process_table;
use crate::programs::Programs;
use crate::service::{Plan, Service};
use crate::stand::Stand;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::median;

/// Messages on their way to the bare client at once, as many as the classifier asks for.
const BATCH: usize = 500;
/// Pause between two questions about the consumer.
const POLL: Duration = Duration::from_millis(3);
/// No round may take longer.
const LIMIT: Duration = Duration::from_secs(300);

/// What a bare reader leaves unsettled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    TheFirst,
}

pub(super) async fn measure(programs: &Programs, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let (rounds, count) = (effort.choose(3, 7), effort.choose(50_000, 300_000));
    progress(format!("{count} valid events through the classifier and a bare reader, {rounds} times"));
    filling::trials(&broker, count).await?;
    let (mut ours, mut bare, mut most) = (Vec::new(), Vec::new(), None::<Figure>);
    // The first round is a warm-up.
    for round in 0..=rounds {
        for place in 0..2 {
            anew(&broker).await?;
            let is_ours = (round + place) % 2 == 0;
            let (took, resident) = if is_ours {
                classified(programs, &stand, &broker).await?
            } else {
                (read_bare(&stand, CLASSIFIER_CONSUMER, count, Left::Nothing).await?, None)
            };
            if round > 0 {
                let rates = if is_ours { &mut ours } else { &mut bare };
                rates.push(f64::from(count) / took.as_secs_f64());
            }
            most = resident.map(|resident| most.map_or(resident, |most| most.max(resident))).or(most);
        }
    }
    let rate = |rates: &[f64]| Figure::new(median(rates).unwrap_or_default(), Unit::PerSecond);
    let peer = Peer::new("bare pull and ack", rate(&bare));
    let target = Target::RatioAtLeast(0.8);
    let limit = Target::OursBelow(Figure::new(MEGABYTES, Unit::Megabytes));
    let most = most.ok_or_else(|| CliError::internal("the classifier was never measured"))?;
    Ok(vec![
        Finding::beside("letters: valid events classified", rate(&ours), peer, Ratio::OursByPeer, target)
            .with_remark(format!("by round, ours {ours:.0?}, bare {bare:.0?}")),
        Finding::alone("letters: the classifier at work, memory at most", most, limit),
    ])
}

/// The consumer as it is on a new broker: nothing handed over yet.
async fn anew(broker: &Broker) -> Result<(), CliError> {
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| lost(&error))?;
    stream.delete_consumer(CLASSIFIER_CONSUMER).await.map_err(|error| lost(&error))?;
    topology::ensure(broker).await
}

/// How long the service takes, and the most it had resident.
async fn classified(
    programs: &Programs,
    stand: &Stand,
    broker: &Broker,
) -> Result<(Duration, Option<Figure>), CliError> {
    let dir = stand.dir().join(PROGRAM);
    std::fs::create_dir_all(&dir)?;
    let plan = Plan {
        name: PROGRAM,
        program: programs.path(PROGRAM)?,
        dir: &dir,
        nats_url: &stand.url(),
        flags: Vec::new(),
    };
    let service = Service::start(plan).await?;
    let took = settled(broker, CLASSIFIER_CONSUMER, 0).await?;
    let resident = process_table::most_resident(service.pid())?;
    service.stop().await;
    Ok((took, Some(resident)))
}

/// How long a bare client takes for so many messages of a consumer.
pub(super) async fn read_bare(
    stand: &Stand,
    consumer: &'static str,
    count: u32,
    left: Left,
) -> Result<Duration, CliError> {
    let client = async_nats::connect(stand.url()).await.map_err(|error| lost(&error))?;
    let jetstream = async_nats::jetstream::new(client.clone());
    let pull: PullConsumer =
        jetstream.get_consumer_from_stream(consumer, STREAM).await.map_err(|error| lost(&error))?;
    let broker = stand.connect().await?;
    let reading = tokio::spawn(async move {
        let messages = pull.stream().max_messages_per_batch(BATCH).messages().await;
        let mut messages = messages.map_err(|error| lost(&error))?;
        for number in 0..count {
            let Some(message) = messages.next().await else { break };
            let message = message.map_err(|error| lost(&error))?;
            if number > 0 || left == Left::Nothing {
                message.ack().await.map_err(|error| lost(&*error))?;
            }
        }
        client.flush().await.map_err(|error| lost(&error))
    });
    let took = settled(&broker, consumer, usize::from(left == Left::TheFirst)).await?;
    reading.await.map_err(|error| lost(&error))??;
    Ok(took)
}

/// From the first message handed over to the last ack.
async fn settled(broker: &Broker, consumer: &str, left: usize) -> Result<Duration, CliError> {
    let stream = broker.jetstream.get_stream_no_info(STREAM).await.map_err(|error| lost(&error))?;
    let asked = Instant::now();
    let mut began = None;
    while asked.elapsed() < LIMIT {
        let info = stream.consumer_info(consumer).await.map_err(|error| lost(&error))?;
        if began.is_none() && info.delivered.stream_sequence > 0 {
            began = Some(Instant::now());
        }
        if let Some(began) = began.filter(|_| info.num_pending == 0 && info.num_ack_pending <= left) {
            return Ok(began.elapsed());
        }
        sleep(POLL).await;
    }
    Err(faults::silent(format!("the last ack of {consumer}"), LIMIT))
}

fn lost(error: &dyn std::error::Error) -> CliError {
    CliError::new("consumer-lost", Exit::Unreachable, "the messages cannot be read").because(error)
}
