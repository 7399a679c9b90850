//! Which requests this worker has in hand, written down where the next worker on this machine finds it.
//!
//! The broker hands a dead worker's request over again when its lease has run out, half a minute later. A worker that
//! is started again at once need not wait for that: it finds what its predecessor had in hand and gives it back. This is
//! an accelerator; without it, or on another machine, the lease runs out. A note is one write of a few hundred bytes
//! that never waits for the disk: it has to outlive the process, not the machine.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use schemas::RunId;
use schemas::lifecycle::RunState;
use service_kit::broker::Broker;
use service_kit::delivery;
use service_kit::registry::Registry;

/// Name of the file, in a directory named after the worker.
const FILE: &str = "in-hand";
/// Bytes of one note; a longer one is not written.
const NOTE_BYTES: usize = 512;
/// Notes that are read of one predecessor.
const MAX_NOTES: u64 = 65_536;

/// The notes of a worker that lives. The lock on the file says that it does.
#[derive(Debug)]
pub struct InHand {
    file: File,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    free: Vec<u64>,
    made: u64,
}

/// A request in hand, until this is dropped.
#[derive(Debug)]
pub struct Note {
    notes: Arc<InHand>,
    place: u64,
}

impl InHand {
    /// Begins the notes of the worker whose directory is `root`.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn open(root: &Path) -> io::Result<Arc<Self>> {
        std::fs::create_dir_all(root)?;
        // Under its name only once it is locked: whoever looks for dead workers meanwhile would take it for one's.
        let new = root.join(format!("{FILE}.new"));
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&new)?;
        file.lock()?;
        std::fs::rename(&new, root.join(FILE))?;
        Ok(Arc::new(Self { file, places: Mutex::default() }))
    }

    /// Notes that a request is in hand. `reply` is where words about its delivery go.
    pub fn note(self: &Arc<Self>, run: &RunId, reply: &str) -> Option<Note> {
        let text = format!("{run}\t{reply}");
        let place = self.places().take();
        let note = Note { notes: self.clone(), place };
        (text.len() < NOTE_BYTES && note.write(text.as_bytes())).then_some(note)
    }

    fn places(&self) -> std::sync::MutexGuard<'_, Places> {
        self.places.lock().expect("nobody panics while holding the places")
    }
}

impl Places {
    fn take(&mut self) -> u64 {
        self.free.pop().unwrap_or_else(|| {
            self.made += 1;
            self.made - 1
        })
    }
}

impl Note {
    fn write(&self, text: &[u8]) -> bool {
        let mut bytes = [0; NOTE_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        let written = self.notes.file.write_all_at(&bytes, self.place * NOTE_BYTES as u64);
        if let Err(error) = &written {
            tracing::debug!(%error, "request in hand not noted; its lease would have to run out");
        }
        written.is_ok()
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.write(&[]);
        self.notes.places().free.push(self.place);
    }
}

/// What a dead worker had in hand.
#[derive(Debug)]
pub struct Left {
    /// Its directory.
    pub root: PathBuf,
    /// Who it was.
    pub worker_id: String,
    /// Runs, and where words about their deliveries go.
    pub requests: Vec<(RunId, String)>,
    /// Locked while it is dealt with: of two workers that are started at once, one does.
    _file: File,
}

/// The workers that died and left something under `work`.
pub fn left_behind(work: &Path) -> Vec<Left> {
    let Ok(entries) = std::fs::read_dir(work) else { return Vec::new() };
    entries.flatten().filter_map(|entry| read(&entry.path())).collect()
}

/// The notes in a directory, unless whoever writes them is alive.
fn read(root: &Path) -> Option<Left> {
    let file = File::options().read(true).write(true).open(root.join(FILE)).ok()?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
    }
    let worker_id = root.file_name()?.to_str()?.to_owned();
    let places = (file.metadata().ok()?.len() / NOTE_BYTES as u64).min(MAX_NOTES);
    let requests = (0..places).filter_map(|place| request_at(&file, place)).collect();
    Some(Left { root: root.to_owned(), worker_id, requests, _file: file })
}

