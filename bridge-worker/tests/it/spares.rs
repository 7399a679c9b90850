//! A spare child takes the place of one that had to be killed.

use std::time::{Duration, Instant};

use bridge_worker::child::protocol::{Call, FromChild, ToChild, TrialContext};
use bridge_worker::child::{Child, SILENCE_LIMIT};
use bridge_worker::slots::{Lease, Slots};
use futures_util::FutureExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::processes::{alive, descendants};
use testkit::wait_until;

use crate::house::{House, PATIENCE, least};
use crate::steps::settings;

async fn first_trial(child: &mut Child) {
    let trial =
        TrialContext { objective: "accuracy".to_owned(), workdir: "/".into(), ..TrialContext::default() };
    let params = serde_json::json!({"x": 0.5});
    let call = Call {
        id: child.next_call(),
        op: "train".into(),
        entry: "noop".to_owned(),
        params,
        trial,
        search: None,
    };
    child.send(&ToChild::Call(&call)).await.unwrap();
    loop {
        if let FromChild::Result(result) = child.receive().await.unwrap() {
            assert_eq!(result.id, call.id);
            return;
        }
    }
}

async fn with_a_ready_spare(house: &House, preload: &str) -> (std::sync::Arc<Slots>, Lease) {
    let mut settings = settings(house).await;
    settings.preload = vec![preload.to_owned(), "noop".to_owned()];
    let slots = Slots::with_spares(1, 1, settings);
    let mut lease = slots.join(0).acquire().await;
    lease.child().await.unwrap();
    spare_is_ready(&slots).await;
    (slots, lease)
}

/// Those of this test alone: children run where the runtime lies, and that is in the test's own directory.
fn children_of(house: &House) -> Vec<i32> {
    let is_its = |pid: &u32| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(house.scratch.path()))
    };
    descendants(std::process::id()).into_iter().filter(is_its).map(u32::cast_signed).collect()
}

async fn spare_is_ready(slots: &Slots) {
    wait_until("the spare is ready", PATIENCE, async || (slots.spares() == 1).then_some(())).await;
}

/// What it takes to train with the spare in place of a child that is lost.
async fn with_its_spare(lease: &mut Lease) -> Duration {
    let lost = lease.take_child().unwrap();
    let began = Instant::now();
    first_trial(lease.child().await.unwrap()).await;
    let took = began.elapsed();
    lost.kill().await;
    took
}

#[tokio::test]
async fn a_slot_with_a_spare_trains_again_in_a_tenth_of_a_cold_start() {
    let house = House::open().await;
    let cold = Instant::now();
    let mut settings = settings(&house).await;
    settings.preload = vec!["mlp".to_owned(), "noop".to_owned()];
    let mut child = Child::start(&settings).await.unwrap();
    first_trial(&mut child).await;
    let cold = cold.elapsed();
    child.kill().await;

    let (slots, mut lease) = with_a_ready_spare(&house, "mlp").await;
    let warm = least(cold / 10, async |_| {
        let warm = with_its_spare(&mut lease).await;
        // The next one is on its way already.
        spare_is_ready(&slots).await;
        warm
    })
    .await;
    assert!(warm * 10 <= cold, "{warm:?} with a spare, {cold:?} without");
    drop(lease);
    slots.close().await;
}

#[tokio::test]
async fn a_spare_that_died_while_it_waited_is_not_given_to_a_slot() {
    let house = House::open().await;
    let (slots, mut lease) = with_a_ready_spare(&house, "noop").await;
    let lost = lease.take_child().unwrap();
    let spare = children_of(&house).into_iter().find(|pid| *pid != lost.pid()).unwrap();
    kill(Pid::from_raw(spare), Signal::SIGKILL).unwrap();
    let is_dead = async || (!alive(spare.unsigned_abs())).then_some(());
    wait_until("the spare is dead", PATIENCE, is_dead).await;
    let child = lease.child().await.unwrap();
    assert_ne!(child.pid(), spare);
    first_trial(child).await;
    lost.kill().await;
    drop(lease);
    slots.close().await;
}

fn large(child: &mut Child) -> Call {
    let trial = TrialContext::default();
    let params = serde_json::json!({"x": "a".repeat(1 << 20)});
    Call { id: child.next_call(), op: "train".into(), entry: "noop".to_owned(), params, trial, search: None }
}

#[tokio::test]
async fn a_child_that_does_not_read_keeps_nobody_waiting_and_is_given_no_other_call() {
    let house = House::open().await;
    let mut child = Child::start(&settings(&house).await).await.unwrap();
    first_trial(&mut child).await;
    assert!(!child.is_spent());
    kill(Pid::from_raw(child.pid()), Signal::SIGSTOP).unwrap();
    let call = large(&mut child);
    // The clock goes on by itself when there is nothing else to do.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = child.send(&ToChild::Call(&call)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert!(began.elapsed() >= SILENCE_LIMIT);
    tokio::time::resume();
    assert!(child.is_spent(), "what it would read next begins in the middle");
    child.kill().await;
}

#[tokio::test]
async fn the_order_to_stop_does_not_wait_long_for_a_child_that_does_not_read() {
    let house = House::open().await;
    let mut child = Child::start(&settings(&house).await).await.unwrap();
    kill(Pid::from_raw(child.pid()), Signal::SIGSTOP).unwrap();
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = loop {
        if let Err(error) = child.stop(1, "cancelled").await {
            break error;
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "the pipe is full");
    assert!(began.elapsed() < SILENCE_LIMIT / 4);
    tokio::time::resume();
    child.kill().await;
}

#[tokio::test]
async fn a_child_whose_call_was_dropped_in_the_middle_is_replaced() {
    let house = House::open().await;
    let slots = Slots::new(1, settings(&house).await);
    let place = slots.join(0);
    let mut lease = place.acquire().await;
    let child = lease.child().await.unwrap();
    let pid = child.pid();
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let call = large(child);
    assert!(child.send(&ToChild::Call(&call)).now_or_never().is_none(), "a pipe holds less");
    drop(lease);
    let mut lease = place.acquire().await;
    let child = lease.child().await.unwrap();
    assert_ne!(child.pid(), pid);
    first_trial(child).await;
    drop(lease);
    slots.close().await;
}
