//! A log file that cannot fill the disk: at [`LOG_LIMIT_BYTES`] it becomes `<name>.1` and starts anew.
//!
//! The file is opened for appending and written as it comes. When it can no longer be written (disk full), the
//! output is still read and dropped: a program must never hang on its own log.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Size at which a log is moved aside; two files make 32 MiB, days of a quiet broker and enough for any post-mortem.
pub const LOG_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// How much of the end of a log is read for an error message.
const TAIL_BYTES: u64 = 16 * 1024;

/// An append-only file of bounded size.
#[derive(Debug)]
pub(super) struct BoundedLog {
    path: PathBuf,
    file: File,
    size: u64,
    limit: u64,
}

impl BoundedLog {
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, limit: LOG_LIMIT_BYTES })
    }

    /// Bytes in the present file.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Copies until the last writer closes its end.
    pub(super) fn copy_from(mut self, mut output: impl Read) {
        let mut buffer = [0; 16 * 1024];
        loop {
            match output.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => drop(self.write(&buffer[..count])),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let added = bytes.len() as u64;
        if self.size > 0 && self.size + added > self.limit {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            self.file = append_to(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += added;
        Ok(())
    }
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The last `count` lines of a log, at most 16 KiB; empty when there is no such file.
pub fn last_lines(path: &Path, count: usize) -> String {
    last_lines_after(path, 0, count)
}

/// The same, of what was written after the first `start` bytes (or of all, if the file was moved aside since).
pub(super) fn last_lines_after(path: &Path, start: u64, count: usize) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        let start = if size < start { 0 } else { start };
        file.seek(SeekFrom::Start(start.max(size.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_moved_aside_once_and_never_exceeds_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program.log");
        let mut log = BoundedLog { limit: 100, ..BoundedLog::open(&path).unwrap() };
        for _ in 0..50 {
            log.write(b"a line of 20 bytes.\n").unwrap();
        }
        assert_eq!(path.metadata().unwrap().len(), 100);
        assert_eq!(dir.path().join("program.log.1").metadata().unwrap().len(), 100);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_last_lines_are_the_last_ones_that_say_something() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program.log");
        std::fs::write(&path, "first\nsecond\n\nthird\n\n").unwrap();
        assert_eq!(last_lines(&path, 2), "second\nthird");
        assert_eq!(last_lines(&path, 9), "first\nsecond\nthird");
        assert_eq!(last_lines_after(&path, 6, 9), "second\nthird");
        assert_eq!(last_lines_after(&path, 1000, 1), "third", "it was moved aside since");
        assert_eq!(last_lines(&dir.path().join("absent"), 9), "");
    }
}