fn request_at(file: &File, place: u64) -> Option<(RunId, String)> {
    let mut bytes = [0; NOTE_BYTES];
    file.read_exact_at(&mut bytes, place * NOTE_BYTES as u64).ok()?;
    let text = std::str::from_utf8(bytes.split(|byte| *byte == 0).next()?).ok()?;
    let (run, reply) = text.split_once('\t')?;
    // Only where words about deliveries go: what is in a file must not make us publish anywhere else.
    reply.starts_with("$JS.ACK.").then_some(())?;
    Some((RunId::parse(run).ok()?, reply.to_owned()))
}

/// Gives back what dead workers on this machine had in hand, and removes what they left.
pub async fn give_back(work: &Path, broker: &Broker, registry: &Registry) {
    for left in left_behind(work) {
        for (run, reply) in &left.requests {
            let known = registry.get(run).await;
            // The broker takes a word about an earlier hand-over for one about the present one: it has to be this one.
            let is_still_its = known.ok().flatten().is_some_and(|held| {
                held.record.state == RunState::Running
                    && held.record.worker_id.as_deref() == Some(left.worker_id.as_str())
                    && number_of(reply) == Some(held.record.delivery)
            });
            if is_still_its && delivery::give_back(broker, reply).await.is_ok() {
                tracing::info!(%run, worker = left.worker_id, "gave back the request of a worker that died");
            }
        }
        if let Err(error) = std::fs::remove_dir_all(&left.root) {
            tracing::debug!(root = %left.root.display(), %error, "directory of a dead worker not removed");
        }
    }
}

/// Which hand-over a reply subject is about: `$JS.ACK.<stream>.<consumer>.<number>...`, behind a domain and an account
/// in longer ones.
fn number_of(reply: &str) -> Option<u64> {
    let words: Vec<&str> = reply.split('.').collect();
    let place = if words.len() >= 11 { 6 } else { 4 };
    words.get(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str) -> RunId {
        RunId::parse(name).unwrap()
    }

    #[test]
    fn what_was_in_hand_is_found_once_the_worker_is_dead_and_not_before() {
        let scratch = testkit::Scratch::new();
        let [alive, dead] = ["worker-1", "worker-2"].map(|name| scratch.join(name));
        let notes = InHand::open(&alive).unwrap();
        let settled = notes.note(&run("settled"), "$JS.ACK.a").unwrap();
        let _kept = notes.note(&run("kept"), "$JS.ACK.b").unwrap();
        drop(settled);
        let _again = notes.note(&run("again"), "$JS.ACK.c").unwrap();
        assert!(left_behind(scratch.path()).is_empty(), "it lives");
        // What a killed worker leaves: the same file, and nobody who holds its lock.
        std::fs::create_dir_all(&dead).unwrap();
        std::fs::copy(alive.join(FILE), dead.join(FILE)).unwrap();
        let [left] = &left_behind(scratch.path())[..] else { panic!("one worker died") };
        assert_eq!(left.worker_id, "worker-2");
        assert_eq!(left.requests, [(run("again"), "$JS.ACK.c".into()), (run("kept"), "$JS.ACK.b".into())]);
    }

    #[test]
    fn notes_that_are_none_are_passed_over() {
        let scratch = testkit::Scratch::new();
        let root = scratch.join("worker-2");
        std::fs::create_dir_all(&root).unwrap();
        let mut bytes = vec![0; NOTE_BYTES * 3];
        bytes[..4].copy_from_slice(b"\xff\xfe\t$");
        bytes[NOTE_BYTES..NOTE_BYTES + 11].copy_from_slice(b"run\tanybody");
        std::fs::write(root.join(FILE), bytes).unwrap();
        let [left] = &left_behind(scratch.path())[..] else { panic!("one worker died") };
        assert_eq!(left.requests, []);
    }

    #[test]
    fn a_reply_subject_tells_which_hand_over_it_is_about() {
        assert_eq!(number_of("$JS.ACK.CEREBROS.bridge-worker.3.17.5.1790000000.0"), Some(3));
        let long = "$JS.ACK.domain.account.CEREBROS.bridge-worker.4.17.5.1790000000.0.token";
        assert_eq!(number_of(long), Some(4));
        assert_eq!(number_of("$JS.ACK.x"), None);
    }
}
