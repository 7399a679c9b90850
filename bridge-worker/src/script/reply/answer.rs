//! The answer in what a script has printed: its last JSON object.
//!
//! Pure.

use serde_json::{Map, Value};

/// Text quoted in a complaint.
const QUOTED_BYTES: usize = 120;

/// The last object that is not part of another.
pub(super) fn last_object(text: &str, is_cut: bool) -> Option<Map<String, Value>> {
    let mut found = None;
    let mut at = 0;
    while let Some(offset) = text[at..].find('{') {
        let begin = at + offset;
        at = begin + 1;
        // Of a document whose beginning is lost, parts remain that would pass for documents; none begins a line.
        if is_cut && (begin == 0 || text.as_bytes()[begin - 1] != b'\n') {
            continue;
        }
        let mut stream = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<Map<String, Value>>();
        if let Some(Ok(object)) = stream.next() {
            at = begin + stream.byte_offset();
            found = Some(object);
        }
    }
    found
}

/// Why there is none, for a person.
pub(super) fn no_answer(text: &str, is_cut: bool) -> String {
    let what = if text.trim().is_empty() {
        "the script printed nothing on standard output".to_owned()
    } else {
        let end = schemas::failure::bounded_tail(text.trim_end(), QUOTED_BYTES);
        format!("no JSON object is on the script's standard output, which ends with {end:?}")
    };
    let why = if is_cut { " (its beginning is not kept: too much was printed)" } else { "" };
    format!("{what}{why}; it has to print its result there as its last JSON object")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str, is_cut: bool) -> Option<Value> {
        last_object(text, is_cut).map(Value::Object)
    }

    #[test]
    fn the_last_object_counts_whatever_is_printed_around_it() {
        for (text, a) in [
            (r#"{"a": 1}"#, 1),
            ("epoch 1 {loss: 3}\n{\"a\": 1}\n{\"a\": 2}\nbye {}x".strip_suffix(" {}x").unwrap(), 2),
            ("{\n  \"b\": [\n    {\n      \"a\": 7\n    }\n  ],\n  \"a\": 3\n}\ndone\n", 3),
            ("100 %|####| {\"a\": 4}", 4),
            ("{\"a\": \"{\\\"a\\\": 9}\", \"a\": 5}", 5),
        ] {
            assert_eq!(object(text, false).unwrap()["a"], a, "{text}");
        }
        for text in ["", "{", "[1, 2]", "fine", "{'a': 1}"] {
            assert_eq!(object(text, false), None, "{text}");
        }
    }

    #[test]
    fn part_of_a_document_whose_beginning_is_lost_is_none() {
        assert_eq!(object("1}, {\"a\": 1}]}\n", true), None);
        assert_eq!(object("    {\n      \"a\": 1\n    }\n  ]\n}\n", true), None);
        assert_eq!(object("chatter\n{\"a\": 1}\n", true).unwrap()["a"], 1);
    }
}
