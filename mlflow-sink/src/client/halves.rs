//! A request that is too large, in two.

use crate::projection::split::Batch;

/// The two halves of a batch, in the order they are to be written; none of a single entry.
pub(super) fn of(mut batch: Batch) -> Option<(Batch, Batch)> {
    let entries = batch.params.len() + batch.metrics.len() + batch.tags.len();
    if entries < 2 {
        return None;
    }
    let mut room = entries / 2;
    let first = Batch {
        params: front(&mut batch.params, &mut room),
        metrics: front(&mut batch.metrics, &mut room),
        tags: front(&mut batch.tags, &mut room),
    };
    Some((first, batch))
}

fn front<T>(entries: &mut Vec<T>, room: &mut usize) -> Vec<T> {
    let count = entries.len().min(*room);
    *room -= count;
    entries.drain(..count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::projection::split::Pair;

    fn pairs(names: &[&str]) -> Vec<Pair> {
        names.iter().map(|name| Pair { key: (*name).to_owned(), value: String::new() }).collect()
    }

    #[test]
    fn halves_hold_everything_in_order() {
        let batch = Batch { params: pairs(&["a", "b", "c"]), metrics: Vec::new(), tags: pairs(&["d", "e"]) };
        let (first, second) = of(batch).unwrap();
        assert_eq!(first, Batch { params: pairs(&["a", "b"]), ..Batch::default() });
        assert_eq!(second, Batch { params: pairs(&["c"]), tags: pairs(&["d", "e"]), ..Batch::default() });
    }

    #[test]
    fn one_entry_has_no_halves() {
        assert_eq!(of(Batch { tags: pairs(&["a"]), ..Batch::default() }), None);
        assert_eq!(of(Batch::default()), None);
    }
}
