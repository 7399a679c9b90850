//! Shell scripts that play a program.

use std::path::PathBuf;
use std::process::Command;

use testkit::Scratch;

/// Writes an executable shell script.
///
/// By a process of its own: what another thread forks meanwhile would hold a file that this one writes, and the kernel
/// starts no file somebody may write to (`ETXTBSY`).
pub(crate) fn script(dir: &Scratch, name: &str, body: &str) -> PathBuf {
    let path = dir.join(name);
    let body = format!("#!/bin/sh\n{body}\n");
    let write = r#"printf %s "$2" > "$1" && chmod 755 "$1""#;
    let written = Command::new("sh").args(["-c", write, "sh"]).arg(&path).arg(body).status().unwrap();
    assert!(written.success());
    path
}
