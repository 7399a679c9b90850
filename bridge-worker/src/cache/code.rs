//! What code trainers are imported from.
//!
//! Children import once, when they start; so this is looked at once, when the worker starts. Packages of the
//! interpreter's own environment are not looked at: whoever changes them wipes the cache, or does without.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// Files and bytes of code that are read; nobody writes more by hand.
const MAX_FILES: usize = 5_000;
const MAX_BYTES: u64 = 64 << 20;
/// Entries that are looked at, and directories below one another.
const MAX_VISITED: usize = 50_000;
const MAX_DEPTH: usize = 16;

/// Hex SHA-256 of the Python files below these directories; `None` when there are too many, or one cannot be read.
pub(super) fn fingerprint(directories: &[PathBuf]) -> Option<String> {
    let mut files = Vec::new();
    let mut visited = 0;
    for directory in directories {
        walk(directory, MAX_DEPTH, &mut visited, &mut files)?;
    }
    files.sort();
    let mut digest = Sha256::new();
    let mut left = MAX_BYTES;
    for path in files {
        let mut content = Vec::new();
        let read = File::open(&path).ok()?.take(left + 1).read_to_end(&mut content).ok()?;
        left = left.checked_sub(u64::try_from(read).ok()?)?;
        digest.update(path.to_string_lossy().as_bytes());
        digest.update([0]);
        digest.update(Sha256::digest(&content));
    }
    Some(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn walk(directory: &Path, depth: usize, visited: &mut usize, files: &mut Vec<PathBuf>) -> Option<()> {
    // A directory that is not there has no code.
    let Ok(entries) = std::fs::read_dir(directory) else { return Some(()) };
    for entry in entries.flatten() {
        *visited += 1;
        if *visited > MAX_VISITED || files.len() > MAX_FILES || depth == 0 {
            return None;
        }
        let path = entry.path();
        let kind = entry.file_type().ok()?;
        if kind.is_dir() {
            walk(&path, depth - 1, visited, files)?;
        } else if path.extension().is_some_and(|extension| extension == "py") {
            files.push(path);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use testkit::Scratch;

    use super::*;

    #[test]
    fn the_code_is_told_apart_by_content_and_by_name_and_nothing_else() {
        let scratch = Scratch::new();
        let directory = scratch.join("code");
        std::fs::create_dir_all(directory.join("package")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
        let fingerprint = || fingerprint(std::slice::from_ref(&directory)).unwrap();
        write("package/a.py", "x = 1");
        let first = fingerprint();
        write("data.csv", "1,2");
        assert_eq!(fingerprint(), first, "data is no code");
        write("package/a.py", "x = 2");
        assert_ne!(fingerprint(), first);
        write("package/a.py", "x = 1");
        assert_eq!(fingerprint(), first);
        write("b.py", "");
        assert_ne!(fingerprint(), first);
    }
}
