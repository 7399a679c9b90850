//! The labelled corpus: every malformed message gets the class, the stage and the words a person needs to repair it.

use schemas::cloudevents::Headers;
use schemas::event::RunRequested;
use schemas::{Encoding, Timestamp, codec, expiry};
use serde::Deserialize;
use serde_json::Value;

/// One malformed message and the verdict it deserves.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) subject: String,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) class: String,
    pub(crate) stage: String,
    /// What the reason has to say: the path, the expectation, the finding.
    pub(crate) says: Vec<String>,
    /// True when a broker with our streams does not take it in the first place.
    #[serde(default)]
    pub(crate) refused_by_broker: bool,
    text: Option<String>,
    hex: Option<String>,
    repeat: Option<Repeat>,
    avro: Option<Avro>,
}

/// A payload too long to be written out.
#[derive(Debug, Deserialize)]
struct Repeat {
    before: String,
    unit: String,
    times: usize,
    after: String,
}

/// An Avro encoding of a request, damaged.
#[derive(Debug, Deserialize)]
struct Avro {
    event: RunRequested,
    keep: Option<usize>,
    cut: Option<usize>,
    append: Option<String>,
}

impl Case {
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub(crate) fn payload(&self) -> Vec<u8> {
        match (&self.text, &self.hex, &self.repeat, &self.avro) {
            (Some(text), None, None, None) => text.clone().into_bytes(),
            (None, Some(hex), None, None) => bytes(hex),
            (None, None, Some(repeat), None) => {
                format!("{}{}{}", repeat.before, repeat.unit.repeat(repeat.times), repeat.after).into_bytes()
            }
            (None, None, None, Some(avro)) => avro.payload(),
            _ => panic!("{}: one payload is expected", self.name),
        }
    }
}

impl Avro {
    fn payload(&self) -> Vec<u8> {
        let mut bytes_ = codec::encode(&self.event.clone().into(), Encoding::Avro).unwrap();
        bytes_.truncate(self.keep.unwrap_or(bytes_.len() - self.cut.unwrap_or(0)));
        bytes_.extend(self.append.as_deref().map(bytes).unwrap_or_default());
        bytes_
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn corpus() -> Vec<Case> {
    serde_json::from_str(include_str!("../corpus/malformed.json")).unwrap()
}

/// An event that is well formed, and cannot be after those before it.
#[derive(Debug, Deserialize)]
pub(crate) struct Misplaced {
    pub(crate) name: String,
    before: Vec<(String, Value)>,
    pub(crate) subject: String,
    json: Value,
    pub(crate) says: Vec<String>,
}

impl Misplaced {
    /// What comes before it, subject and payload, of run `run`.
    pub(crate) fn before(&self, run: &str) -> Vec<(String, String)> {
        self.before.iter().map(|(subject, json)| (subject.clone(), of_run(json, run))).collect()
    }

    /// Its payload.
    pub(crate) fn payload(&self, run: &str) -> String {
        of_run(&self.json, run)
    }
}

fn of_run(json: &Value, run: &str) -> String {
    json.to_string().replace("{run}", run)
}

pub(crate) fn semantic() -> Vec<Misplaced> {
    serde_json::from_str(include_str!("../corpus/semantic.json")).unwrap()
}

/// A request that can be read, and a moment at which a worker takes it.
#[derive(Debug, Deserialize)]
pub(crate) struct Taken {
    pub(crate) name: String,
    headers: Vec<(String, String)>,
    text: String,
    taken: Timestamp,
    class: Option<String>,
    says: Vec<String>,
}

impl Taken {
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

pub(crate) fn expired() -> Vec<Taken> {
    serde_json::from_str(include_str!("../corpus/expired.json")).unwrap()
}

#[test]
fn what_was_taken_too_late_has_expired_and_nothing_else() {
    for case in expired() {
        let headers = Headers(case.headers.clone());
        let decoded = codec::decode("cerebros.nas.run.requested", &headers, case.payload());
        let found = expiry::refusal(decoded.expect(&case.name).expires, case.taken);
        let class = found.as_ref().map(|failure| failure.class.as_str());
        assert_eq!(class, case.class.as_deref(), "{}", case.name);
        let reason = found.map(|failure| failure.message).unwrap_or_default();
        assert!(case.says.iter().all(|words| reason.contains(words.as_str())), "{}: {reason}", case.name);
    }
}

#[test]
fn the_corpus_is_classified_without_a_mistake() {
    let corpus = corpus();
    assert!(corpus.len() + semantic().len() + expired().len() >= 200);
    let mut mistakes = Vec::new();
    for case in &corpus {
        let found = match codec::decode(&case.subject, &Headers(case.headers.clone()), &case.payload()) {
            Ok(_) => Err("taken for valid".to_owned()),
            Err(error) => Ok(error.to_failure()),
        };
        let is_right = found.as_ref().is_ok_and(|failure| {
            failure.class.as_str() == case.class
                && failure.stage.as_str() == case.stage
                && case.says.iter().all(|words| failure.message.contains(words.as_str()))
        });
        if !is_right {
            let found =
                found.map(|failure| format!("{} {} {:?}", failure.class, failure.stage, failure.message));
            mistakes.push(format!(
                "{}: expected {} {} {:?}, found {found:?}",
                case.name, case.class, case.stage, case.says
            ));
        }
    }
    assert!(mistakes.is_empty(), "{} of {}:\n{}", mistakes.len(), corpus.len(), mistakes.join("\n"));
}
