//! The broker itself refuses what a stale attempt says.

use async_nats::jetstream::stream;
use schemas::event::{TrialReported, TrialStatus};
use schemas::subject::{EVENT_SUBJECTS, STREAM};
use schemas::{Event, RunId, TrialId};
use service_kit::fence::{Fence, FenceError, is_refusal_by_fence};
use service_kit::publish::{PublishFailure, Published, Voice};
use service_kit::topology;
use testkit::Nats;

use crate::publishing::{Room, connect};

fn run() -> RunId {
    RunId::parse("run.1").unwrap()
}

async fn say(room: &Room, number: u64, fence: &Fence) -> Result<Published, PublishFailure> {
    let event: Event =
        TrialReported::new(run(), TrialId::numbered(&run(), number), TrialStatus::Succeeded).into();
    let voice = Voice::outside(run(), Default::default());
    let published = room.publisher().publish_all_if(&[&event], &voice, fence.condition()).await?;
    Ok(published[0])
}

#[tokio::test]
async fn a_raised_fence_stops_every_older_attempt_and_no_later_one() {
    let room = Room::open().await;
    let [first, second, third] = [1, 2, 3].map(|attempt| Fence::new(&room.broker, &run(), attempt));
    say(&room, 0, &first).await.unwrap();
    second.raise().await.unwrap();
    let refused = say(&room, 1, &first).await.unwrap_err();
    assert!(is_refusal_by_fence(&refused), "{refused}");
    say(&room, 1, &second).await.unwrap();
    third.raise().await.unwrap();
    third.raise().await.unwrap();
    assert!(is_refusal_by_fence(&say(&room, 2, &second).await.unwrap_err()));
    say(&room, 2, &third).await.unwrap();
    for stale in [&first, &second] {
        assert!(matches!(stale.raise().await, Err(FenceError::Stale(3))));
    }
    assert_eq!(room.kept().await.len(), 3, "the fences are no events");
}

#[tokio::test]
async fn attempts_that_raise_at_once_leave_the_latest_standing() {
    let room = Room::open().await;
    let fences = [2, 3, 4, 5].map(|attempt| Fence::new(&room.broker, &run(), attempt));
    let raised = futures_util::future::join_all(fences.iter().map(Fence::raise)).await;
    assert!(raised[3].is_ok(), "{raised:?}");
    say(&room, 0, &fences[3]).await.unwrap();
    for older in &fences[..3] {
        assert!(is_refusal_by_fence(&say(&room, 1, older).await.unwrap_err()));
    }
}

#[tokio::test]
async fn a_fence_the_stream_no_longer_keeps_is_raised_again_by_who_owns_the_run() {
    let room = Room::open().await;
    let fence = Fence::new(&room.broker, &run(), 2);
    fence.raise().await.unwrap();
    let stream = room.broker.jetstream.get_stream(STREAM).await.unwrap();
    stream.purge().filter("cerebros.fence.run.1").await.unwrap();
    assert!(is_refusal_by_fence(&say(&room, 0, &fence).await.unwrap_err()));
    fence.raise().await.unwrap();
    say(&room, 0, &fence).await.unwrap();
}

#[tokio::test]
async fn a_stream_of_an_earlier_build_learns_to_take_fences_in() {
    let nats = Nats::start().await;
    let broker = connect(&nats.url()).await;
    let old = stream::Config {
        name: STREAM.to_owned(),
        subjects: EVENT_SUBJECTS.map(str::to_owned).to_vec(),
        max_bytes: 1 << 30,
        allow_direct: true,
        ..stream::Config::default()
    };
    let old = broker.jetstream.create_stream(old).await.unwrap();
    let unfiltered = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some(topology::CLASSIFIER_CONSUMER.to_owned()),
        ..Default::default()
    };
    old.create_consumer(unfiltered).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    Fence::new(&broker, &run(), 2).raise().await.unwrap();
    let now = broker.jetstream.get_stream(STREAM).await.unwrap();
    assert_eq!(now.cached_info().config.max_bytes, 1 << 30, "an operator's limit stays");
    let classifier = now.consumer_info(topology::CLASSIFIER_CONSUMER).await.unwrap();
    assert_eq!((classifier.num_pending, classifier.config.filter_subjects.len()), (0, 2));
}
