//! Rows that come nearly in the order of the queue, told in that order. Pure.
//!
//! Records of a task are written batch by batch. Where one that was killed left a batch behind, its entries are on record
//! before those of the same batch that are done later, so no row comes earlier than its place by more than a batch.

use std::collections::BTreeMap;

use super::ReplayResult;

/// Rows that wait for those before them.
pub(super) struct InOrder {
    waiting: BTreeMap<u64, ReplayResult>,
    most: usize,
}

impl InOrder {
    /// Of rows that come early by `most` at most.
    pub(super) fn new(most: usize) -> Self {
        Self { waiting: BTreeMap::new(), most }
    }

    /// Takes the next row, and gives one nothing comes before any more. Of two for one entry the later counts.
    pub(super) fn push(&mut self, row: ReplayResult) -> Option<ReplayResult> {
        self.waiting.insert(row.kept_at, row);
        if self.waiting.len() > self.most { self.waiting.pop_first().map(|(_, row)| row) } else { None }
    }

    /// Those that still wait.
    pub(super) fn rest(self) -> impl Iterator<Item = ReplayResult> {
        self.waiting.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replay::Outcome;

    #[test]
    fn rows_that_come_early_are_told_in_their_place_and_once() {
        let mut in_order = InOrder::new(3);
        let mut told = Vec::new();
        for place in [1, 4, 2, 3, 4, 7, 5, 6, 8] {
            let row = ReplayResult::named("e", place, Outcome::Replayed, None);
            told.extend(in_order.push(row).map(|row| row.kept_at));
            assert!(in_order.waiting.len() <= 3);
        }
        told.extend(in_order.rest().map(|row| row.kept_at));
        assert_eq!(told, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
