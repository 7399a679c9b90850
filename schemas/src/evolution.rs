//! How the contract may grow: what a schema must not contain, and what its next version must not change.
//!
//! The promise is full and transitive: every version reads every other, in both directions, because replaying an event
//! of last year and reading one of next year are both normal. The rules are held against the schemas alone
//! ([`lint`], [`compare`]) and then proved on generated data ([`probe`]), so that no verdict rests on the checker only.
//!
//! Deliberately stricter than Avro where the Rust library resolves wrongly (field aliases, unions of records, types
//! that contain themselves) and where the bytes still decode but mean something else (defaults, time units).

mod compare;
mod lint;
pub mod probe;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

pub use crate::rule::Rule;
pub use text::{Published, alterations};

use crate::fingerprint::Fingerprint;
use crate::shape::{self, Shape};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The record.
    pub record: String,
    /// The version that breaks the rule.
    pub version: u32,
    /// The version it was compared with, when the rule is about two.
    pub against: Option<u32>,
    /// The rule.
    pub rule: Rule,
    /// The field, by its path in the record; empty for the record itself.
    pub field: String,
    /// What was found, and what to do.
    pub reason: String,
}

/// A version of a record's schema, wherever it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The record.
    pub record: String,
    /// Its number.
    pub version: u32,
    /// Its text.
    pub text: String,
}

/// Holds every rule against all versions of all records.
pub fn check(candidates: &[Candidate]) -> Vec<Finding> {
    let mut records: BTreeMap<&str, BTreeMap<u32, &str>> = BTreeMap::new();
    for candidate in candidates {
        records.entry(&candidate.record).or_default().insert(candidate.version, &candidate.text);
    }
    let mut findings: Vec<Finding> =
        records.into_iter().flat_map(|(record, versions)| check_record(record, &versions)).collect();
    findings.sort();
    findings.dedup();
    findings
}

fn check_record(record: &str, versions: &BTreeMap<u32, &str>) -> Vec<Finding> {
    let mut findings = gaps(record, versions);
    let mut read: Vec<(u32, Shape, Fingerprint)> = Vec::new();
    for (version, text) in versions {
        match shape::parse(text) {
            Ok(shape::Parsed { shape, fingerprint, .. }) => {
                findings.extend(lint::lint(&shape).into_iter().map(|fault| fault.of(record, *version, None)));
                read.push((*version, shape, fingerprint));
            }
            Err(error) => findings.push(Finding {
                record: record.to_owned(),
                version: *version,
                against: None,
                rule: error.rule,
                field: error.path,
                reason: error.reason,
            }),
        }
    }
    for (index, (newer, new_shape, new_print)) in read.iter().enumerate() {
        for (older, old_shape, old_print) in &read[..index] {
            let mut faults = compare::compare(old_shape, new_shape);
            if new_print == old_print {
                faults.push(Fault::new(
                    Rule::VersionIndistinct,
                    "",
                    format!("it has the fingerprint of version {older}; a reader cannot tell them apart"),
                ));
            }
            if faults.is_empty() {
                faults = probe::prove(old_shape, new_shape);
                faults.extend(probe::prove(new_shape, old_shape));
            }
            findings.extend(faults.into_iter().map(|fault| fault.of(record, *newer, Some(*older))));
        }
    }
    findings
}

fn gaps(record: &str, versions: &BTreeMap<u32, &str>) -> Vec<Finding> {
    let last = versions.keys().next_back().copied().unwrap_or(0);
    let missing = (1..last).filter(|version| !versions.contains_key(version));
    let fault = |version| {
        let reason = format!("version {version} is missing below version {last}; published versions stay");
        Fault::new(Rule::VersionGap, "", reason).of(record, version, None)
    };
    missing.map(fault).collect()
}

/// A broken rule, before it is known whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The rule.
    pub rule: Rule,
    /// Where in the schema.
    pub field: String,
    /// What was found.
    pub reason: String,
}

impl Fault {
    pub(crate) fn new(rule: Rule, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { rule, field: field.into(), reason: reason.into() }
    }

    pub(crate) fn of(self, record: &str, version: u32, against: Option<u32>) -> Finding {
        let Self { rule, field, reason } = self;
        Finding { record: record.to_owned(), version, against, rule, field, reason }
    }
}

/// What is wrong with a schema by itself.
pub fn lint(shape: &Shape) -> Vec<Fault> {
    lint::lint(shape)
}

/// What is wrong between an older and a newer version.
pub fn compare(older: &Shape, newer: &Shape) -> Vec<Fault> {
    compare::compare(older, newer)
}
