//! Files of a commit: the list git gives, and their content.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use service_kit::error::CliError;
use service_kit::exit::Exit;

use super::super::files::{MAX_FILE_BYTES, MAX_FILES, too_many};

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Number of its content.
    object: String,
    /// Size of its content.
    bytes: u64,
    /// Path from the top of the repository.
    pub(super) path: String,
}

/// Reads what `ls-tree -z -l` prints: `mode type object size<TAB>path<NUL>`.
pub(super) fn parse(listing: &[u8]) -> Result<Vec<Entry>, CliError> {
    let mut entries = Vec::new();
    for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        // A path that is not UTF-8 is none of ours.
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let Some((facts, path)) = line.split_once('\t') else { continue };
        let facts: Vec<&str> = facts.split_whitespace().collect();
        let [_, "blob", object, bytes] = facts[..] else { continue };
        let bytes = bytes.parse().unwrap_or(u64::MAX);
        if bytes > MAX_FILE_BYTES {
            let what = format!("{path} is larger than {MAX_FILE_BYTES} bytes in that revision");
            return Err(CliError::new("file-too-large", Exit::InvalidInput, what));
        }
        entries.push(Entry { object: object.to_owned(), bytes, path: path.to_owned() });
        if entries.len() > MAX_FILES {
            return Err(too_many("that revision"));
        }
    }
    Ok(entries)
}

/// The contents, in the same order, from one git process.
pub(super) fn read(top: &Path, entries: Vec<Entry>) -> Result<Vec<(Entry, Vec<u8>)>, CliError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: io::Error| {
        CliError::new("git-failed", Exit::Unreachable, "the files of a revision cannot be read")
            .because(error)
    };
    let mut git = super::git(top);
    git.args(["cat-file", "--batch"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = git.spawn().map_err(failed)?;
    let contents = exchange(&mut child, &entries);
    if contents.is_err() {
        // It is done or of no use; either way it must not stay.
        let _ = child.kill();
    }
    child.wait().map_err(failed)?;
    Ok(entries.into_iter().zip(contents.map_err(failed)?).collect())
}

/// Asks on one thread and reads on another: git answers while it is asked, and neither pipe may fill up.
fn exchange(child: &mut Child, entries: &[Entry]) -> io::Result<Vec<Vec<u8>>> {
    let mut questions = child.stdin.take().ok_or_else(|| io::Error::other("no pipe to git"))?;
    let answers = child.stdout.take().ok_or_else(|| io::Error::other("no pipe from git"))?;
    std::thread::scope(|scope| {
        let asked =
            scope.spawn(move || entries.iter().try_for_each(|entry| writeln!(questions, "{}", entry.object)));
        let mut answers = BufReader::new(answers);
        let contents: io::Result<Vec<Vec<u8>>> =
            entries.iter().map(|entry| answer(&mut answers, entry)).collect();
        drop(answers);
        asked.join().map_err(|_| io::Error::other("asking git ended early"))?.and(contents)
    })
}

/// Reads `object type size<LF>content<LF>`.
fn answer(answers: &mut impl BufRead, entry: &Entry) -> io::Result<Vec<u8>> {
    let mut head = String::new();
    answers.take(200).read_line(&mut head)?;
    if head.trim_end() != format!("{} blob {}", entry.object, entry.bytes) {
        return Err(io::Error::other(format!("{}: git answered \"{}\"", entry.path, head.trim_end())));
    }
    let mut content = Vec::new();
    answers.take(entry.bytes + 1).read_to_end(&mut content)?;
    if content.pop() != Some(b'\n') || content.len() as u64 != entry.bytes {
        return Err(io::Error::other(format!("{}: git ended early", entry.path)));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_its_odd_paths() {
        let lines = ["100644 blob 0123 17\ta b\nc", "160000 commit 4567 -\tsub", "100644 blob 89ab 2\td", ""];
        let paths: Vec<String> =
            parse(lines.join("\0").as_bytes()).unwrap().into_iter().map(|entry| entry.path).collect();
        assert_eq!(paths, ["a b\nc", "d"]);
        assert_eq!(parse(b"100644 blob 0123 99999999\tlarge\0").unwrap_err().exit, Exit::InvalidInput);
    }
}
