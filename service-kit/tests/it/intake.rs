//! Taking messages on a real broker.

use std::time::Duration;

use futures_util::FutureExt as _;
use service_kit::broker::Broker;
use service_kit::config::BrokerTarget;
use service_kit::intake::Intake;
use service_kit::topology;
use testkit::Nats;

/// Far below the ack wait of 30 s, after which the broker would hand a lost delivery over again.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_wait_that_is_given_up_again_and_again_loses_no_delivery() {
    let nats = Nats::start().await;
    let target = BrokerTarget::at(&nats.url()).unwrap();
    let broker = Broker::connect(&target, "test", SOON).await.unwrap();
    topology::ensure(&broker).await.unwrap();
    for _ in 0..20 {
        broker.jetstream.publish("cerebros.nas.run.requested", "{}".into()).await.unwrap().await.unwrap();
    }
    let mut intake = Intake::new(&broker, topology::WORKER_CONSUMER, 20);
    let take_all = async {
        let mut taken = 0;
        while taken < 20 {
            // Polled once and dropped, as a select does when another branch is ready.
            match intake.next().now_or_never() {
                Some(delivery) => {
                    delivery.ack().await.unwrap();
                    taken += 1;
                }
                None => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(SOON, take_all).await.expect("every delivery reaches somebody");
}
