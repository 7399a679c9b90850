//! The dead letter: the original payload, byte for byte, the original headers, and the verdict beside them.
//!
//! Headers with a meaning for the broker (`Nats-*`: message id, expected sequence, TTL, roll-up) are kept under
//! `Cerebros-Original-<name>`, because repeating them would act again; so are those that begin like the letter's own, which
//! would be taken for a verdict.

mod form;

use sha2::{Digest, Sha256};

pub use form::{Form, beside, block, block_bytes, block_bytes_said, fits};

use crate::failure::bounded_head;
use crate::headers::{Headers, header, starts_with_ignoring_case};
use crate::{FailureClass, RunId, Stage, Timestamp, subject};

/// Prefix of the verdict's headers.
const PREFIX: &str = "Cerebros-Dlq-";
/// Prefix under which the broker's own headers are kept.
const ORIGINAL_PREFIX: &str = "Cerebros-Original-";
/// The verdict's headers, without their prefix.
const NAMES: [&str; 16] = [
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
/// Longest reason kept in a header.
const MAX_REASON_BYTES: usize = 1024;
/// Header with the identity of an entry.
pub const ID: &str = "Cerebros-Dlq-Id";
/// Header that counts how often the message has been replayed already.
pub const REPLAYS: &str = "Cerebros-Dlq-Replays";
/// Replays after which a message that dies again is a replay loop. One that died three times more, with a person looking
/// on each time, is not cured by a fourth; bulk replays leave it alone from then on.
pub const MAX_REPLAYS: u32 = 3;
/// What the letter of a message that was gone says of its payload.
const PAYLOAD_GONE: &str = "gone";
/// Header of a replayed message that names the dead letter it came from.
pub const REPLAY_OF: &str = "Cerebros-Replay-Of";

/// Why a message is dead, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Identity of the entry.
    pub id: String,
    /// Class of the fault.
    pub class: FailureClass,
    /// Where it showed.
    pub stage: Stage,
    /// The failing path and what was expected.
    pub reason: String,
    /// Groups equal faults.
    pub fingerprint: String,
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took it in.
    pub first_seen: Timestamp,
    /// When it was given up.
    pub seen: Timestamp,
    /// How often it had been replayed before.
    pub replays: u32,
    /// Class of the fault itself, when [`Verdict::class`] says that it is a replay loop.
    pub cause: Option<FailureClass>,
    /// Run the message belongs to, as far as whoever gave it up could tell; letters of earlier builds do not say.
    pub run: Option<String>,
    /// The message was gone from its stream when it was looked for, or was left there: the letter holds no payload and no
    /// headers of it.
    pub is_payload_gone: bool,
}

/// Where a message stood when it was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Stream the message was in.
    pub stream: String,
    /// Its sequence there.
    pub sequence: u64,
    /// Consumer that could not handle it.
    pub consumer: String,
    /// Subject it came on.
    pub subject: String,
    /// Deliveries it took.
    pub deliveries: u64,
    /// When the stream took it in.
    pub first_seen: Timestamp,
}

impl Place {
    /// The entry's id: the sequence, and eight digits that tell consumers and streams apart. The same place gives the
    /// same id whoever asks.
    pub fn entry_id(&self) -> String {
        let digest = Sha256::new()
            .chain_update(&self.stream)
            .chain_update([0])
            .chain_update(&self.consumer)
            .chain_update(self.first_seen.micros().to_be_bytes())
            .finalize();
        let digits: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        format!("{}-{digits}", self.sequence)
    }

    /// The run that a request at this place is for when it names none: the same for every reader.
    pub fn derived_run(&self) -> RunId {
        RunId::derive(&self.stream, self.sequence, u64::try_from(self.first_seen.millis()).unwrap_or(0))
    }

    /// The message id that makes a second dead letter of one cause a duplicate.
    pub fn message_id(&self) -> String {
        format!("dlq:{}:{}:{}", self.stream, self.sequence, self.consumer)
    }

    /// The same where the letter of another message has that id. A stream gives a sequence out again after it has lost
    /// its tail with the power, came back from a backup or was made anew.
    pub fn own_message_id(&self) -> String {
        format!("{}:{}", self.message_id(), self.first_seen.micros())
    }
}

impl Verdict {
    /// The verdict on a message at a place.
    pub fn new(place: &Place, failure: &crate::Failure, seen: Timestamp, original: &Headers) -> Self {
        // Only a replay of ours names what it came from; whoever else sets the counter is not believed.
        let replays = original.get(REPLAYS).filter(|_| original.get(REPLAY_OF).is_some());
        let replays = replays.and_then(|text| text.parse().ok()).unwrap_or(0);
        let is_loop = replays >= MAX_REPLAYS;
        Self {
            id: place.entry_id(),
            class: if is_loop { FailureClass::ReplayLoop } else { failure.class },
            stage: failure.stage,
            reason: failure.message.clone(),
            fingerprint: failure.fingerprint.clone(),
            stream: place.stream.clone(),
            sequence: place.sequence,
            consumer: place.consumer.clone(),
            subject: place.subject.clone(),
            deliveries: place.deliveries,
            first_seen: place.first_seen,
            seen,
            replays,
            cause: is_loop.then_some(failure.class),
            run: None,
            is_payload_gone: false,
        }
    }

