//! "Did you mean": the known name nearest to what was written, if any is near enough to be a slip.

/// Nothing we know is longer; a longer name is no slip of one, and comparing it would cost time for nothing.
const LONGEST_NAME: usize = 32;

/// The nearest of `known` within a third of the name's length (at least one edit), or nothing.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = name.trim().to_lowercase();
    if name.is_empty() || name.len() > LONGEST_NAME {
        return None;
    }
    known
        .iter()
        .map(|candidate| (edits(&name, candidate), *candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len().max(name.len()) / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_finds_its_name_and_a_stranger_finds_none() {
        assert_eq!(nearest("randm", &["ga", "random"]), Some("random"));
        assert_eq!(nearest("GA ", &["ga", "random"]), Some("ga"));
        assert_eq!(nearest("bayesian", &["ga", "random"]), None);
        assert_eq!(nearest("", &["ga"]), None);
        assert_eq!(nearest(&"g".repeat(10_000), &["ga"]), None);
    }
}
