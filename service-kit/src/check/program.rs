//! Other programs: what they answer, and which version that is.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Bytes of an answer; whoever prints more has not understood the question.
const MAX_ANSWER_BYTES: u64 = 4096;
/// How long an answer is waited for; shorter than a check, so that its own words are heard.
const DEADLINE: Duration = Duration::from_secs(5);

/// The first line a program prints; `None` if it cannot be run, fails, takes too long, or prints nothing or too much.
pub async fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    tokio::time::timeout(DEADLINE, answer(program, arguments)).await.ok().flatten()
}

async fn answer(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.kill_on_drop(true).spawn().ok()?;
    let mut printed = Vec::new();
    let read = process.stdout.take()?.take(MAX_ANSWER_BYTES + 1).read_to_end(&mut printed).await.ok()?;
    if read as u64 > MAX_ANSWER_BYTES || !process.wait().await.ok()?.success() {
        return None;
    }
    let line = String::from_utf8_lossy(&printed).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}

/// The first two numbers of a version.
pub fn version_in(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_first_two_numbers() {
        assert_eq!(version_in("3.11.7 /usr/bin/python3"), Some((3, 11)));
        assert_eq!(version_in("2.12.0-RC.1"), Some((2, 12)));
        assert_eq!(version_in("unknown"), None);
    }

    #[tokio::test]
    async fn a_program_that_prints_without_end_or_nothing_at_all_is_not_listened_to_for_long() {
        let within = |arguments: [&'static str; 2], seconds| async move {
            let asked = ask(Path::new("/bin/sh"), &arguments);
            tokio::time::timeout(std::time::Duration::from_secs(seconds), asked)
                .await
                .expect("it is given up")
        };
        assert_eq!(within(["-c", "echo 3.11; echo more"], 60).await.as_deref(), Some("3.11"));
        // Neither a line that has no end nor lines that have none.
        assert_eq!(
            within(["-c", "while :; do printf aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done"], 4).await,
            None
        );
        assert_eq!(within(["-c", "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done"], 4).await, None);
        assert_eq!(within(["-c", "sleep 600"], 60).await, None);
    }
}
