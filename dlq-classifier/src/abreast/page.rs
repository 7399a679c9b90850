//! A page of the queue between being read and being told. Pure.

use crate::entry::Entry;
use crate::standing::Told;

/// The letters of a page, in the order of the stream.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The digest of each.
    digests: Vec<u64>,
    /// Those that are wanted, and which of them it is.
    wanted: Vec<(usize, Entry)>,
}

impl Page {
    /// Takes the next letter: its digest, and its entry where that is wanted.
    pub(super) fn take(&mut self, digest: u64, entry: Option<Entry>) {
        self.wanted.extend(entry.map(|entry| (self.digests.len(), entry)));
        self.digests.push(digest);
    }

    /// Letters there are.
    pub(super) fn len(&self) -> usize {
        self.digests.len()
    }

    /// Leaves out the second letters of entries. Pages have to be told in the order of the stream.
    pub(super) fn tell(&mut self, told: &mut Told) {
        let seconds: Vec<bool> = self.digests.iter().map(|digest| !told.is_first(*digest)).collect();
        if seconds.contains(&true) {
            self.wanted.retain(|(which, _)| !seconds[*which]);
        }
    }

    /// Hands over the entries that are wanted, and begins anew.
    pub(super) fn take_entries(&mut self) -> impl Iterator<Item = Entry> {
        self.digests.clear();
        self.wanted.drain(..).map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use schemas::{FailureClass, Stage, Timestamp};

    use super::*;
    use crate::entry::State;

    fn entry(id: &str) -> Entry {
        Entry {
            id: id.to_owned(),
            state: State::Open,
            class: FailureClass::Decode,
            stage: Stage::Decode,
            reason: String::new(),
            fingerprint: String::new(),
            stream: String::new(),
            seq: 1,
            consumer: String::new(),
            subject: String::new(),
            run_id: None,
            deliveries: 1,
            first_seen: Timestamp::default(),
            replays: 0,
            bytes: 1,
            seen: Timestamp::default(),
            kept_at: 1,
        }
    }

    fn told(page: &mut Page, told: &mut Told) -> Vec<String> {
        page.tell(told);
        page.take_entries().map(|entry| entry.id).collect()
    }

    #[test]
    fn a_second_letter_is_left_out_on_the_same_page_and_on_a_later_one() {
        let (mut page, mut all) = (Page::default(), Told::default());
        for (digest, id) in [(1, "a"), (2, "b"), (1, "a again")] {
            page.take(digest, Some(entry(id)));
        }
        assert_eq!(told(&mut page, &mut all), ["a", "b"]);
        for (digest, id) in [(3, "c"), (2, "b again")] {
            page.take(digest, Some(entry(id)));
        }
        assert_eq!(page.len(), 2);
        assert_eq!(told(&mut page, &mut all), ["c"]);
    }

    #[test]
    fn the_second_letter_of_an_entry_whose_first_was_not_wanted_is_no_first() {
        let (mut page, mut all) = (Page::default(), Told::default());
        page.take(1, None);
        page.take(2, Some(entry("b")));
        page.take(1, Some(entry("a again")));
        assert_eq!(told(&mut page, &mut all), ["b"]);
    }
}
