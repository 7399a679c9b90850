//! User code that attacks what is around it: the right class, other slots unharmed, nothing left, the slot usable.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpgid, getsid};
use schemas::event::{TrialReported, TrialStatus};
use schemas::lifecycle::RunState;
use schemas::{Event, Failure, FailureClass};
use serde_json::json;
use testkit::processes::{descendants, wait_until_gone};
use testkit::wait_until;

use crate::house::{GONE, House, WorkerProcess};

/// Two slots and one spare, with room for an interpreter and little more.
const ARGUMENTS: [&str; 14] = [
    "--slots",
    "2",
    "--spares",
    "1",
    "--preload",
    "noop",
    "--allow-entrypoint",
    "hostile_trainers:*",
    "--retry-backoff-ms",
    "5",
    "--child-memory",
    "256MiB",
    "--child-open-files",
    "256",
];
/// Children of such a worker: one per slot, and the spare.
const CHILDREN: usize = 3;
/// Less than the limit, and more than half of it.
const MUCH: u64 = 180 << 20;

/// A search space for trainers that look at none of it.
fn any() -> serde_json::Value {
    json!({"x": {"low": 0.0, "high": 1.0}})
}

struct Cage {
    house: House,
    worker: WorkerProcess,
}

impl Cage {
    async fn open(more: &[&str]) -> Self {
        let house = House::open().await;
        let worker = house.worker(&[&ARGUMENTS[..], more].concat()).await;
        Self { house, worker }
    }

    async fn train(
        &self,
        run: &str,
        fixture: &str,
        space: serde_json::Value,
        trials: u32,
    ) -> Vec<TrialReported> {
        self.request(run, &format!("hostile_trainers:{fixture}"), space, trials).await;
        self.house.ended(run).await;
        self.house.trials(run).await
    }

    async fn request(&self, run: &str, trainer: &str, space: serde_json::Value, trials: u32) {
        let body = json!({"run_id": run, "dataset_id": "digits", "trainer": trainer, "search_space": space,
            "strategy": "random", "budget": {"max_trials": trials, "parallelism": 1, "max_failed_trials": 1000}});
        self.house.request(body).await;
    }

    /// How the only trial of `fixture` failed.
    async fn failure(&self, fixture: &str, space: serde_json::Value) -> Failure {
        let trial = self.train(&fixture.replace('_', "-"), fixture, space, 1).await.pop().unwrap();
        assert_eq!(trial.status, TrialStatus::Failed, "{fixture}");
        trial.failure.unwrap()
    }

    /// The worker trains, and nobody is below it but children of its own: they lead groups in its session.
    async fn assert_in_order(&self, after: &str) {
        let run = format!("in-order-{}", after.replace('_', "-"));
        self.request(&run, "noop", json!({"x": [0.5]}), 4).await;
        assert_eq!(self.house.ended(&run).await.state, RunState::Completed, "{after}");
        let session = |pid: u32| getsid(Some(Pid::from_raw(pid.cast_signed()))).ok();
        let is_child = |pid: &u32| {
            let own = Pid::from_raw(pid.cast_signed());
            getpgid(Some(own)) == Ok(own) && session(*pid) == session(self.worker.pid())
        };
        wait_until(&format!("nobody is left behind after {after}"), Duration::from_secs(20), async || {
            let below = descendants(self.worker.pid());
            (below.len() <= CHILDREN && below.iter().all(is_child)).then_some(())
        })
        .await;
    }

    /// Bytes the worker itself has in memory, without files.
    fn worker_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.worker.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The processes fixtures have written into the directory of the test.
    fn marked(&self) -> Vec<u32> {
        let files = std::fs::read_dir(self.house.scratch.path()).unwrap().map(|entry| entry.unwrap().path());
        let marks = files.filter(|path| path.extension().is_some_and(|extension| extension == "pid"));
        marks.map(|path| std::fs::read_to_string(path).unwrap().parse().unwrap()).collect()
    }
}

