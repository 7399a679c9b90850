//! The names of the verdict's headers, and which of them a name is. A queue is read with millions of these questions, so
//! that most of each answer is found when this is compiled.

/// The verdict's headers, without their prefix.
pub(super) const NAMES: [&str; 16] = [
    "Id",
    "Class",
    "Stage",
    "Reason",
    "Fingerprint",
    "Stream",
    "Sequence",
    "Consumer",
    "Subject",
    "Deliveries",
    "First-Seen",
    "Seen",
    "Replays",
    "Cause",
    "Run",
    "Payload",
];

/// Where one of [`NAMES`] stands, told when this is compiled: a queue is read with millions of these questions.
pub(super) const fn at(name: &str) -> usize {
    let mut place = 0;
    while !is_same(NAMES[place].as_bytes(), name.as_bytes()) {
        place += 1;
    }
    place
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// Which of the verdict's headers a name is. All but a stranger's are written as ours are.
pub(super) fn place_of(name: &str) -> Option<usize> {
    let beginning = beginning(name.as_bytes());
    let as_written = BEGINNINGS.iter().position(|known| *known == beginning);
    as_written
        .filter(|place| NAMES[*place] == name)
        .or_else(|| NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)))
}

/// How each of [`NAMES`] begins: sixteen numbers are compared in less time than two texts.
const BEGINNINGS: [u64; NAMES.len()] = {
    let (mut all, mut place) = ([0; NAMES.len()], 0);
    while place < NAMES.len() {
        all[place] = beginning(NAMES[place].as_bytes());
        place += 1;
    }
    all
};

/// The length of a name and its first letters, as a number.
const fn beginning(name: &[u8]) -> u64 {
    let (mut number, mut index) = (name.len() as u64, 0);
    while index < name.len() && index < 7 {
        number = number << 8 | name[index] as u64;
        index += 1;
    }
    number
}
