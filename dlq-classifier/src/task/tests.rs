use super::due::MAX_LEFT;
use super::*;
use crate::edit::Edit;
use crate::selection::{Named, Wanted};

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn task() -> Task {
    let wanted =
        Wanted::These(vec![Named { id: "7-a".into(), kept_at: 4 }, Named { id: "9-b".into(), kept_at: 8 }]);
    let plan = Plan { wanted, edit: Some(Edit::Jq(".a = 1".into())), ..Plan::at_rate(Some("5/s")) };
    Task::new("t".into(), plan, at(1))
}

fn batch() -> Batch {
    Batch { entries: vec![Named { id: "7-a".into(), kept_at: 4 }], after: 12 }
}

#[test]
fn a_task_reads_what_it_wrote() {
    let task = task().begin("me", at(2)).intend(batch(), at(3));
    let text = serde_json::to_string(&task).unwrap();
    assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
    let no_rate = text.replace("\"rate\":5.0", "\"rate\":0");
    assert!(serde_json::from_str::<Task>(&no_rate).is_err(), "a rate that would never end: {no_rate}");
}

#[test]
fn a_batch_stays_until_it_is_on_record_and_the_cursor_moves_with_it() {
    let begun = task().begin("me", at(2)).intend(batch(), at(3));
    assert_eq!((begun.batch.as_ref(), begun.cursor), (Some(&batch()), 0));
    let one = Counts { replayed: 1, ..Counts::default() };
    let settled = begun.clone().settle(4, one, at(4));
    assert_eq!((settled.batch.as_ref(), settled.cursor, settled.counts), (None, 4, one));
    assert_eq!(settled.percent(), 50);
    // Who takes over from somebody who was killed looks at the same entries again.
    let left = begun.set_aside(at(4));
    assert_eq!((left.batch.as_ref(), left.cursor, left.counts), (None, 0, Counts::default()));
}

#[test]
fn the_rate_holds_whoever_goes_on_and_an_order_waits_for_nothing() {
    let millis = |task: &Task, now| task.wait(at(now)).as_millis();
    let begun = task().begin("me", at(2));
    assert!(begun.is_due(at(2)), "nothing was sent yet");
    let sent = begun.intend(batch(), at(1_000_000));
    assert_eq!(millis(&sent, 1_050_000), 150);
    let one = Counts { replayed: 1, ..Counts::default() };
    let settled = sent.settle(4, one, at(1_100_000)).let_go(at(1_200_000));
    assert_eq!((millis(&settled, 1_150_000), settled.is_due(at(1_150_000))), (150, false));
    assert!(settled.is_due(at(1_300_000)));
    assert_eq!(millis(&settled, 0), 200, "a clock that was set back");
    let nothing_sent = settled.clone().settle(5, Counts::default(), at(9_000_000));
    assert_eq!(nothing_sent.sent, settled.sent);
    let asked = settled.ask(Wish::Cancel, at(1_150_000)).unwrap();
    assert!(asked.is_due(at(1_150_000)));
    assert!(!asked.rest(Stage::Cancelled, at(1_150_000)).is_due(at(1_150_000)));
}

#[test]
fn what_is_asked_is_followed_at_once_or_by_whoever_is_at_work() {
    let paused = task().ask(Wish::Pause, at(2)).unwrap();
    assert_eq!((paused.stage, paused.is_waiting()), (Stage::Paused, false));
    let again = paused.clone().ask(Wish::Run, at(3)).unwrap();
    assert_eq!((again.stage, again.is_waiting()), (Stage::Queued, true));
    assert_eq!(paused.ask(Wish::Cancel, at(3)).unwrap().stage, Stage::Cancelled);
    let running = task().begin("me", at(2)).ask(Wish::Pause, at(3)).unwrap();
    assert_eq!((running.stage, running.stops_in()), (Stage::Running, Some(Stage::Paused)));
    let over = running.rest(Stage::Done, at(4));
    assert_eq!(over.ask(Wish::Cancel, at(5)), Err(IsOver(Stage::Done)));
}

/// The protocol of a batch on a world in memory, with a crash before each of its steps in turn, and a successor that goes
/// by what [`Task`] says alone.
#[test]
fn a_crash_before_any_step_publishes_every_entry_once_and_records_it() {
    for crash in 0..=5 {
        let mut world = World { task: task(), ..World::default() };
        let mut steps = 0;
        let mut is_alive = || {
            steps += 1;
            steps != crash + 1
        };
        let _ = world.work("first", &mut is_alive);
        world.work("second", &mut || true).unwrap();
        assert_eq!(world.stream, ["7-a", "9-b"], "crash before step {crash}");
        assert_eq!(world.record, ["7-a", "9-b"], "crash before step {crash}");
        assert_eq!((world.task.stage, world.task.counts.replayed), (Stage::Done, 2), "crash before {crash}");
    }
}

#[derive(Debug)]
struct Killed;

struct World {
    task: Task,
    stream: Vec<String>,
    record: Vec<String>,
}

impl Default for World {
    fn default() -> Self {
        Self { task: task(), stream: Vec::new(), record: Vec::new() }
    }
}

impl World {
    fn work(&mut self, owner: &str, is_alive: &mut dyn FnMut() -> bool) -> Result<(), Killed> {
        let mut step = || if is_alive() { Ok(()) } else { Err(Killed) };
        if let Some(batch) = self.task.batch.clone() {
            for entry in batch.entries {
                if self.stream.contains(&entry.id) && !self.record.contains(&entry.id) {
                    self.record.push(entry.id);
                }
            }
            self.task = self.task.clone().set_aside(at(9));
        }
        if self.task.stage.is_over() {
            return Ok(());
        }
        self.task = self.task.clone().begin(owner, at(9));
        let Wanted::These(all) = self.task.plan.wanted.clone() else { unreachable!() };
        let entries: Vec<Named> = all.into_iter().filter(|entry| entry.kept_at > self.task.cursor).collect();
        let last = entries.last().map_or(self.task.cursor, |entry| entry.kept_at);
        step()?;
        self.task = self.task.clone().intend(Batch { entries: entries.clone(), after: 0 }, at(9));
        for entry in &entries {
            step()?;
            if !self.record.contains(&entry.id) {
                self.stream.push(entry.id.clone());
            }
        }
        step()?;
        for entry in &entries {
            if !self.record.contains(&entry.id) {
                self.record.push(entry.id.clone());
            }
        }
        step()?;
        let replayed = u64::try_from(entries.len()).unwrap();
        self.task = self.task.clone().settle(last, Counts { replayed, ..Counts::default() }, at(9));
        self.task = self.task.clone().rest(Stage::Done, at(9));
        Ok(())
    }
}

#[test]
fn a_task_whose_workers_are_killed_in_a_row_is_deadly_and_one_that_comes_further_is_not() {
    let mut task = task();
    for round in 0..=MAX_LEFT {
        assert!(task.is_deadly().is_none(), "{round}");
        task = task.begin(&format!("worker {round}"), at(1));
    }
    assert!(task.is_deadly().unwrap().what.contains("5 times in a row"));
    assert!(task.clone().settle(3, Counts::default(), at(2)).is_deadly().is_none());
    // The same one once more, and one that has stopped in good order, are no losses.
    let (again, next) = (task.clone().begin("worker 5", at(2)), task.let_go(at(2)).begin("another", at(3)));
    assert_eq!((again.left, next.left), (MAX_LEFT, MAX_LEFT));
}
