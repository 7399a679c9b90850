//! How many processes the kernel has killed for want of memory: in this container where it can be told, on this machine
//! otherwise.

use std::path::PathBuf;

/// The count; 0 where nobody counts.
pub(super) fn kills() -> u64 {
    let own = own_group().map(|group| group.join("memory.events"));
    let places = own.into_iter().chain([PathBuf::from("/proc/vmstat")]);
    let texts = places.filter_map(|place| std::fs::read_to_string(place).ok());
    texts.filter_map(|text| count(&text)).next().unwrap_or(0)
}

/// The control group of this process, in version 2 of their file system.
fn own_group() -> Option<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(PathBuf::from("/sys/fs/cgroup").join(path))
}

fn count(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_a_control_group_and_from_the_machine() {
        assert_eq!(count("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(count("pgfault 9\noom_kill 7\nnuma_hit 1\n"), Some(7));
        assert_eq!(count("low 0\n"), None);
    }
}
