//! Which entries an action is about. Pure; all flags given must hold.

use schemas::{FailureClass, Stage, Timestamp};
use service_kit::moment::{Moment, parse_moment};

use crate::entry::{Entry, State};

/// The filter flags of `list`, `replay` and `discard`.
#[derive(Debug, Clone, PartialEq, Eq, Default, clap::Args)]
pub struct Filter {
    /// Class of the fault, such as validation
    #[arg(long, value_name = "CLASS", value_parser = parse_class)]
    pub class: Option<FailureClass>,
    /// Where it showed: decode, validate, execute, publish or sink
    #[arg(long, value_name = "STAGE", value_parser = parse_stage)]
    pub stage: Option<Stage>,
    /// Subject the message came on; `*` stands for one word, `>` for the rest
    #[arg(long, value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// Run the message belongs to
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// Group of equal faults, or its first digits
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
    /// Given up since: a time such as 2026-01-31T12:00:00Z, or a while ago such as 2h
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub since: Option<Moment>,
    /// What became of it
    #[arg(long, value_enum, value_name = "STATE")]
    pub state: Option<State>,
}

impl Filter {
    /// True if no flag was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True if an entry is meant.
    pub fn takes(&self, entry: &Entry, now: Timestamp) -> bool {
        let given = |wanted: bool, holds: bool| !wanted || holds;
        given(self.class.is_some(), self.class == Some(entry.class))
            && given(self.stage.is_some(), self.stage == Some(entry.stage))
            && given(self.state.is_some(), self.state == Some(entry.state))
            && self.subject.as_ref().is_none_or(|pattern| is_match(pattern, &entry.subject))
            && given(self.run.is_some(), self.run == entry.run_id)
            && self.fingerprint.as_ref().is_none_or(|start| entry.fingerprint.starts_with(start.as_str()))
            && self.since.is_none_or(|since| entry.seen >= since.resolve(now))
    }
}

impl std::fmt::Display for Filter {
    /// As it was typed, for the record of an operation.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let since = self.since.map(|since| match since {
            Moment::At(moment) => moment.to_string(),
            Moment::Ago(micros) => format!("{}s", micros / 1_000_000),
        });
        let flags = [
            ("class", self.class.map(|class| class.to_string())),
            ("stage", self.stage.map(|stage| stage.to_string())),
            ("subject", self.subject.clone()),
            ("run", self.run.clone()),
            ("fingerprint", self.fingerprint.clone()),
            ("since", since),
            ("state", self.state.map(|state| state.as_str().to_owned())),
        ];
        let given =
            flags.into_iter().filter_map(|(name, value)| value.map(|value| format!("--{name} {value}")));
        f.write_str(&given.collect::<Vec<_>>().join(" "))
    }
}

/// NATS's own matching of a subject against a pattern.
pub(crate) fn is_match(pattern: &str, subject: &str) -> bool {
    let mut words = subject.split('.');
    let mut wanted = pattern.split('.');
    loop {
        match (wanted.next(), words.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(_)) => {}
            (Some(one), Some(other)) if one == other => {}
            (Some(_), _) | (None, Some(_)) => return false,
        }
    }
}

fn parse_class(text: &str) -> Result<FailureClass, String> {
    FailureClass::parse(text).ok_or_else(|| {
        let known: Vec<_> = FailureClass::ALL.iter().map(|class| class.as_str()).collect();
        format!("no such class; there are {}", known.join(", "))
    })
}

fn parse_stage(text: &str) -> Result<Stage, String> {
    let all = [Stage::Decode, Stage::Validate, Stage::Execute, Stage::Publish, Stage::Sink];
    all.into_iter()
        .find(|stage| stage.as_str() == text)
        .ok_or_else(|| "no such stage; there are decode, validate, execute, publish, sink".to_owned())
}

#[cfg(test)]
mod tests;
