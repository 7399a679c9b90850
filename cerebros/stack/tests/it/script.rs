//! Shell scripts that play a program.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use testkit::Scratch;

/// Writes an executable shell script.
pub(crate) fn script(dir: &Scratch, name: &str, body: &str) -> PathBuf {
    let path = dir.write(name, format!("#!/bin/sh\n{body}\n"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}
