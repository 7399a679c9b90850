//! A thread that is watched: how long it has been at work, and what the process has grown by meanwhile.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{DEADLINE, JqError, LONGEST};

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Stack of the interpreter, which recurses; its own default of 2 MiB ends in a crash at a recursion of a few thousand.
const STACK_BYTES: usize = 256 << 20;

/// Does work that may not end, on a thread that is left behind then.
pub(super) fn on_a_thread<T: Send + 'static>(
    max_bytes: Option<u64>,
    work: impl FnOnce() -> Result<T, JqError> + Send + 'static,
) -> Result<T, JqError> {
    let (began, before) = (Instant::now(), memory());
    let (result, results) = mpsc::channel();
    let (place, places) = mpsc::channel();
    let body = move || {
        // Where the system tells no place, nobody waits for one.
        drop(place.send(std::fs::read_link("/proc/thread-self").ok()));
        drop(result.send(work()));
    };
    let spawned = std::thread::Builder::new().name("jq".to_owned()).stack_size(STACK_BYTES).spawn(body);
    spawned.map_err(|error| JqError::Failed(format!("no thread to run it on: {error}")))?;
    let place: Option<PathBuf> = places.recv().ok().flatten();
    loop {
        match results.recv_timeout(LOOK_EVERY) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(JqError::Failed("the interpreter broke down".to_owned()));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        // Before the time, which passes as well for one that grows.
        if max_bytes.is_some_and(|most| memory().saturating_sub(before) > most) {
            return Err(JqError::TooLarge);
        }
        let taken = began.elapsed();
        let is_over = || taken >= LONGEST || at_work(place.as_deref()).is_none_or(|work| work >= DEADLINE);
        // Nobody is at work for longer than it takes.
        if taken >= DEADLINE && is_over() {
            return Err(JqError::TooSlow);
        }
    }
}

/// How long a thread has been at work, where the system tells: a machine with other things to do leaves it waiting.
pub(super) fn at_work(place: Option<&Path>) -> Option<Duration> {
    let text = std::fs::read_to_string(Path::new("/proc").join(place?).join("stat")).ok()?;
    // Behind the name, which may hold anything; these two are in hundredths of a second.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut field = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (field()? + field()?)))
}

/// Memory this process has, where the system tells.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()));
    // Where pages are larger than 4 KiB, as on some ARM machines, the bound is as many times higher.
    pages.unwrap_or(0) * 4096
}
