//! A list that is printed on a thread aside: whoever finds its rows goes on meanwhile, a chunk ahead, and waits for a slow
//! reader as for anything else. For whoever holds a connection that has to answer, or listens for signals.

use serde::Serialize;
use tokio::task::{JoinHandle, spawn_blocking};

use super::table::Row;
use super::{Listing, Ready, write_out};
use crate::error::CliError;

/// A [`Listing`] printed aside.
#[must_use = "a list has to be ended"]
pub struct Aside<T> {
    listing: Listing<T>,
    /// The chunk that is being printed.
    writing: Option<JoinHandle<Result<(), CliError>>>,
}

impl<T: Serialize + Row> Listing<T> {
    /// The same list, printed aside from here on.
    pub fn aside(self) -> Aside<T> {
        Aside { listing: self, writing: None }
    }
}

impl<T: Serialize + Row> Aside<T> {
    /// Adds a row, and begins to print what was collected when it is enough and the chunk before it is printed.
    pub async fn push(&mut self, row: T) -> Result<(), CliError> {
        if self.listing.collect(row)? { self.write().await } else { Ok(()) }
    }

    /// Adds rows that were made ready elsewhere, in the format of this list.
    pub async fn append(&mut self, mut ready: Ready<T>) -> Result<(), CliError> {
        while self.listing.collect_page(&mut ready.page) {
            self.write().await?;
        }
        if self.listing.collect_text(ready.text) { self.write().await } else { Ok(()) }
    }

    /// Prints what is left.
    pub async fn end(mut self) -> Result<(), CliError> {
        self.listing.collect_end();
        self.write().await?;
        self.written().await
    }

    async fn write(&mut self) -> Result<(), CliError> {
        self.written().await?;
        let text = self.listing.take_text();
        self.writing = Some(spawn_blocking(move || write_out(text.as_bytes())));
        Ok(())
    }

    async fn written(&mut self) -> Result<(), CliError> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(CliError::internal)?,
            None => Ok(()),
        }
    }
}
