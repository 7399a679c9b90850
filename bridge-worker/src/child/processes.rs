//! Who is below a process and what they use, as `/proc` tells it. Where there is none, nobody is and nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::limits::Usage;

/// Clock ticks of `/proc` per second: the same on every Linux, whatever the kernel's own clock does.
const TICKS_PER_SECOND: u64 = 100;

/// What `/proc/<pid>/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) group: i32,
    pub(super) session: i32,
    /// It has ended, or begun to: its main thread is gone, though others may not be yet.
    pub(super) is_over: bool,
    /// When it was started, in ticks since the system was.
    pub(super) start: u64,
    cpu: Duration,
}

/// Every process below `root`, and `root`.
///
/// The runtime of a child adopts what its children leave behind (`cerebros_worker/orphans.py`), so that nobody gets out of the
/// tree of a living child, whatever session it moves to.
pub(super) fn tree(root: i32) -> Vec<i32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

/// The children of a process, those of all its threads.
pub(super) fn children(pid: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().map(str::parse).collect::<Vec<_>>())
        .flatten()
        .collect()
}

/// What these processes use, and when each was started. Pages several processes share are counted for each.
pub(super) fn usage(pids: &[i32]) -> (Usage, BTreeMap<i32, u64>) {
    let mut sum = Usage::default();
    let mut starts = BTreeMap::new();
    for pid in pids {
        let Some((one, start)) = usage_of(*pid) else { continue };
        starts.insert(*pid, start);
        sum.memory_bytes = sum.memory_bytes.saturating_add(one.memory_bytes);
        sum.resident_bytes = sum.resident_bytes.saturating_add(one.resident_bytes);
        sum.cpu = sum.cpu.saturating_add(one.cpu);
    }
    (sum, starts)
}

/// The memory of these processes, shared pages counted once. Costs more than [`usage`]: the kernel walks
/// all pages. `None` when somebody does not let itself be read.
pub(super) fn memory_shared_out(pids: &[i32]) -> Option<u64> {
    let share = |pid: &i32| match std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(text) => Some(sum_of(&text, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"])),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => None,
        // It has ended meanwhile.
        Err(_) => Some(0),
    };
    pids.iter().map(share).sum()
}

/// `None` for a process that is gone.
pub(super) fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// What these were in the environment the process was started with, or the one it descends from.
pub(super) fn variables<const N: usize>(pid: i32, names: [&str; N]) -> [Option<String>; N] {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let value = |entry: &[u8], name: &str| {
        str::from_utf8(entry).ok()?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    };
    names.map(|name| environment.split(|byte| *byte == 0).find_map(|entry| value(entry, name)))
}

/// Everybody whose process ids mean the same to us: those of a container, seen from outside, do not.
pub(super) fn all() -> Vec<i32> {
    let space = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/pid")).ok();
    let own = space("self");
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let pids = names.filter_map(|name| Some((name.parse().ok()?, space(&name))));
    pids.filter(|(_, space)| space.is_some() && *space == own).map(|(pid, _)| pid).collect()
}

fn usage_of(pid: i32) -> Option<(Usage, u64)> {
    let Stat { cpu, start, .. } = stat(pid)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let used = Usage {
        memory_bytes: sum_of(&status, &["RssAnon:", "RssShmem:", "VmSwap:"]),
        resident_bytes: sum_of(&status, &["VmRSS:"]),
        cpu,
    };
    Some((used, start))
}

/// Adds up lines such as `VmRSS:   1024 kB`.
fn sum_of(text: &str, names: &[&str]) -> u64 {
    let value = |line: &str| -> Option<u64> {
        let mut words = line.split_ascii_whitespace();
        let is_wanted = words.next().is_some_and(|name| names.contains(&name));
        is_wanted.then(|| words.next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(value).sum::<u64>().saturating_mul(1024)
}

/// `pid (name) state parent group session ...`, where the name may itself contain spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // User and system time of its own, then of the children it has waited for.
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat {
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        is_over: matches!(*fields.first()?, "Z" | "X"),
        start: fields.get(19)?.parse().ok()?,
        cpu: Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_that_of_the_process_and_of_the_children_it_waited_for() {
        let text = "42 (a (strange) name) S 7 41 40 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 99 1 1";
        let stat = parse_stat(text).unwrap();
        assert_eq!((stat.group, stat.session, stat.start), (41, 40, 99));
        assert_eq!(stat.cpu, Duration::from_millis(1270));
        assert!(!stat.is_over && parse_stat(&text.replace(" S ", " Z ")).unwrap().is_over);
        assert_eq!(parse_stat("42 (short) S 1 2"), None);
    }

    #[test]
    fn memory_is_summed_over_the_named_lines() {
        let status =
            "Name:\tpython\nVmRSS:\t   300 kB\nRssAnon:\t 100 kB\nRssFile:\t 200 kB\nVmSwap:\t 1 kB\n";
        assert_eq!(sum_of(status, &["RssAnon:", "RssShmem:", "VmSwap:"]), 101 * 1024);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_in_its_own_tree_and_uses_memory() {
        let own = std::process::id().cast_signed();
        assert_eq!(tree(own).first(), Some(&own));
        let (used, starts) = usage(&tree(own));
        assert_eq!(starts.get(&own).copied(), stat(own).map(|stat| stat.start));
        assert!(used.memory_bytes > 0 && used.resident_bytes > used.memory_bytes, "{used:?}");
    }
}
