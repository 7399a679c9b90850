//! What an older version, or an operator, has left on the broker.

use std::time::Duration;

use async_nats::jetstream::consumer::{FromConsumer as _, pull};
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::topology::{self, SINK_CONSUMER};
use testkit::Nats;

#[tokio::test]
async fn a_consumer_that_may_have_too_little_in_hand_is_widened_and_keeps_what_else_was_set() {
    let nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", Duration::from_secs(10)).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    let stream = broker.jetstream.get_stream(STREAM).await.unwrap();
    let config = async || {
        let known = stream.consumer_info(SINK_CONSUMER).await.unwrap().config;
        pull::Config::try_from_consumer_config(known).unwrap()
    };
    let ours = config().await;
    let narrow = pull::Config { max_ack_pending: 2000, ack_wait: Duration::from_secs(77), ..ours.clone() };
    stream.update_consumer(narrow.clone()).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    let widened = config().await;
    assert_eq!(widened.max_ack_pending, ours.max_ack_pending);
    assert_eq!(widened, pull::Config { max_ack_pending: ours.max_ack_pending, ..narrow });

    let wide = pull::Config { max_ack_pending: 90_000, ..widened };
    stream.update_consumer(wide.clone()).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    assert_eq!(config().await, wide);
}
