//! Other programs: what they answer, and which version that is.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

/// The first line a program prints; `None` if it cannot be run, fails or prints nothing.
pub async fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    printed
        .lines()
        .next()
        .map(|line| line.trim().to_owned())
        .filter(|line| output.status.success() && !line.is_empty())
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
}
