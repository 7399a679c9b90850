//! A directory for one test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary directory, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// A new, empty directory.
    #[expect(clippy::new_without_default, reason = "making a directory is not a default value")]
    pub fn new() -> Self {
        let made = tempfile::Builder::new().prefix("cerebros-test-").tempdir();
        Self { dir: made.unwrap_or_else(|error| panic!("cannot make a temporary directory: {error}")) }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The path of something in it, which need not exist.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file into it and returns its path.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        if let Err(error) = std::fs::write(&path, content) {
            panic!("cannot write {}: {error}", path.display());
        }
        path
    }
}