    /// The same, with the run the message belongs to.
    #[must_use]
    pub fn of_run(self, run: Option<String>) -> Self {
        Self { run, ..self }
    }

    /// The same for a message that is gone.
    #[must_use]
    pub fn without_payload(self) -> Self {
        Self { is_payload_gone: true, ..self }
    }

    /// Where the message stood when it was given up.
    pub fn place(&self) -> Place {
        Place {
            stream: self.stream.clone(),
            sequence: self.sequence,
            consumer: self.consumer.clone(),
            subject: self.subject.clone(),
            deliveries: self.deliveries,
            first_seen: self.first_seen,
        }
    }

    /// Subject the dead letter is kept on.
    pub fn kept_on(&self) -> String {
        subject::dead_letter(self.class, &self.subject)
    }

    /// Headers of the dead letter.
    pub fn headers(&self, original: &Headers, message_id: &str) -> Headers {
        let mut headers = Headers(kept(original).collect());
        headers.push(header::MESSAGE_ID, message_id);
        let mut put = |name: &str, value: String| headers.push(&format!("{PREFIX}{name}"), value);
        put("Id", self.id.clone());
        put("Class", self.class.to_string());
        put("Stage", self.stage.to_string());
        put("Reason", one_line(&self.reason, MAX_REASON_BYTES));
        put("Fingerprint", self.fingerprint.clone());
        put("Stream", self.stream.clone());
        put("Sequence", self.sequence.to_string());
        put("Consumer", self.consumer.clone());
        put("Subject", self.subject.clone());
        put("Deliveries", self.deliveries.to_string());
        put("First-Seen", self.first_seen.to_string());
        put("Seen", self.seen.to_string());
        put("Replays", self.replays.to_string());
        if let Some(cause) = self.cause {
            put("Cause", cause.to_string());
        }
        if let Some(run) = &self.run {
            put("Run", one_line(run, MAX_REASON_BYTES));
        }
        if self.is_payload_gone {
            put("Payload", PAYLOAD_GONE.to_owned());
        }
        headers
    }

