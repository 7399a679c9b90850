//! The events themselves: what can be used is acked, what cannot becomes a dead letter ([`desk`], [`letters`]), for as
//! long as the storm limit lets it.

mod desk;
mod letters;

use std::time::Duration;

use futures_util::FutureExt as _;
use service_kit::delivery::Delivery;
use service_kit::health::ComponentHandle;
use service_kit::intake::Intake;
use service_kit::shutdown::Shutdown;
use service_kit::topology::CLASSIFIER_CONSUMER;

use super::Settings;
use super::storm::Storm;
use super::storm::guard::Guard;
use super::world::World;
use desk::Desk;
use letters::Letters;

/// Messages on their way to us at once. From 500 up, fetching costs nothing next to decoding; more would only be handed
/// out again after a crash.
const BATCH: usize = 500;
/// Most messages judged before it is looked whether anything else is to be done.
const AT_A_STRETCH: usize = 100;
/// How often it is looked whether letters can be published, and whether another classifier has stopped all.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before it is looked again whether letters may be written.
const STEP: Duration = Duration::from_millis(200);
/// When nothing has come for so long, nothing is on its way to us.
const SILENCE: Duration = Duration::from_millis(100);
/// Pause before a successor gets what was in hand at the drain: longer than it takes until nothing comes here any more.
const HANDED_BACK: Duration = Duration::from_secs(1);
/// How long giving back may take; what is left comes again when its leases run out.
const GIVING_BACK: Duration = Duration::from_secs(2);
/// How often one that has stopped looks whether it may go on.
const STOPPED_LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(guard: Guard, settings: Settings, health: ComponentHandle, shutdown: Shutdown) {
    health.ready();
    loop {
        let way = tokio::select! {
            way = guard.way() => way,
            () = shutdown.drain() => return,
        };
        let pause = match way {
            Ok(Some(through)) => match World::open(&guard.broker).await {
                Ok(world) => {
                    let letters = Letters::new(guard.broker.clone(), guard.measures.clone());
                    let desk = Desk {
                        measures: guard.measures.clone(),
                        storm: Storm::new(settings.storm, through),
                        stopped: None,
                        world,
                        unknown_run_after: settings.unknown_run_after,
                        letters,
                    };
                    judge(&guard, desk, &health, &shutdown).await;
                    STEP
                }
                Err(error) => {
                    tracing::warn!(error, "what is known of the runs cannot be read yet");
                    LOOK
                }
            },
            Ok(None) => STOPPED_LOOK,
            Err(error) => {
                tracing::warn!(error, "whether the classifiers have stopped cannot be found out yet");
                LOOK
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.drain() => return,
        }
    }
}

/// Judges what comes, until the drain or until the classifiers have stopped.
async fn judge(guard: &Guard, mut desk: Desk, health: &ComponentHandle, shutdown: &Shutdown) {
    let mut intake = Intake::new(&guard.broker, CLASSIFIER_CONSUMER, BATCH);
    let mut look = tokio::time::interval(LOOK);
    while desk.stopped.is_none() {
        tokio::select! {
            biased;
            () = shutdown.drain() => break,
            Some(letter) = desk.letters.next() => {
                desk.letters.settle(letter).await;
                tell(&mut desk.letters, health);
            }
            _ = look.tick() => {
                tell(&mut desk.letters, health);
                if matches!(guard.is_stopped().await, Ok(true)) {
                    break;
                }
            }
            delivery = intake.next(), if desk.letters.has_room() => {
                desk.classify(delivery).await;
                classify_what_is_here(&mut intake, &mut desk).await;
            }
        }
    }
    desk.letters.finish().await;
    let pause = if shutdown.is_draining() { HANDED_BACK } else { STOPPED_LOOK };
    if tokio::time::timeout(GIVING_BACK, give_back(&mut intake, pause)).await.is_err() {
        tracing::debug!("not everything in hand was given back; it comes again when its leases run out");
    }
    // In this order: what is given back has to be with the broker before nobody asks for it here any more.
    guard.broker.flush().await;
    drop(intake);
    let Some((why, sequence)) = desk.stopped else { return };
    while let Err(error) = guard.stop(&why, sequence).await {
        tracing::warn!(error, "that the classifiers have stopped cannot be written down yet");
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = shutdown.drain() => return,
        }
    }
}

/// Judges what has come already, without asking before each whether there is anything else to do.
async fn classify_what_is_here(intake: &mut Intake, desk: &mut Desk) {
    for _ in 0..AT_A_STRETCH {
        if desk.stopped.is_some() || !desk.letters.has_room() {
            return;
        }
        let Some(delivery) = intake.next().now_or_never() else { return };
        desk.classify(delivery).await;
    }
}

fn tell(letters: &mut Letters, health: &ComponentHandle) {
    match letters.trouble() {
        None => health.ready(),
        Some(reason) => {
            let words = "dead letters cannot be published, malformed messages wait on the stream:";
            health.not_ready(format_args!("{words} {reason}"));
        }
    }
}

/// What is here already waits with the broker, not with us until its leases run out; for so long that it does not come
/// back to what we have asked for. Nothing is waited for: with a slow broker the first would be back before the last is given.
async fn give_back(intake: &mut Intake, pause: Duration) {
    for _ in 0..2 * BATCH {
        let Ok(delivery) = tokio::time::timeout(SILENCE, intake.next()).await else { return };
        delivery.retry_unconfirmed(pause).await;
    }
}

/// Leaves a message with the broker for a while. One that cannot even be put off comes again when its lease runs out.
async fn put_off(delivery: Delivery, pause: Duration) {
    if let Err(error) = delivery.retry(pause).await {
        tracing::debug!(%error, "message not put off");
    }
}
