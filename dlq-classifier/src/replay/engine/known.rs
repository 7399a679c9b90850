//! What one program remembers of the tasks from turn to turn, so that none reads everything anew. It decides nothing: where
//! it is gone, or somebody else went on meanwhile, it is read again.

use std::collections::HashMap;

use crate::replay::letters::Letters;
use crate::replay::marks::Marks;

/// Tasks whose place is remembered; one more begins to read where it stands.
const MAX_PLACES: usize = 8;

/// What is remembered.
#[derive(Default)]
pub(crate) struct Known {
    pub(super) marks: Marks,
    letters: HashMap<String, Letters>,
}

impl Known {
    /// The letters of a task, if they are where it stands.
    pub(super) fn letters(&mut self, task: &str, cursor: u64) -> Option<Letters> {
        self.letters.remove(task).filter(|letters| letters.are_behind(cursor))
    }

    /// Keeps them for the next turn, closed.
    pub(super) fn keep(&mut self, task: &str, mut letters: Letters) {
        if self.letters.len() < MAX_PLACES {
            letters.pause();
            self.letters.insert(task.to_owned(), letters);
        }
    }
}