    /// Reads the verdict back; `None` when a header is missing or broken.
    pub fn read(headers: &Headers) -> Option<Self> {
        Self::find(headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// The same from headers in any form and order, in one pass over them.
    pub fn find<'a>(headers: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut found: [Option<&str>; NAMES.len()] = [None; NAMES.len()];
        for (name, value) in headers.filter(|(name, _)| starts_with_ignoring_case(name, PREFIX)) {
            if let Some(at) = place_of(&name[PREFIX.len()..]) {
                // Of a header that is given twice the least value counts, in whatever order they come.
                found[at] = Some(found[at].map_or(value, |known| known.min(value)));
            }
        }
        let stage = [Stage::Decode, Stage::Validate, Stage::Execute, Stage::Publish, Stage::Sink]
            .into_iter()
            .find(|stage| found[const { at("Stage") }] == Some(stage.as_str()))?;
        Some(Self {
            id: found[const { at("Id") }]?.to_owned(),
            class: FailureClass::parse(found[const { at("Class") }]?)?,
            stage,
            reason: found[const { at("Reason") }]?.to_owned(),
            fingerprint: found[const { at("Fingerprint") }]?.to_owned(),
            stream: found[const { at("Stream") }]?.to_owned(),
            sequence: found[const { at("Sequence") }]?.parse().ok()?,
            consumer: found[const { at("Consumer") }]?.to_owned(),
            subject: found[const { at("Subject") }]?.to_owned(),
            deliveries: found[const { at("Deliveries") }]?.parse().ok()?,
            first_seen: Timestamp::parse(found[const { at("First-Seen") }]?).ok()?,
            seen: Timestamp::parse(found[const { at("Seen") }]?).ok()?,
            replays: found[const { at("Replays") }]?.parse().ok()?,
            cause: found[const { at("Cause") }].and_then(FailureClass::parse),
            run: found[const { at("Run") }].map(str::to_owned),
            is_payload_gone: found[const { at("Payload") }].is_some(),
        })
    }
}

/// The headers of a message as its letter has them. What begins like a header of the letter's, or has a meaning for the
/// broker, is kept under another name, and no name of a message becomes that of another.
fn kept(original: &Headers) -> impl Iterator<Item = (String, String)> {
    original.0.iter().map(|(name, value)| {
        let name = if has_another_meaning(name) { format!("{ORIGINAL_PREFIX}{name}") } else { name.clone() };
        (name, value.clone())
    })
}

fn has_another_meaning(name: &str) -> bool {
    [PREFIX, ORIGINAL_PREFIX, "Nats-"].iter().any(|prefix| starts_with_ignoring_case(name, prefix))
}

/// Where one of [`NAMES`] stands, told when this is compiled: a queue is read with millions of these questions.
const fn at(name: &str) -> usize {
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
fn place_of(name: &str) -> Option<usize> {
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

/// The headers the message had before it died, as far as they may be sent again: without the verdict, without what
/// had a meaning for the broker.
pub fn original_headers(headers: &Headers) -> Headers {
    Headers(headers.0.iter().filter(|(name, _)| !has_another_meaning(name)).cloned().collect())
}

/// The message id the message had before it died.
pub fn original_message_id(headers: &Headers) -> Option<&str> {
    headers.get(&format!("{ORIGINAL_PREFIX}{}", header::MESSAGE_ID))
}

/// A text as a header value: one line of so many bytes at most.
pub fn one_line(text: &str, bytes: usize) -> String {
    let flat: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    bounded_head(flat.trim(), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;

    fn place() -> Place {
        Place {
            stream: "CEREBROS".into(),
            sequence: 42,
            consumer: "dlq-classifier".into(),
            subject: "ml.run.trial".into(),
            deliveries: 1,
            first_seen: Timestamp::from_micros(1_700_000_000_000_000),
        }
    }

    #[test]
    fn a_verdict_survives_its_headers_and_the_broker_s_headers_are_put_aside() {
        let original = Headers(vec![
            ("Nats-Msg-Id".into(), "mine".into()),
            ("Cerebros-Original-Nats-Msg-Id".into(), "not mine".into()),
            ("nats-expected-last-sequence".into(), "7".into()),
            ("X-Mine".into(), "kept".into()),
            (REPLAYS.into(), "2".into()),
            (REPLAY_OF.into(), "7-abcd".into()),
        ]);
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, "line one\r\nline two");
        let verdict =
            Verdict::new(&place(), &failure, Timestamp::from_micros(1_700_000_001_000_000), &original);
        let headers = verdict.headers(&original, &place().message_id());
        let read = Verdict::read(&headers).unwrap();
        let aside = headers.get("Cerebros-Original-Cerebros-Dlq-Replays");
        assert_eq!(
            (aside, headers.get(REPLAYS)),
            (Some("2"), Some("2")),
            "the message's own, and the verdict's"
        );
        let twice = "Cerebros-Original-Cerebros-Original-Nats-Msg-Id";
        assert_eq!(headers.get(twice), Some("not mine"));
        assert_eq!(read.reason, "line one  line two");
        assert_eq!(Verdict { reason: verdict.reason.clone(), ..read }, verdict);
        assert_eq!(verdict.replays, 2);
        assert_eq!(headers.get("Nats-Msg-Id"), Some("dlq:CEREBROS:42:dlq-classifier"));
        assert_eq!(original_message_id(&headers), Some("mine"));
        assert_eq!(headers.get("nats-expected-last-sequence"), None);
        let kept = [("X-Mine", "kept"), (REPLAY_OF, "7-abcd")];
        let kept: Vec<_> =
            kept.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(original_headers(&headers).0, kept);
    }

    #[test]
    fn that_a_message_was_gone_is_read_back() {
        let failure = Failure::new(FailureClass::WorkerLost, Stage::Execute, "lost");
        let headers = Headers::default();
        let verdict = Verdict::new(&place(), &failure, Timestamp::from_micros(2), &headers);
        for verdict in [verdict.clone(), verdict.without_payload()] {
            assert_eq!(Verdict::read(&verdict.headers(&headers, "m")), Some(verdict));
        }
    }

    #[test]
    fn a_message_that_dies_after_its_last_replay_is_a_loop_and_a_counter_of_somebody_else_is_not_believed() {
        let failure = Failure::new(FailureClass::Decode, Stage::Decode, "no JSON");
        let seen = Timestamp::from_micros(1_700_000_001_000_000);
        let mut original = Headers(vec![(REPLAYS.into(), MAX_REPLAYS.to_string())]);
        let stranger = Verdict::new(&place(), &failure, seen, &original);
        assert_eq!((stranger.class, stranger.replays, stranger.cause), (FailureClass::Decode, 0, None));
        original.push(REPLAY_OF, "7-abcd".to_owned());
        let ours = Verdict::new(&place(), &failure, seen, &original);
        assert_eq!((ours.class, ours.cause), (FailureClass::ReplayLoop, Some(FailureClass::Decode)));
        assert_eq!(ours.fingerprint, failure.fingerprint, "loops are grouped by their cause");
        assert_eq!(Verdict::read(&ours.headers(&original, "m")), Some(ours));
    }
}
