//! Processes that a scenario left behind. Linux.
//!
//! Whatever runs on a stand has its directory in its arguments or its environment: a worker in `CEREBROS_DATA_DIR`, a
//! Python child in `PYTHONPATH`. So one that outlives its parent is found whoever has adopted it.

use std::path::Path;
use std::time::Duration;

use local_stack::process::is_alive;
use tokio::time::{Instant, sleep};

/// How long the children of a killed worker may take to notice; they read a pipe that the kernel closes at once.
pub(super) const NOTICE_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// Those of some processes that are still there after [`NOTICE_LIMIT`].
pub(super) async fn left_of(family: &[u32]) -> Vec<u32> {
    settle(|| family.iter().copied().filter(|pid| is_alive(*pid)).collect()).await
}

/// Processes that name a directory and are still there after [`NOTICE_LIMIT`]; this one does not count.
pub(super) async fn naming(dir: &Path) -> Vec<u32> {
    settle(|| all_naming(dir)).await
}

async fn settle(left: impl Fn() -> Vec<u32>) -> Vec<u32> {
    let deadline = Instant::now() + NOTICE_LIMIT;
    loop {
        let found = left();
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        sleep(POLL).await;
    }
}

fn all_naming(dir: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let names = |pid: u32| {
        ["cmdline", "environ"].iter().any(|file| {
            let text = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            contains(&text, dir.as_os_str().as_encoded_bytes())
        })
    };
    pids.filter(|pid| *pid != std::process::id() && is_alive(*pid) && names(*pid)).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_process_is_known_by_what_its_environment_names() {
        let dir = tempfile::tempdir().unwrap();
        // What has just been started has no environment yet; what has spoken does.
        let mut child = std::process::Command::new("sh")
            .args(["-c", "echo; read _"])
            .env("CEREBROS_DATA_DIR", dir.path().join("worker"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        assert_eq!(all_naming(dir.path()), [child.id()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(all_naming(dir.path()).is_empty());
    }

    #[test]
    fn nothing_contains_the_empty_text() {
        assert!(
            contains(b"a=/tmp/x/y\0", b"/tmp/x") && !contains(b"a=/tmp", b"/tmp/x") && !contains(b"a", b"")
        );
    }
}
