//! One who reads pages of the queue, and makes of them what is wanted.

use std::sync::Arc;

use schemas::subject::DLQ_STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::history::{Extent, Stretches};
use tokio::sync::mpsc::{Receiver, Sender};

use super::Work;
use super::page::Page;
use super::plan::Turns;
use crate::entry::Entry;
use crate::queue::{Letters, Queue, Source};
use crate::standing::{Standing, Told};

/// What a reader hands over.
pub(super) enum Step<Made> {
    /// What was made of its next page.
    Page(Made),
    /// Nothing any more.
    End {
        /// Messages it has met that are no letters.
        strangers: u64,
    },
}

/// A reader.
pub(super) struct Reader<Wanted, Make, Made> {
    pub(super) work: Arc<Work<Wanted, Make>>,
    pub(super) standing: Arc<Standing>,
    /// Where what was told comes from, and whom it is handed to.
    pub(super) baton: (Receiver<Told>, Sender<Told>),
    pub(super) out: Sender<Result<Step<Made>, CliError>>,
}

impl<Wanted, Make, Made> Reader<Wanted, Make, Made>
where
    Wanted: Fn(&Entry) -> bool,
    Make: Fn(&mut dyn Iterator<Item = Entry>) -> Result<Made, CliError>,
{
    /// Reads its pages, and ends early when nobody wants them any more.
    pub(super) async fn stretches(mut self, broker: &Broker, extent: Extent, turns: Turns) {
        let read = self.try_stretches(broker, extent, turns).await;
        self.end(read).await;
    }

    /// Reads the whole queue.
    pub(super) async fn whole(mut self, queue: &Queue, letters: u64) {
        let read = self.try_whole(queue, letters).await;
        self.end(read).await;
    }

    async fn try_stretches(
        &mut self,
        broker: &Broker,
        extent: Extent,
        mut turns: Turns,
    ) -> Result<u64, CliError> {
        let Some(first) = turns.next() else { return Ok(0) };
        let stretches = Stretches::open(broker, DLQ_STREAM, extent, first).await?;
        let (mut letters, mut page) = (Letters::of(Source::Stretches(Box::new(stretches))), Page::default());
        loop {
            self.read(&mut letters, &mut page, usize::MAX).await?;
            if !self.hand_over(&mut page).await? {
                break;
            }
            let Some(next) = turns.next() else { break };
            letters.turn_to(next);
        }
        Ok(letters.strangers)
    }

    async fn try_whole(&mut self, queue: &Queue, letters: u64) -> Result<u64, CliError> {
        let most = usize::try_from(letters).unwrap_or(usize::MAX);
        let (mut letters, mut page) = (queue.letters().await?, Page::default());
        loop {
            self.read(&mut letters, &mut page, most).await?;
            let is_last = page.len() < most;
            if !self.hand_over(&mut page).await? || is_last {
                break;
            }
        }
        Ok(letters.strangers)
    }

    /// Fills a page with the next letters of a source, up to so many.
    async fn read(&self, letters: &mut Letters, page: &mut Page, most: usize) -> Result<(), CliError> {
        while page.len() < most
            && let Some(entry) = letters.next().await?
        {
            let digest = self.standing.digest(&entry.id);
            let entry = self.standing.tell(entry, digest);
            page.take(digest, (self.work.is_wanted)(&entry).then_some(entry));
        }
        Ok(())
    }

    /// Tells a page when it is its turn; false when nobody wants it.
    async fn hand_over(&mut self, page: &mut Page) -> Result<bool, CliError> {
        let Some(mut told) = self.baton.0.recv().await else { return Ok(false) };
        page.tell(&mut told);
        // Who has no page any more needs it no more.
        let _ = self.baton.1.send(told).await;
        let made = (self.work.make)(&mut page.take_entries())?;
        Ok(self.out.send(Ok(Step::Page(made))).await.is_ok())
    }

    async fn end(self, read: Result<u64, CliError>) {
        let step = read.map(|strangers| Step::End { strangers });
        // Whoever has stopped listening has an error of its own.
        let _ = self.out.send(step).await;
    }
}
