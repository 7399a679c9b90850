//! What a process that ended without a result died of.
//!
//! Pure: what was seen is an argument.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use schemas::{Failure, FailureClass, Stage};

/// How a process ended, and what was seen of it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Death {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    /// It was near its limit of memory, or the kernel has killed somebody for want of it meanwhile.
    pub(super) was_short_of_memory: bool,
}

/// What a kernel without memory, and a library that got none, end a process with.
const KILLED: i32 = 9;
const ABORTED: i32 = 6;
const SEGMENTATION_FAULT: i32 = 11;

const OUT_OF_MEMORY: &str = ": it ran out of memory; use fewer slots or smaller candidates, or give the machine, the \
    container or --child-memory more";

impl Death {
    /// What is known of a process that ended so.
    pub(super) fn of(status: Option<ExitStatus>, was_short_of_memory: bool) -> Self {
        Self {
            code: status.and_then(|status| status.code()),
            signal: status.and_then(|status| status.signal()),
            was_short_of_memory,
        }
    }

    /// The failure of the trial.
    pub(super) fn failure(self) -> Failure {
        let how = match (self.code, self.signal) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}{}", name(signal)),
            (None, None) => "ended".to_owned(),
        };
        let (class, why) = match self.is_oom() {
            true => (FailureClass::Oom, OUT_OF_MEMORY),
            false => (FailureClass::SubprocessExit, ""),
        };
        let message = format!("the Python process {how} before it had given a result{why}");
        let mut failure = Failure::new(class, Stage::Execute, message);
        failure.exit_code = self.code;
        failure.signal = self.signal;
        failure
    }

    fn is_oom(self) -> bool {
        let is_its_mark = matches!(self.signal, Some(KILLED | ABORTED | SEGMENTATION_FAULT));
        self.was_short_of_memory && is_its_mark
    }
}

fn name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or(String::new(), |signal| format!(" ({})", signal.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(code: Option<i32>, signal: Option<i32>, was_short_of_memory: bool) -> FailureClass {
        Death { code, signal, was_short_of_memory }.failure().class
    }

    #[test]
    fn a_killed_process_died_of_memory_only_if_there_was_too_little() {
        assert_eq!(class(None, Some(KILLED), true), FailureClass::Oom);
        assert_eq!(class(None, Some(ABORTED), true), FailureClass::Oom);
        assert_eq!(class(None, Some(KILLED), false), FailureClass::SubprocessExit);
        assert_eq!(class(Some(1), None, true), FailureClass::SubprocessExit, "it chose to end");
        assert_eq!(class(None, Some(15), true), FailureClass::SubprocessExit, "somebody asked it to");
        assert_eq!(class(None, None, true), FailureClass::SubprocessExit);
    }

    #[test]
    fn the_message_names_status_or_signal() {
        let killed = Death { signal: Some(KILLED), was_short_of_memory: true, ..Death::default() }.failure();
        assert!(killed.message.contains("signal 9 (SIGKILL)") && killed.message.contains("out of memory"));
        assert_eq!((killed.exit_code, killed.signal), (None, Some(KILLED)));
        assert!(
            Death { code: Some(7), ..Death::default() }.failure().message.contains("exited with status 7")
        );
    }
}
