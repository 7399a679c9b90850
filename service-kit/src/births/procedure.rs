//! How a run is born, step by step: [`Procedure::next`] says what to do, [`Procedure::heard`] takes what came of it.
//!
//! Pure. A failure of any step (an outage, an answer that was lost, a crash) ends the procedure; a new one begins with
//! what the broker has, which is enough to go on from anywhere.

use super::{Announcement, Birth};

/// Most doubts of one birth. Beyond them a create is tried again with the nonce it has, which then is a doubt as well.
const MAX_DOUBTS: usize = 16;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Read the birth.
    Read,
    /// Look at the server for a run with our tags, made before there were births.
    SearchTags,
    /// Look at the server for the run that was announced so.
    SearchNonce(Announcement),
    /// Ask the server for the run with this id.
    Fetch(String),
    /// Write this over the revision.
    Put(Birth, u64),
    /// Create the run that was announced so.
    Create(Announcement),
    /// Delete this run: we made it, and another is used.
    Delete(String),
    /// Use this run.
    Done(Born),
}

/// A run that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Born {
    /// MLflow's id.
    pub id: String,
    /// Its experiment.
    pub experiment: String,
    /// True when it was announced before it was made: then the same holds for everything below it.
    pub is_from_birth: bool,
    /// True when this procedure created it: nothing was written to it yet.
    pub is_new: bool,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The birth, and its revision.
    Record(Option<Birth>, u64),
    /// Id and experiment of the run that was looked for or asked for, if it is there.
    Found(Option<(String, String)>),
    /// The write became this revision; `None` when somebody else was faster.
    Put(Option<u64>),
    /// Id and experiment of the created run.
    Created(String, String),
    /// The run is deleted.
    Deleted,
}

/// One way to a run that may be used.
#[derive(Debug)]
pub struct Procedure<N> {
    sink: String,
    /// The experiment it is created in.
    experiment: String,
    /// True when there may be a run from before births.
    may_be_older: bool,
    nonces: N,
    next: Next,
    /// The last record that was read or written, and its revision.
    known: (Option<Birth>, u64),
    /// A run we created and could not write down.
    orphan: Option<(String, String)>,
    is_new: bool,
}

impl<N: FnMut() -> String> Procedure<N> {
    /// Begins; `nonces` gives one that was never given before.
    pub fn new(sink: String, experiment: String, may_be_older: bool, nonces: N) -> Self {
        Self {
            sink,
            experiment,
            may_be_older,
            nonces,
            next: Next::Read,
            known: (None, 0),
            orphan: None,
            is_new: false,
        }
    }

    /// What is to be done.
    pub fn next(&self) -> &Next {
        &self.next
    }

    /// Goes on. What does not answer the last step is not looked at.
    pub fn heard(&mut self, heard: Heard) {
        let next = std::mem::replace(&mut self.next, Next::Read);
        self.next = match (next, heard) {
            (Next::Read, Heard::Record(birth, revision)) => {
                self.known = (birth, revision);
                self.judge()
            }
            (Next::SearchTags, Heard::Found(Some((id, experiment)))) => {
                let made = Birth::Made { id, experiment, is_from_birth: false, doubts: Vec::new() };
                Next::Put(made, self.known.1)
            }
            (Next::SearchTags, Heard::Found(None)) => self.announce(Vec::new()),
            (Next::SearchNonce(_), Heard::Found(Some((id, experiment)))) => self.write_down(id, experiment),
            (Next::SearchNonce(announced), Heard::Found(None)) => {
                let mut doubts = self.doubts();
                if doubts.len() < MAX_DOUBTS {
                    doubts.push(announced);
                    self.announce(doubts)
                } else {
                    Next::Create(announced)
                }
            }
            (Next::Fetch(_), Heard::Found(Some(_))) => self.done(),
            // Gone for good: somebody wiped the server.
            (Next::Fetch(_), Heard::Found(None)) => {
                let doubts = self.doubts();
                self.announce(doubts)
            }
            (Next::Put(birth, _), Heard::Put(Some(revision))) => {
                self.known = (Some(birth), revision);
                match &self.known.0 {
                    Some(Birth::Creating { announced, .. }) => Next::Create(announced.clone()),
                    Some(Birth::Made { .. }) | None => {
                        self.orphan = None;
                        self.done()
                    }
                }
            }
            (Next::Create(_), Heard::Created(id, experiment)) => {
                self.is_new = true;
                self.orphan = Some((id.clone(), experiment.clone()));
                self.write_down(id, experiment)
            }
            (Next::Delete(_), Heard::Deleted) => {
                self.orphan = None;
                self.is_new = false;
                Next::Read
            }
            // Lost to somebody else, or no answer to what was asked.
            (Next::Done(born), _) => Next::Done(born),
            (_, _) => Next::Read,
        };
    }

    /// What a record that was just read asks for.
    fn judge(&mut self) -> Next {
        if let (Some((ours, _)), birth) = (&self.orphan, &self.known.0) {
            match birth {
                // A write of our own whose answer was lost, or somebody adopted it.
                Some(Birth::Made { id, .. }) if id == ours => return self.done(),
                Some(Birth::Made { .. } | Birth::Creating { .. }) | None => {
                    return Next::Delete(ours.clone());
                }
            }
        }
        match &self.known.0 {
            Some(Birth::Made { id, .. }) => Next::Fetch(id.clone()),
            Some(Birth::Creating { announced, .. }) => Next::SearchNonce(announced.clone()),
            None if self.may_be_older => Next::SearchTags,
            None => self.announce(Vec::new()),
        }
    }

    fn announce(&mut self, doubts: Vec<Announcement>) -> Next {
        let announced = Announcement { nonce: (self.nonces)(), experiment: self.experiment.clone() };
        Next::Put(Birth::Creating { announced, sink: self.sink.clone(), doubts }, self.known.1)
    }

    fn write_down(&self, id: String, experiment: String) -> Next {
        let mut doubts = self.doubts();
        if let Some(Birth::Creating { announced, .. }) = &self.known.0
            && doubts.len() >= MAX_DOUBTS
        {
            doubts.push(announced.clone());
        }
        Next::Put(Birth::Made { id, experiment, is_from_birth: true, doubts }, self.known.1)
    }

    fn doubts(&self) -> Vec<Announcement> {
        self.known.0.as_ref().map(|birth| birth.doubts().to_vec()).unwrap_or_default()
    }

    fn done(&self) -> Next {
        match &self.known.0 {
            Some(Birth::Made { id, experiment, is_from_birth, .. }) => Next::Done(Born {
                id: id.clone(),
                experiment: experiment.clone(),
                is_from_birth: *is_from_birth,
                is_new: self.is_new,
            }),
            Some(Birth::Creating { .. }) | None => Next::Read,
        }
    }
}

#[cfg(test)]
mod tests;
