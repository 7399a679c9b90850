//! Exit codes: a public interface that scripts branch on.

use std::process::ExitCode;

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Done; with `--wait` or `--watch`, the run succeeded.
    Done = 0,
    /// A fault of our own.
    Internal = 1,
    /// Wrong arguments or an unknown configuration key.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// Not allowed, or not recognised.
    Permission = 4,
    /// The input was read and is not valid.
    InvalidInput = 5,
    /// A dependency did not answer, or not in time.
    Unreachable = 6,
    /// A port, the disk or a lock of this machine.
    LocalResource = 7,
    /// The run that was waited for ended unsuccessfully.
    Unsuccessful = 8,
    /// The check was carried out and found something.
    Findings = 9,
    /// A stream is full: nothing was lost, and the same goes on when somebody has made room.
    Full = 10,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl Exit {
    /// The number the operating system sees.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
