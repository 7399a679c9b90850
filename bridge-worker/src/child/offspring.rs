//! Whether a child has children, asked after every call.
//!
//! Those of its first thread, where user code runs, are looked for every time, by a file that stays open. Those other
//! threads have started cost as much as a short call: they are looked for at most every [`PAUSE`]. Starting a process
//! takes about as long, and what was missed is found after a later call.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::processes;

/// The full look takes some 20 microseconds.
const PAUSE: Duration = Duration::from_millis(1);

/// The children of one process (Linux; elsewhere nothing is known of any).
#[derive(Debug)]
pub(super) struct Offspring {
    pid: i32,
    /// `None` where the system does not list children.
    of_first_thread: Option<File>,
    looked: Mutex<Instant>,
}

impl Offspring {
    pub(super) fn of(pid: i32) -> Self {
        let of_first_thread = File::open(format!("/proc/{pid}/task/{pid}/children")).ok();
        Self { pid, of_first_thread, looked: Mutex::new(Instant::now()) }
    }

    /// True when there is any.
    pub(super) fn is_there(&self) -> bool {
        let Some(of_first_thread) = &self.of_first_thread else { return false };
        let mut first = [0; 1];
        of_first_thread.read_at(&mut first, 0).is_ok_and(|bytes| bytes > 0)
            || (self.is_time() && !processes::children(self.pid).is_empty())
    }

    fn is_time(&self) -> bool {
        let mut looked = self.looked.lock().expect("nobody panics while holding the time");
        let is_time = looked.elapsed() >= PAUSE;
        if is_time {
            *looked = Instant::now();
        }
        is_time
    }
}
