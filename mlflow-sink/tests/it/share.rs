//! Two sinks at one stream: one writes, the other goes on when it is gone, and no trial is there twice.

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use testkit::{Fault, Mlflow, Proxy, experiment_name, wait_until};

use crate::commands::command;
use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::process::{Place, assert_same, undisturbed};
use crate::server::Server;

async fn leads(place: &Place, pipeline: &Pipeline) {
    wait_until("the sink takes the events", CAUGHT_UP, async || place.leads(pipeline).await.then_some(()))
        .await;
}

#[tokio::test]
async fn of_two_sinks_one_is_frozen_and_one_is_killed_and_every_trial_is_there_once() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = Proxy::start(&mlflow.url()).await;
    let (experiment, whole, run) = (experiment_name("shared"), experiment_name("unshared"), run("share"));
    let events = search(&run, &experiment, 30);
    let (mut first, mut second) = (Place::new(), Place::new());
    first.start(&pipeline, &proxy.url());
    leads(&first, &pipeline).await;
    pipeline.publish(&run, &events[..30]).await;
    pipeline.caught_up().await;

    // What the first one sends now arrives much later, after the second one has done the same.
    proxy.set(Fault::BlackHole);
    pipeline.publish(&run, &events[30..120]).await;
    wait_until("the first has them in hand", CAUGHT_UP, async || {
        (pipeline.in_hand().await == 90).then_some(())
    })
    .await;
    // Not before: on a slow machine it would have some of them in hand.
    second.start(&pipeline, &mlflow.url());
    first.signal(Signal::SIGSTOP);
    leads(&second, &pipeline).await;
    pipeline.caught_up().await;
    proxy.set(Fault::Pass);
    first.signal(Signal::SIGCONT);

    pipeline.publish(&run, &events[120..180]).await;
    pipeline.caught_up().await;
    second.kill().await;
    pipeline.publish(&run, &events[180..]).await;
    leads(&first, &pipeline).await;
    pipeline.caught_up().await;
    first.stop().await;

    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, 30))]).await;
    // No two of one name.
    let found = Server::at(&mlflow.url()).runs(&experiment).await;
    assert_same(found, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    // The other broker's run of the same name is not looked at.
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!((told.kinds().len(), told.exit), (0, 0), "{told:?}");
}

#[tokio::test]
async fn a_sink_that_slept_through_the_whole_term_of_another_trusts_its_ledger_no_more() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, whole, run) = (experiment_name("slept"), experiment_name("unslept"), run("slept"));
    let events = search(&run, &experiment, 12);
    let (mut first, mut second) = (Place::new(), Place::new());
    first.start(&pipeline, &mlflow.url());
    leads(&first, &pipeline).await;
    // Four trials; seven events each.
    pipeline.publish(&run, &events[..29]).await;
    pipeline.caught_up().await;
    first.signal(Signal::SIGSTOP);
    second.start(&pipeline, &mlflow.url());
    leads(&second, &pipeline).await;
    pipeline.publish(&run, &events[29..60]).await;
    pipeline.caught_up().await;
    second.stop().await;
    first.signal(Signal::SIGCONT);
    leads(&first, &pipeline).await;
    pipeline.publish(&run, &events[60..]).await;
    pipeline.caught_up().await;
    first.stop().await;
    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, 12))]).await;
    assert_same(Server::at(&mlflow.url()).runs(&experiment).await, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_sink_that_is_stopped_gives_up_a_lease_whose_last_renewal_it_has_not_heard_of() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let mut sink = Place::new();
    sink.start(&pipeline, &mlflow.url());
    leads(&sink, &pipeline).await;
    let mut words = pipeline.words_about_the_lease().await;
    // Its own word once more, as the broker has it of a renewal whose answer was lost.
    let word = words.next().await.unwrap();
    pipeline.broker.jetstream.publish(word.subject, word.payload).await.unwrap().await.unwrap();
    sink.stop().await;
    assert_eq!(pipeline.leader().await, None);
}

#[tokio::test]
async fn a_sink_that_is_stopped_hands_over_at_once() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (mut first, mut second) = (Place::new(), Place::new());
    first.start(&pipeline, &mlflow.url());
    leads(&first, &pipeline).await;
    second.start(&pipeline, &mlflow.url());
    wait_until("the other one stands by", CAUGHT_UP, async || second.stands().then_some(())).await;
    let mut words = pipeline.words_about_the_lease().await;
    first.stop().await;
    let mut holders = Vec::new();
    wait_until("the other one takes the lease", CAUGHT_UP, async || {
        let word = words.next().await.unwrap();
        let word: serde_json::Value = serde_json::from_slice(&word.payload).unwrap();
        holders.push(word["sink"].as_str().map(str::to_owned));
        (holders.last() == Some(&second.name())).then_some(())
    })
    .await;
    assert!(holders.contains(&None), "it waited for silence: {holders:?}");
    leads(&second, &pipeline).await;
    second.stop().await;
}
