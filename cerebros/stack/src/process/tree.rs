//! Who descends from whom: the probe behind every "no process is left behind".
//!
//! Reads `/proc` where there is one and asks `ps` elsewhere. A zombie (ended, not yet reaped) counts as gone.

use std::collections::BTreeMap;
use std::path::Path;

use nix::sys::signal::killpg;
use nix::unistd::Pid;

/// Every living descendant of `pid`, children before grandchildren; without `pid` itself.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for process in snapshot() {
        children.entry(process.parent).or_default().push(process.pid);
    }
    let mut found = Vec::new();
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        let of_parent = children.remove(&parent).unwrap_or_default();
        found.extend(&of_parent);
        next.extend(of_parent);
    }
    found
}

/// True while `pid` names a process that has not ended.
pub fn is_alive(pid: u32) -> bool {
    if has_proc() {
        return read_stat(pid).is_some();
    }
    snapshot().iter().any(|process| process.pid == pid)
}

/// True while somebody in the process group has not ended.
pub(super) fn is_group_alive(group: Pid) -> bool {
    // Cheap and mostly enough; it also finds zombies, which nobody may ever reap in a container.
    killpg(group, None).is_ok()
        && snapshot().iter().any(|process| process.group == group.as_raw().unsigned_abs())
}

/// True when every thread of the process is stopped, or when the process is gone.
pub(super) fn is_stopped(pid: u32) -> bool {
    if !has_proc() {
        return snapshot().iter().all(|process| process.pid != pid || process.is_stopped);
    }
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    stats.filter_map(|stat| parse_stat(&stat)).all(|thread| thread.is_stopped)
}

struct Process {
    pid: u32,
    parent: u32,
    group: u32,
    is_stopped: bool,
}

fn has_proc() -> bool {
    Path::new("/proc/self/stat").exists()
}

fn snapshot() -> Vec<Process> {
    if !has_proc() {
        return snapshot_by_ps();
    }
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read_stat).collect()
}

fn read_stat(pid: u32) -> Option<Process> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent group ...`, where the name may itself contain spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, _) = stat.split_once(' ')?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let process = Process { pid: pid.parse().ok()?, parent, group, is_stopped: matches!(state, "T" | "t") };
    (!matches!(state, "Z" | "X")).then_some(process)
}

fn snapshot_by_ps() -> Vec<Process> {
    let Ok(output) = std::process::Command::new("ps").args(["-axo", "pid=,ppid=,pgid=,state="]).output()
    else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let parse = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let mut number = || fields.next()?.parse().ok();
        let (pid, parent, group) = (number()?, number()?, number()?);
        let state = fields.next()?;
        let process = Process { pid, parent, group, is_stopped: state.starts_with('T') };
        (!state.starts_with('Z')).then_some(process)
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let process = parse_stat("42 (a (strange) name) S 7 41 40 0 -1").unwrap();
        assert_eq!((process.pid, process.parent, process.group), (42, 7, 41));
        assert!(!process.is_stopped && parse_stat("42 (sh) T 7 41").unwrap().is_stopped);
    }

    #[test]
    fn a_zombie_counts_as_gone() {
        assert!(parse_stat("42 (sh) Z 7 42 42 0 -1").is_none());
    }

    #[test]
    fn this_process_is_alive_and_has_a_parent_that_knows_it() {
        let own = std::process::id();
        assert!(is_alive(own));
        assert!(descendants(std::os::unix::process::parent_id()).contains(&own));
    }
}
