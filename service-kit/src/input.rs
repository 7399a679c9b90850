//! What a command reads: a file or standard input, no further than a limit.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::PathBuf;

use tokio::sync::oneshot;

use crate::output;

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Input {
    /// `-` is standard input, everything else a path.
    pub fn named(name: &str) -> Self {
        if name == "-" { Self::Stdin } else { Self::File(name.into()) }
    }

    /// What it is called in messages.
    pub fn title(&self) -> String {
        match self {
            Self::Stdin => "standard input".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Reads it to its end, or to one byte beyond `limit`, which tells the caller that there is more. Whoever sits at a
    /// terminal is told that `what` is waited for.
    ///
    /// On a thread of its own, which dies with the process: a pipe may never end, and a signal has to end the command
    /// all the same.
    ///
    /// # Errors
    /// The file is missing, forbidden or broken.
    pub async fn read(self, limit: usize, what: &str) -> io::Result<Vec<u8>> {
        if self == Self::Stdin && io::stdin().is_terminal() {
            output::note(format_args!("reading {what} from the terminal; Ctrl-D ends it"));
        }
        let (done, read) = oneshot::channel();
        std::thread::spawn(move || {
            // Nobody waits for it any more: then there is nobody to tell.
            let _ = done.send(self.read_here(limit));
        });
        read.await.unwrap_or_else(|_| Err(io::Error::other("the reader ended early")))
    }

    fn read_here(self, limit: usize) -> io::Result<Vec<u8>> {
        let source: Box<dyn Read> = match self {
            Self::Stdin => Box::new(io::stdin()),
            Self::File(path) => Box::new(File::open(path)?),
        };
        let mut bytes = Vec::new();
        source
            .take(u64::try_from(limit).map_or(u64::MAX, |limit| limit.saturating_add(1)))
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}
