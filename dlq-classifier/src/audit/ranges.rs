//! Sets of sequences as ranges, first and last included, ascending and apart from each other. Pure.

/// One range.
pub(crate) type Range = (u64, u64);

/// What of a set is not in another.
pub(crate) fn without(set: &[Range], cuts: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    for &(from, to) in set {
        let mut next = from;
        let behind = cuts.partition_point(|(_, end)| *end < from);
        for &(start, end) in cuts[behind..].iter().take_while(|(start, _)| *start <= to) {
            if start > next {
                left.push((next, start - 1));
            }
            next = next.max(end.saturating_add(1));
        }
        if next <= to {
            left.push((next, to));
        }
    }
    left
}

/// True if a set holds a sequence.
pub(crate) fn holds(set: &[Range], seq: u64) -> bool {
    let at = set.partition_point(|(_, end)| *end < seq);
    set.get(at).is_some_and(|(start, _)| *start <= seq)
}

/// How many sequences a set holds.
pub(crate) fn total(set: &[Range]) -> u64 {
    set.iter().map(|(from, to)| to - from + 1).sum()
}

/// Ranges in any order as a set.
pub(crate) fn united(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|(from, to)| from <= to);
    ranges.sort_unstable();
    let mut set: Vec<Range> = Vec::with_capacity(ranges.len());
    for (from, to) in ranges {
        match set.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            Some(_) | None => set.push((from, to)),
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_out_is_gone_and_the_rest_stays() {
        let set = united(vec![(10, 20), (1, 3), (4, 5), (9, 1)]);
        assert_eq!(set, [(1, 5), (10, 20)]);
        assert_eq!(without(&set, &[(1, 1), (3, 11), (15, 15), (20, 90)]), [(2, 2), (12, 14), (16, 19)]);
        assert_eq!(without(&set, &[]), set);
        assert_eq!(total(&set), 16);
        let held: Vec<u64> = (0..22).filter(|seq| holds(&set, *seq)).collect();
        assert_eq!(held, (1..=5).chain(10..=20).collect::<Vec<_>>());
    }
}
