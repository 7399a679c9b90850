//! Sets of sequences as ranges, first and last included, ascending and apart from each other. Pure.

/// One range.
pub(crate) type Range = (u64, u64);

/// What of a set is not in another.
pub(crate) fn without(set: &[Range], cuts: &[Range]) -> Vec<Range> {
    let mut left = Vec::new();
    for &(from, to) in set {
        let mut next = Some(from);
        let behind = cuts.partition_point(|(_, end)| *end < from);
        for &(start, end) in cuts[behind..].iter().take_while(|(start, _)| *start <= to) {
            let Some(begin) = next else { break };
            if start > begin {
                left.push((begin, start - 1));
            }
            // Behind the last number there is there is no other.
            next = end.checked_add(1).map(|behind| begin.max(behind));
        }
        left.extend(next.filter(|begin| *begin <= to).map(|begin| (begin, to)));
    }
    left
}

/// What two sets have in common.
pub(crate) fn common(set: &[Range], other: &[Range]) -> Vec<Range> {
    without(set, &without(set, other))
}

/// Reads a range in the form in which [`shown`] writes it.
pub(crate) fn parse(text: &str) -> Result<Range, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |digits: &str| digits.parse::<u64>().ok().filter(|_| digits.starts_with(char::is_numeric));
    match (number(from), number(to)) {
        (Some(0), _) => Err("sequences begin with 1".to_owned()),
        (Some(from), Some(to)) if from > to => Err(format!("{from} is behind {to}: write {to}-{from}")),
        (Some(from), Some(to)) => Ok((from, to)),
        (None, _) | (_, None) => {
            Err("write a sequence such as 42, or a range such as 40-99, as `audit` names them".to_owned())
        }
    }
}

/// One range, for people and for command lines.
pub(crate) fn shown((from, to): Range) -> String {
    if from == to { from.to_string() } else { format!("{from}-{to}") }
}

/// The first of many ranges, and how many there are besides.
pub(crate) fn some_shown(ranges: &[Range], most: usize) -> String {
    let first: Vec<String> = ranges.iter().take(most).map(|range| shown(*range)).collect();
    match ranges.len().saturating_sub(most) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
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
        assert_eq!(common(&set, &[(1, 1), (3, 11), (20, 90)]), [(1, 1), (3, 5), (10, 11), (20, 20)]);
        assert_eq!(without(&[(3, u64::MAX)], &[(5, u64::MAX)]), [(3, 4)]);
        assert_eq!(total(&set), 16);
        let held: Vec<u64> = (0..22).filter(|seq| holds(&set, *seq)).collect();
        assert_eq!(held, (1..=5).chain(10..=20).collect::<Vec<_>>());
    }

    #[test]
    fn a_range_reads_what_it_shows_and_says_what_is_wrong_with_others() {
        for range in [(1, 1), (40, 99), (u64::MAX - 1, u64::MAX)] {
            assert_eq!(parse(&shown(range)), Ok(range));
        }
        assert_eq!(parse("40-40"), Ok((40, 40)));
        for (text, words) in [("0", "begin with 1"), ("0-3", "begin with 1"), ("9-2", "write 2-9")] {
            assert!(parse(text).unwrap_err().contains(words), "{text}");
        }
        for text in ["", "x", "-3", "3-", "+3", "1-2-3", "1 - 2", "99999999999999999999"] {
            assert!(parse(text).unwrap_err().contains("40-99"), "{text}");
        }
        let many: Vec<Range> = (1..=9).map(|at| (at * 10, at * 10 + 1)).collect();
        assert_eq!(some_shown(&many, 2), "10-11, 20-21 and 7 more");
        assert_eq!(some_shown(&many[..1], 2), "10-11");
    }
}
