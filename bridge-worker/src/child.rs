//! One warm Python process: started, spoken to, killed.
//!
//! The process leads a group of its own; frames travel on descriptors 3 and 4; standard input is held open and says
//! by its end that the worker is gone; standard output and error belong to user code and are captured, bounded.
//! Killing always means everything below the child as well, and is waited for.

mod end;
mod family;
mod frames;
mod kin;
mod offspring;
mod oom;
pub mod output;
mod probe;
mod processes;
pub mod protocol;
mod settings;
mod start;

use std::sync::Arc;

use tokio::net::unix::pipe;
use tokio::process::{Child as Process, ChildStdin};
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

pub use end::End;
pub use family::end_orphans;
pub(crate) use family::{Member, Orphans, bury_strays, kill_all, spawn, spawn_beside};
pub use frames::{Lost, SILENCE_LIMIT};
use offspring::Offspring;
use output::Tail;
pub use probe::Probe;
pub use settings::ChildSettings;
pub(crate) use settings::{ENVIRONMENT, THREADS};
pub use start::StartError;

/// A Python process.
pub struct Child {
    process: Process,
    member: Member,
    probe: Arc<Probe>,
    frames: FramedRead<pipe::Receiver, LengthDelimitedCodec>,
    orders: pipe::Sender,
    /// Held open: its end tells the child that we are gone.
    _lifeline: ChildStdin,
    stdout: Tail,
    stderr: Tail,
    offspring: Offspring,
    /// A message to it is not complete: whatever it reads next begins in the middle.
    is_torn: bool,
    next_call: u64,
}

impl Child {
    /// A number for the next call.
    pub fn next_call(&mut self) -> u64 {
        self.next_call += 1;
        self.next_call
    }

    /// The process id, which is also that of its group.
    pub fn pid(&self) -> i32 {
        self.member.pid().as_raw()
    }

    /// The child seen from outside.
    pub fn probe(&self) -> &Arc<Probe> {
        &self.probe
    }

    /// True until the process has ended, or begun to: it can be waited for only when the last of its threads is gone.
    pub fn is_alive(&mut self) -> bool {
        let is_over = processes::stat(self.pid()).is_some_and(|stat| stat.is_over);
        !is_over && matches!(self.process.try_wait(), Ok(None))
    }

    /// True when it takes no further call: it has ended and was waited for, or a message to it was broken off. The cheap
    /// question, before every call.
    pub fn is_spent(&mut self) -> bool {
        self.is_torn || !matches!(self.process.try_wait(), Ok(None))
    }

    /// True when a message to it was broken off.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Forgets what was printed before this call.
    pub fn clear_output(&self) {
        self.stdout.clear();
        self.stderr.clear();
    }

    /// The end of what was printed on standard output so far.
    pub fn printed(&self) -> String {
        self.stdout.text()
    }

    /// True when processes started by user code are still there (Linux; elsewhere not known and false).
    pub fn has_descendants(&self) -> bool {
        self.offspring.is_there()
    }
}
