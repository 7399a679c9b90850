//! The registry in the broker, held against this build: what is known, missing, in conflict, unreadable.

use std::collections::BTreeMap;

use schemas::codec::Foreign;
use schemas::record::{Fingerprint, Version};
use serde::Serialize;

use super::{Contents, Unavailable};
use crate::broker::Broker;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Row;

/// What stands there and what should, one row each.
///
/// # Errors
/// The registry does not answer.
pub async fn rows(broker: &Broker) -> Result<Vec<Line>, CliError> {
    let contents = super::contents(broker).await.map_err(silent)?;
    let mut lines = compare(&contents);
    for line in &mut lines {
        if line.state == State::Unknown
            && let Some(fingerprint) = Fingerprint::parse(&line.fingerprint)
            && let Some(text) = super::look_up(broker, fingerprint).await.map_err(silent)?
        {
            line.readable = Foreign::read(fingerprint, &text).is_readable();
        }
    }
    Ok(lines)
}

/// What is wrong with the registry, seen from this build.
#[derive(Debug, Default)]
pub struct Standing {
    /// Versions that are not registered yet.
    pub missing: usize,
    /// Versions under which the registry has another schema.
    pub conflicts: Vec<String>,
    /// Schemas this build was not made with and cannot read.
    pub unreadable: Vec<String>,
}

impl Standing {
    /// Sums up how this build and the registry stand to each other.
    ///
    /// # Errors
    /// The registry does not answer.
    pub async fn look_up(broker: &Broker) -> Result<Self, CliError> {
        let mut standing = Self::default();
        for line in rows(broker).await? {
            let name = || {
                let record = line.record.as_deref().unwrap_or("?");
                line.version.map_or_else(|| record.to_owned(), |version| format!("{record} v{version}"))
            };
            match line.state {
                State::Known => {}
                State::Missing => standing.missing += 1,
                State::Conflict => standing.conflicts.push(name()),
                State::Unknown if line.readable => {}
                State::Unknown => standing.unreadable.push(name()),
            }
        }
        Ok(standing)
    }
}

/// What it means for a command that the registry cannot be asked.
pub fn silent(error: Unavailable) -> CliError {
    CliError::new("registry-unreadable", Exit::Unreachable, "the registry of schemas cannot be read")
        .because(error)
        .help("the first service that starts creates it; `cerebros up` starts one, `cerebros doctor` tells more")
}

/// How a version stands between the registry and this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// In both, the same.
    Known,
    /// In the registry only: somebody newer, or somebody else, has put it there.
    Unknown,
    /// In this build only: no service of this build has started on that broker.
    Missing,
    /// The registry has another schema under this number.
    Conflict,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Unknown => "unknown here",
            Self::Missing => "missing there",
            Self::Conflict => "conflict",
        }
    }
}

/// One version, there or here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The record; of a text no record names, nothing is known.
    record: Option<String>,
    version: Option<u32>,
    fingerprint: String,
    state: State,
    /// True if this build reads events written with it.
    readable: bool,
}

impl Line {
    fn new(record: &str, version: u32, fingerprint: &str, state: State, readable: bool) -> Self {
        let fingerprint = fingerprint.to_owned();
        Self { record: Some(record.to_owned()), version: Some(version), fingerprint, state, readable }
    }
}

/// Every version of either side, by record and number; then the texts no record names.
fn compare(contents: &Contents) -> Vec<Line> {
    let mut lines = BTreeMap::new();
    for version in Version::all() {
        let ours = version.fingerprint.to_string();
        let listed = contents.versions.get(version.record.name());
        let theirs = listed.and_then(|versions| versions.get(&version.number));
        let state = match theirs {
            Some(theirs) if *theirs != ours => State::Conflict,
            Some(_) if contents.texts.contains(&ours) => State::Known,
            Some(_) | None => State::Missing,
        };
        let line = Line::new(version.record.name(), version.number, &ours, state, true);
        lines.insert((version.record.name(), version.number), line);
    }
    for (record, versions) in &contents.versions {
        for (number, fingerprint) in versions {
            lines
                .entry((record, *number))
                .or_insert_with(|| Line::new(record, *number, fingerprint, State::Unknown, false));
        }
    }
    let is_named = |text: &&String| {
        let is_ours = Fingerprint::parse(text).and_then(Version::of_fingerprint).is_some();
        is_ours || contents.versions.values().any(|versions| versions.values().any(|named| named == *text))
    };
    let unnamed = contents.texts.iter().filter(|text| !is_named(text)).map(|text| Line {
        record: None,
        version: None,
        fingerprint: text.clone(),
        state: State::Unknown,
        readable: false,
    });
    lines.into_values().chain(unnamed).collect()
}

impl Row for Line {
    fn headings() -> &'static [&'static str] {
        &["record", "version", "fingerprint", "state", "readable"]
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.record.clone().unwrap_or_else(|| "-".to_owned()),
            self.version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
            self.fingerprint.clone(),
            self.state.as_str().to_owned(),
            if self.readable { "yes" } else { "no" }.to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemas::Record;

    use super::*;

    fn complete() -> Contents {
        let mut contents = Contents { versions: BTreeMap::new(), texts: BTreeSet::new() };
        for version in Version::all() {
            let print = version.fingerprint.to_string();
            let versions = contents.versions.entry(version.record.name().to_owned()).or_default();
            versions.insert(version.number, print.clone());
            contents.texts.insert(print);
        }
        contents
    }

    #[test]
    fn a_registry_this_build_has_filled_has_everything() {
        assert!(compare(&complete()).iter().all(|line| line.state == State::Known && line.readable));
    }

    #[test]
    fn what_is_only_there_what_is_only_here_and_what_contradicts_is_marked() {
        let mut contents = complete();
        let trial = contents.versions.get_mut("TrialReported").unwrap();
        trial.insert(3, "0123456789abcdef".to_owned());
        trial.insert(1, "fedcba9876543210".to_owned());
        contents.texts.insert("00000000000000aa".to_owned());
        contents.texts.remove(&Record::RunStarted.fingerprint().to_string());
        let lines = compare(&contents);
        let state = |record: Option<&str>, version: Option<u32>| {
            let is_it = |line: &&Line| line.record.as_deref() == record && line.version == version;
            lines.iter().find(is_it).unwrap().state
        };
        assert_eq!(state(Some("TrialReported"), Some(3)), State::Unknown);
        assert_eq!(state(Some("TrialReported"), Some(1)), State::Conflict);
        assert_eq!(state(Some("RunStarted"), Some(1)), State::Missing);
        assert_eq!(state(None, None), State::Unknown);
    }
}