#[tokio::test]
async fn whoever_takes_too_much_memory_is_out_of_memory_and_the_neighbour_does_not_notice() {
    let cage = Cage::open(&["--allow-entrypoint", "faulty_trainers:*"]).await;
    cage.request("neighbour", "faulty_trainers:sleeps_in_slices", json!({"seconds": [3.0]}), 2).await;
    let told = cage.failure("allocates_without_end", any()).await;
    assert_eq!(told.class, FailureClass::Oom, "{}", told.message);
    assert!(
        told.traceback.unwrap().contains("hostile_trainers.py"),
        "an error of Python's own, with its place"
    );
    for (fixture, space) in [
        ("allocates_shared_memory_without_end", any()),
        ("allocates_in_many_processes", json!({"bytes": [800 << 20]})),
    ] {
        let killed = cage.failure(fixture, space).await;
        assert_eq!(killed.class, FailureClass::Oom, "{fixture}: {}", killed.message);
        assert!(
            killed.message.contains("--child-memory") && killed.message.contains("3 times"),
            "{}",
            killed.message
        );
    }
    assert_eq!(cage.house.ended("neighbour").await.state, RunState::Completed);
    let events = cage.house.events("neighbour").await;
    assert!(!events.iter().any(|event| matches!(event, Event::RunException(_))), "{events:?}");
    cage.assert_in_order("memory").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn memory_that_processes_share_is_counted_once() {
    let cage = Cage::open(&[]).await;
    let trials = cage.train("shared", "shares_its_memory_with_its_forks", json!({"bytes": [MUCH]}), 1).await;
    assert_eq!(trials[0].status, TrialStatus::Succeeded, "{:?}", trials[0].failure);
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_process_that_keeps_what_its_trial_took_is_not_given_another_trial() {
    let cage = Cage::open(&[]).await;
    let process = |trial: &TrialReported| trial.metrics["pid"].finite().unwrap();
    let kept = cage.train("kept", "keeps_what_it_took", json!({"bytes": [MUCH]}), 3).await;
    assert!(kept.iter().all(|trial| trial.status == TrialStatus::Succeeded), "{kept:?}");
    let swollen: Vec<f64> = kept.iter().map(process).collect();
    assert!(swollen.windows(2).all(|pair| pair[0] != pair[1]), "{swollen:?}");
    let after = cage.train("after", "tells_its_process", any(), 4).await;
    assert!(after.iter().all(|trial| !swollen.contains(&process(trial))));
    cage.assert_in_order("swollen").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn what_a_child_took_before_it_was_ready_is_not_held_against_it() {
    let cage = Cage::open(&["--preload", "holds_much:train", "--allow-entrypoint", "holds_much:*"]).await;
    cage.request("many", "holds_much:train", any(), 4).await;
    cage.house.ended("many").await;
    let trials = cage.house.trials("many").await;
    let processes: Vec<_> = trials.iter().map(|trial| trial.metrics["pid"]).collect();
    assert_eq!(processes.len(), 4, "{trials:?}");
    assert!(processes.windows(2).all(|pair| pair[0] == pair[1]), "{processes:?}");
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_trial_that_spins_with_signals_blocked_ends_at_its_limit_of_cpu_time() {
    let cage = Cage::open(&["--child-cpu-seconds", "1"]).await;
    let failure = cage.failure("spins_with_signals_blocked", any()).await;
    assert_eq!(failure.class, FailureClass::TimeoutTrial, "{}", failure.message);
    assert!(failure.message.contains("--child-cpu-seconds"), "{}", failure.message);
    cage.assert_in_order("spinning").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn descriptors_that_are_opened_without_end_or_closed_are_the_trial_s_own_loss() {
    let cage = Cage::open(&[]).await;
    let failure = cage.failure("opens_files_without_end", any()).await;
    assert_eq!(failure.class, FailureClass::UserCode);
    assert!(failure.message.contains("Too many open files"), "{}", failure.message);
    cage.assert_in_order("opening").await;
    let closed = cage.failure("closes_every_descriptor", any()).await;
    assert_eq!(closed.class, FailureClass::SubprocessExit, "{}", closed.message);
    // The second would find no descriptor if the first's process were given to it.
    let kept = cage.train("many", "keeps_many_files_open", json!({"count": [200]}), 4).await;
    assert!(kept.iter().all(|trial| trial.status == TrialStatus::Succeeded), "{kept:?}");
    cage.assert_in_order("many").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn what_is_no_message_ends_its_child_and_costs_the_worker_no_memory() {
    let cage = Cage::open(&[]).await;
    cage.assert_in_order("nothing").await;
    let before = cage.worker_bytes();
    for (fixture, class, words) in [
        ("announces_a_gigabyte", FailureClass::ParseError, "frame size too big"),
        ("sends_half_a_frame_and_ends", FailureClass::SubprocessExit, "exited with status 7"),
        ("sends_half_a_frame_and_goes_on", FailureClass::ParseError, "a frame is no message"),
        ("sends_garbage", FailureClass::ParseError, "a frame is no message"),
        ("answers_another_call", FailureClass::ParseError, "out of turn"),
        ("floods_with_frames", FailureClass::ParseError, "a frame is no message"),
    ] {
        let failure = cage.failure(fixture, any()).await;
        assert_eq!(failure.class, class, "{fixture}: {}", failure.message);
        assert!(failure.message.contains(words), "{fixture}: {}", failure.message);
    }
    cage.assert_in_order("talking").await;
    wait_until("the worker's memory is back", Duration::from_secs(20), async || {
        (cage.worker_bytes() < before + (16 << 20)).then_some(())
    })
    .await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_daemon_in_a_session_of_its_own_does_not_outlive_its_trial() {
    let cage = Cage::open(&[]).await;
    let marks = cage.house.scratch.path().to_str().unwrap();
    let returned = cage.train("returns", "leaves_a_daemon", json!({"marks": [marks]}), 1).await;
    assert_eq!(returned[0].status, TrialStatus::Succeeded, "{:?}", returned[0].failure);
    let died = cage.train("dies", "leaves_a_daemon", json!({"marks": [marks], "then": ["die"]}), 1).await;
    assert_eq!(died[0].failure.as_ref().unwrap().class, FailureClass::SubprocessExit);
    cage.house
        .request(
            json!({"run_id": "hangs", "dataset_id": "digits", "trainer": "hostile_trainers:leaves_a_daemon",
            "search_space": {"marks": [marks], "then": ["hang"]},
            "budget": {"max_trials": 1, "max_trial_seconds": 6.0}}),
        )
        .await;
    cage.house.ended("hangs").await;
    let daemons = cage.marked();
    assert_eq!(daemons.len(), 5, "one that returned, three tries of one that died, one that hung");
    wait_until_gone("the daemons", &daemons, GONE).await;
    cage.assert_in_order("daemons").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_process_another_thread_has_started_is_left_behind_like_any_other() {
    let cage = Cage::open(&[]).await;
    let trials = cage.train("threads", "starts_a_process_in_a_thread", any(), 2).await;
    assert!(trials.iter().all(|trial| trial.status == TrialStatus::Succeeded), "{trials:?}");
    let process = |trial: &TrialReported| trial.metrics["pid"].finite().unwrap();
    assert_ne!(process(&trials[0]), process(&trials[1]), "the first had left a process behind");
    cage.assert_in_order("threads").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_process_in_a_group_of_its_own_does_not_outlive_a_child_that_ended_between_two_calls() {
    let house = House::open().await;
    let one = ["--slots", "1", "--preload", "noop", "--allow-entrypoint", "hostile_trainers:*"];
    let worker = house.worker(&one).await;
    let cage = Cage { house, worker };
    cage.assert_in_order("nothing").await;
    let marks = cage.house.scratch.path().to_str().unwrap();
    let [child] = descendants(cage.worker.pid())[..] else { panic!("one slot has one child") };
    let space = json!({"marks": [marks]});
    cage.train("late", "starts_a_process_later_and_ends", space, 1).await;
    wait_until_gone("the child", &[child], Duration::from_secs(20)).await;
    let late = cage.marked();
    assert!(testkit::processes::alive(late[0]), "nobody has looked yet");
    cage.assert_in_order("late").await;
    wait_until_gone("what it had left", &late, GONE).await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_trial_that_forks_without_end_is_killed_with_everybody_it_started() {
    let Cage { house, worker } = Cage::open(&[]).await;
    house
        .request(
            json!({"run_id": "forks", "dataset_id": "digits", "trainer": "hostile_trainers:forks_without_end",
            "search_space": any(), "budget": {"max_trials": 1, "max_trial_seconds": 2.0}}),
        )
        .await;
    house.ended("forks").await;
    let failure = house.trials("forks").await.pop().unwrap().failure.unwrap();
    assert!(matches!(failure.class, FailureClass::TimeoutTrial | FailureClass::Oom), "{}", failure.message);
    let cage = Cage { house, worker };
    cage.assert_in_order("forks").await;
    cage.worker.stop().await;
}

#[tokio::test]
async fn a_daemon_of_a_killed_worker_is_ended_by_the_next_one() {
    let Cage { house, mut worker } = Cage::open(&[]).await;
    let marks = house.scratch.path().to_str().unwrap();
    house
        .request(
            json!({"run_id": "left", "dataset_id": "digits", "trainer": "hostile_trainers:leaves_a_daemon",
            "search_space": {"marks": [marks], "then": ["hang"], "keeps": ["environment"]},
            "budget": {"max_trials": 1, "max_trial_seconds": 600.0}}),
        )
        .await;
    let marked = async || {
        let files = std::fs::read_dir(house.scratch.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut marks = files.filter(|path| path.extension().is_some_and(|extension| extension == "pid"));
        std::fs::read_to_string(marks.next()?).unwrap().parse::<u32>().ok()
    };
    let daemon = wait_until("the daemon lives", crate::house::PATIENCE, marked).await;
    worker.signal(Signal::SIGKILL);
    assert!(testkit::processes::alive(daemon), "it left every group, and nobody is there to end it");
    worker.child.wait().await.unwrap();
    let next = house.worker(&["--slots", "1", "--preload", "noop"]).await;
    wait_until_gone("the daemon", &[daemon], Duration::from_secs(20)).await;
    next.stop().await;
}

#[tokio::test]
async fn a_limit_the_imports_do_not_fit_in_is_named_with_its_remedy() {
    let house = House::open().await;
    let tight = ["--slots", "1", "--preload", "mlp", "--child-memory", "64MiB", "--fallback", "none"];
    let worker = house.worker(&tight).await;
    house.says_in_its_log("raise --child-memory").await;
    worker.stop().await;
}
