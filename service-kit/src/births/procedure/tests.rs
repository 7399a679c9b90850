use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// The broker and the server, for one key.
#[derive(Debug, Default)]
struct World {
    record: (Option<Birth>, u64),
    /// Id and nonce of every run there is.
    runs: BTreeMap<String, String>,
    /// Creates that hang: the server carries them out some time.
    hanging: Vec<String>,
    made: u32,
    nonces: u32,
}

impl World {
    fn create(&mut self, nonce: &str) -> String {
        self.made += 1;
        let id = format!("id{}", self.made);
        self.runs.insert(id.clone(), nonce.to_owned());
        id
    }

    /// Carries out one step.
    fn answer(&mut self, next: &Next) -> Heard {
        let at = |id: &String| (id.clone(), "experiment".to_owned());
        match next {
            Next::Read => Heard::Record(self.record.0.clone(), self.record.1),
            Next::SearchTags => Heard::Found(self.runs.keys().next().map(at)),
            Next::SearchNonce(announced) => {
                Heard::Found(self.runs.iter().find(|(_, of)| **of == announced.nonce).map(|(id, _)| at(id)))
            }
            Next::Fetch(id) => Heard::Found(self.runs.contains_key(id).then(|| at(id))),
            Next::Put(birth, over) if *over == self.record.1 => {
                self.record = (Some(birth.clone()), over + 1);
                Heard::Put(Some(over + 1))
            }
            Next::Put(..) => Heard::Put(None),
            Next::Create(announced) => Heard::Created(self.create(&announced.nonce), "experiment".into()),
            Next::Delete(id) => {
                self.runs.remove(id);
                Heard::Deleted
            }
            Next::Done(_) => unreachable!("a procedure that is done has no step"),
        }
    }

    /// Deletes what the doubts find, as the sweep does.
    fn sweep(&mut self) {
        let Some(Birth::Made { id: used, doubts, .. }) = &self.record.0 else { return };
        self.runs.retain(|id, nonce| id == used || doubts.iter().all(|doubt| doubt.nonce != *nonce));
    }
}

type Sink = Option<Procedure<Box<dyn FnMut() -> String>>>;

fn begin(world: &mut World, who: usize) -> Sink {
    world.nonces += 1;
    let (stem, mut count) = (world.nonces, 0);
    let nonces: Box<dyn FnMut() -> String> = Box::new(move || {
        count += 1;
        format!("n{stem}.{count}")
    });
    Some(Procedure::new(format!("sink{who}"), "experiment".into(), false, nonces))
}

/// A sink that begins and is not disturbed.
fn anew(world: &mut World, who: usize) -> Born {
    let mut sink = begin(world, who).unwrap();
    finish(world, &mut sink)
}

fn finish(world: &mut World, procedure: &mut Procedure<impl FnMut() -> String>) -> Born {
    for _ in 0..100 {
        if let Next::Done(born) = procedure.next() {
            return born.clone();
        }
        let heard = world.answer(&procedure.next().clone());
        procedure.heard(heard);
    }
    panic!("not done after 100 steps: {procedure:?}", procedure = procedure.next());
}

#[test]
fn a_run_is_announced_made_and_written_down() {
    let mut world = World::default();
    let mut sink = begin(&mut world, 0).unwrap();
    let born = finish(&mut world, &mut sink);
    assert!(born.is_new && born.is_from_birth);
    let again = anew(&mut world, 0);
    assert_eq!((again.id, again.is_new), (born.id, false));
    assert_eq!(world.made, 1);
}

#[test]
fn a_run_from_before_births_is_found_and_kept() {
    let mut world = World::default();
    world.create("");
    let mut sink = Procedure::new("s".into(), "e".into(), true, || "n".into());
    let born = finish(&mut world, &mut sink);
    assert!(!born.is_from_birth && !born.is_new);
    assert_eq!(world.made, 1);
}

#[test]
fn a_run_that_is_gone_from_the_server_is_made_anew() {
    let mut world = World::default();
    let first = anew(&mut world, 0);
    world.runs.clear();
    let second = anew(&mut world, 0);
    assert!(second.is_new && second.id != first.id);
}

#[test]
fn a_create_that_is_carried_out_after_it_was_looked_for_is_a_doubt() {
    let mut world = World::default();
    let mut first = begin(&mut world, 0).unwrap();
    let nonce = loop {
        if let Next::Create(announced) = first.next() {
            break announced.nonce.clone();
        }
        let heard = world.answer(&first.next().clone());
        first.heard(heard);
    };
    let born = anew(&mut world, 1);
    world.create(&nonce);
    assert_eq!(world.runs.len(), 2);
    assert_eq!(world.record.0.as_ref().unwrap().doubts()[0].nonce, nonce);
    world.sweep();
    assert_eq!(world.runs.keys().collect::<Vec<_>>(), [&born.id]);
}

proptest! {
    /// Two sinks at once, each of which can die before or after any step, and creates that hang at the server.
    #[test]
    fn however_sinks_die_and_race_one_run_is_used_and_every_other_is_a_doubt(
        steps in prop::collection::vec((0_usize..2, 0_u8..12), 0..200)
    ) {
        let mut world = World::default();
        let mut sinks: [Sink; 2] = [None, None];
        let mut used: Vec<String> = Vec::new();
        for (who, action) in steps {
            if action == 0 && !world.hanging.is_empty() {
                let nonce = world.hanging.remove(0);
                world.create(&nonce);
                continue;
            }
            if sinks[who].is_none() {
                sinks[who] = begin(&mut world, who);
            }
            let Some(procedure) = sinks[who].as_mut() else { continue };
            let next = procedure.next().clone();
            match (&next, action) {
                (Next::Done(born), _) => {
                    used.push(born.id.clone());
                    sinks[who] = None;
                }
                // Dies before the step, or its write is not carried out.
                (_, 1) => sinks[who] = None,
                // The answer is lost.
                (Next::Create(announced), 2) => {
                    world.hanging.push(announced.nonce.clone());
                    sinks[who] = None;
                }
                (_, 3) => {
                    world.answer(&next);
                    sinks[who] = None;
                }
                (_, _) => {
                    let heard = world.answer(&next);
                    procedure.heard(heard);
                }
            }
        }
        // Those that still run come to their end, and somebody uses the run afterwards.
        for procedure in sinks.iter_mut().flatten() {
            used.push(finish(&mut world, procedure).id);
        }
        let last = anew(&mut world, 0);
        for nonce in std::mem::take(&mut world.hanging) {
            world.create(&nonce);
        }
        prop_assert!(used.iter().all(|id| *id == last.id), "{used:?} {last:?}");
        world.sweep();
        prop_assert_eq!(world.runs.keys().collect::<Vec<_>>(), [&last.id]);
    }
}
