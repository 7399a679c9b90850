//! What a call is about, as its conversation sees it.

use schemas::Event;
use search::Verdict;

use super::Cut;
use crate::child::protocol::{Call, CallResult, FromChild};

/// Events that are kept while others are on their way.
pub(crate) const MOST_KEPT: usize = 512;

/// What a call is about: its words, and what becomes of those that come back.
///
/// A topic never waits. What it hears it keeps, as events; the conversation takes them, publishes them and says when they
/// are durable, while the next words are heard.
pub(crate) trait Topic {
    /// What is to be called.
    fn entry(&self) -> &str;

    /// The call, under a number that is unique in its process.
    fn call(&self, id: u64) -> Call;

    /// Takes one message. What it says is kept until [`Topic::take`].
    ///
    /// # Errors
    /// It makes no sense, and the call cannot go on.
    fn hear(&mut self, message: FromChild, call: u64) -> Result<Heard, Cut>;

    /// How many events are kept.
    fn kept(&self) -> usize;

    /// True when no more should be kept: what else is said waits in the pipe, and with it the process.
    fn is_full(&self) -> bool {
        self.kept() >= MOST_KEPT
    }

    /// Hands over what is kept, to be published. It is not asked again before [`Topic::told`].
    fn take(&mut self) -> Vec<Event>;

    /// What was taken is durable now. Says whether the trial is worth going on with; one that is not learns so at its next
    /// report.
    fn told(&mut self, events: Vec<Event>) -> Verdict;
}

/// What one message came to.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Nothing to be done about it.
    Word,
    /// A part of the call is over; the time for the next begins.
    EndOfPart,
    /// Something hangs on it: no further word is heard before it is durable.
    Weighty,
    /// The same, and a part of the call is over.
    WeightyEndOfPart,
    /// What becomes of it hangs on what was said before: it is to be heard again when that is durable.
    TooEarly(FromChild),
    /// The call is over.
    Result(Box<CallResult>),
}
