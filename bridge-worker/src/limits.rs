//! What one child may take of the machine, and when it has taken too much.
//!
//! Pure. A limit holds twice where it can: the child sets it on itself before it imports anything of others
//! (`cerebros_worker/limits.py`), so that Python code gets an error it can say something about; and the worker
//! compares what the child and everything below it use with the same limit, so that no native library, no other
//! process and no blocked signal gets around it.

mod size;

use std::time::Duration;

pub use size::{InvalidSize, Size};

/// Less than this and the interpreter itself would not start.
const LEAST_MEMORY_BYTES: u64 = 64 << 20;
/// A process that was killed with this share of its limit in use, in percent, has died of it.
const NEAR_PERCENT: u64 = 90;

/// Limits of one child; none where there is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, clap::Args)]
pub struct Limits {
    /// Memory one trial may take, its processes together, such as 2GiB [default: no limit]
    #[arg(long = "child-memory", env = "CEREBROS_CHILD_MEMORY", value_name = "SIZE", value_parser = memory)]
    pub memory: Option<Size>,
    /// CPU time one trial may take, its processes and threads together, in seconds [default: no limit]
    #[arg(long = "child-cpu-seconds", env = "CEREBROS_CHILD_CPU_SECONDS", value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub cpu_seconds: Option<u64>,
    /// Files one child may have open; never more than the system allows [default: 4096]
    #[arg(long = "child-open-files", env = "CEREBROS_CHILD_OPEN_FILES", value_name = "N",
        value_parser = clap::value_parser!(u64).range(64..))]
    pub open_files: Option<u64>,
}

fn memory(text: &str) -> Result<Size, InvalidSize> {
    let size: Size = text.parse()?;
    if size.0 < LEAST_MEMORY_BYTES {
        return Err(InvalidSize::TooSmall { least: Size(LEAST_MEMORY_BYTES) });
    }
    Ok(size)
}

/// What a child and everything below it use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Memory nobody else could give back: private, shared and swapped-out pages, without those of files.
    pub memory_bytes: u64,
    /// Pages in memory, files and libraries included.
    pub resident_bytes: u64,
    /// CPU time so far, that of processes which have ended and were waited for included.
    pub cpu: Duration,
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    /// More memory than allowed.
    #[error("the trial used {used} of memory; {limit} are allowed (--child-memory), so it was killed")]
    Memory {
        /// In use when it was looked.
        used: Size,
        /// The limit.
        limit: Size,
    },
    /// More CPU time than allowed.
    #[error("the trial used more than {limit} s of CPU time (--child-cpu-seconds) and was killed")]
    Cpu {
        /// The limit in seconds.
        limit: u64,
    },
}

impl Limits {
    /// Which limit is passed by a trial that began when `before` was used.
    pub fn excess(&self, before: Usage, now: Usage) -> Option<Excess> {
        let memory = self.memory.filter(|limit| now.memory_bytes > limit.0);
        if let Some(limit) = memory {
            return Some(Excess::Memory { used: Size(now.memory_bytes), limit });
        }
        let used = now.cpu.saturating_sub(before.cpu);
        let limit = self.cpu_seconds.filter(|limit| used > Duration::from_secs(*limit))?;
        Some(Excess::Cpu { limit })
    }

    /// True when somebody has to watch.
    pub fn are_watched(&self) -> bool {
        self.memory.is_some() || self.cpu_seconds.is_some()
    }

    /// True when so much memory is in use that whatever ended the process then was most likely the lack of more.
    pub fn is_near_memory(&self, used_bytes: u64) -> bool {
        self.memory.is_some_and(|limit| used_bytes >= limit.0 / 100 * NEAR_PERCENT)
    }

    /// True when an idle child keeps so much that the next trial would pay for it: more than half of what it left for
    /// trials when it was ready. One that leaks is better replaced; what it was started with, the next one has as well.
    pub fn is_swollen(&self, ready_bytes: u64, idle_bytes: u64) -> bool {
        let grown = idle_bytes.saturating_sub(ready_bytes);
        self.memory.is_some_and(|limit| grown > limit.0.saturating_sub(ready_bytes) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory: Some(Size(1 << 30)), cpu_seconds: Some(10), open_files: None };

    fn used(memory_bytes: u64, cpu_seconds: u64) -> Usage {
        Usage { memory_bytes, resident_bytes: 1 << 40, cpu: Duration::from_secs(cpu_seconds) }
    }

    #[test]
    fn memory_is_held_against_the_limit_and_pages_of_files_are_not() {
        assert_eq!(LIMITS.excess(used(0, 0), used(1 << 30, 0)), None);
        let excess = LIMITS.excess(used(0, 0), used((1 << 30) + 1, 0)).unwrap();
        assert!(excess.to_string().contains("1 GiB are allowed (--child-memory)"), "{excess}");
    }

    #[test]
    fn a_trial_pays_for_its_own_cpu_time_alone() {
        assert_eq!(LIMITS.excess(used(0, 1000), used(0, 1010)), None);
        assert_eq!(LIMITS.excess(used(0, 1000), used(0, 1011)), Some(Excess::Cpu { limit: 10 }));
    }

    #[test]
    fn without_a_limit_nothing_is_too_much() {
        let none = Limits::default();
        assert_eq!(none.excess(used(0, 0), used(u64::MAX, u64::MAX)), None);
        assert!(!none.are_watched() && !none.is_near_memory(u64::MAX) && !none.is_swollen(0, u64::MAX));
    }

    #[test]
    fn near_the_limit_is_nine_tenths_and_an_idle_child_may_keep_half() {
        assert!(LIMITS.is_near_memory(1_000_000_000) && !LIMITS.is_near_memory(900_000_000));
        assert!(LIMITS.is_swollen(0, 600_000_000) && !LIMITS.is_swollen(0, 500_000_000));
    }

    #[test]
    fn what_a_child_was_started_with_is_not_held_against_it() {
        assert!(!LIMITS.is_swollen(700_000_000, 700_000_000) && !LIMITS.is_swollen(700_000_000, 800_000_000));
        assert!(LIMITS.is_swollen(700_000_000, 900_000_000));
        // One that was given back memory, and one that had it all.
        assert!(!LIMITS.is_swollen(700_000_000, 100_000_000));
        assert!(LIMITS.is_swollen(2_000_000_000, 2_000_000_001));
    }

    #[test]
    fn a_limit_under_which_no_interpreter_starts_is_refused() {
        assert_eq!(memory("2GiB"), Ok(Size(2 << 30)));
        assert!(memory("1MiB").unwrap_err().to_string().contains("64 MiB"));
    }
}
