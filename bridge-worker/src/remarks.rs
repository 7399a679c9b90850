//! What the end of a run warns of: few texts, each once.

use std::collections::BTreeSet;
use std::sync::Mutex;

use schemas::failure::bounded_head;

/// Most texts of one run: enough to see a pattern.
const MAX_REMARKS: usize = 20;

/// Longest of them.
const MAX_BYTES: usize = 1024;

/// The warnings of one attempt.
#[derive(Debug, Default)]
pub struct Remarks(Mutex<BTreeSet<String>>);

impl Remarks {
    /// Notes a text, if there is one.
    pub fn note(&self, text: Option<&str>) {
        let mut texts = self.0.lock().expect("nobody panics while holding the remarks");
        if let Some(text) = text
            && texts.len() < MAX_REMARKS
        {
            texts.insert(bounded_head(text, MAX_BYTES));
        }
    }

    /// Every text that was noted.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("nobody panics while holding the remarks").iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_kept_once_and_only_so_many() {
        let remarks = Remarks::default();
        remarks.note(None);
        (0..100).for_each(|number: u32| remarks.note(Some(&format!("remark {}", number / 2))));
        assert_eq!(remarks.all().len(), MAX_REMARKS);
    }
}
