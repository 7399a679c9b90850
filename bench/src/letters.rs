//! Dead letters: what the classifier costs beside a bare reader, how fast people see the queue, how fast it is accounted
//! for, and the memory all of it takes.
//!
//! The stream holds trial events of ordinary size with the headers we publish. Programs are timed from their start to
//! their exit, connection and all; their output goes into a pipe that is read. Seconds depend on the machine, so `list` and
//! `groups` stand beside a bare client that reads the same letters, in turns.

mod bare;
mod classify;
mod command;
mod filling;

use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::topology::{CLASSIFIER_CONSUMER, SINK_CONSUMER};

use crate::cli::{Effort, progress};
use crate::programs::Programs;
use crate::stand::Stand;
use crate::table::{Figure, Finding, Peer, Ratio, Target, Unit};
use crate::timings::median;
use classify::Left;
use command::Timed;

const PROGRAM: &str = "dlq-classifier";
/// What is promised.
const LISTED_WITHIN: f64 = 1.0;
const AUDITED_WITHIN: f64 = 10.0;
const MEGABYTES: f64 = 64.0;

/// Measures all of it.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let programs = Programs::build(&[PROGRAM]).await?;
    let mut findings = classify::measure(&programs, effort).await?;
    findings.extend(reading(&programs, effort).await?);
    findings.extend(audit(&programs, effort).await?);
    Ok(findings)
}

/// `list` and `groups` of a queue of a hundred thousand.
async fn reading(programs: &Programs, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let letters = 100_000;
    progress(format!("{letters} dead letters, listed and grouped"));
    filling::letters(&broker, letters).await?;
    let rounds = effort.choose(3, 9);
    let mut findings = Vec::new();
    let commands: [(&str, &[&str], Option<u32>); 3] = [
        ("list", &["list", "-o", "ndjson"], Some(letters)),
        // With the line of the headings.
        ("list as a table", &["list", "-o", "table"], Some(letters + 1)),
        ("groups", &["groups", "-o", "ndjson"], None),
    ];
    for (title, arguments, lines) in commands {
        let mut bare = Vec::new();
        let read_bare = async || {
            bare.push(bare::all(&stand, letters).await?.as_secs_f64());
            Ok(())
        };
        let timed = command::median(programs.path(PROGRAM)?, &stand, arguments, rounds, read_bare).await?;
        if lines.is_some_and(|lines| lines != timed.lines) {
            return Err(CliError::internal(format!(
                "{title} printed {} lines for {letters} letters",
                timed.lines
            )));
        }
        // The first round is a warm-up, for either.
        let peer = Figure::new(median(&bare[1..]).unwrap_or_default(), Unit::Seconds);
        let peer = Peer::new("a bare client reads them", peer);
        findings.extend(rows(&format!("{title}, {letters} entries"), &timed, LISTED_WITHIN, Some(peer)));
    }
    Ok(findings)
}

/// `audit` of a million sequences: all waiting for one consumer, one held at the very beginning, all settled.
async fn audit(programs: &Programs, effort: Effort) -> Result<Vec<Finding>, CliError> {
    let stand = Stand::open().await?;
    let broker = stand.connect().await?;
    let count = effort.choose(100_000, 1_000_000);
    progress(format!("an audit of {count} sequences"));
    filling::trials(&broker, count).await?;
    let mut findings = Vec::new();
    classify::read_bare(&stand, CLASSIFIER_CONSUMER, count, Left::Nothing).await?;
    findings.extend(audited(programs, &stand, &broker, "one consumer has read nothing", effort).await?);
    classify::read_bare(&stand, SINK_CONSUMER, count, Left::TheFirst).await?;
    findings.extend(audited(programs, &stand, &broker, "one message in hand before all", effort).await?);
    classify::read_bare(&stand, SINK_CONSUMER, 1, Left::Nothing).await?;
    findings.extend(audited(programs, &stand, &broker, "all settled", effort).await?);
    Ok(findings)
}

async fn audited(
    programs: &Programs,
    stand: &Stand,
    broker: &Broker,
    how: &str,
    effort: Effort,
) -> Result<Vec<Finding>, CliError> {
    let count = filling::last_sequence(broker).await?;
    let timed = command::median(
        programs.path(PROGRAM)?,
        stand,
        &["audit", "-o", "ndjson"],
        effort.choose(1, 3),
        async || Ok(()),
    )
    .await?;
    Ok(rows(&format!("audit of {count} sequences, {how}"), &timed, AUDITED_WITHIN, None).into())
}

fn rows(what: &str, timed: &Timed, within: f64, peer: Option<Peer>) -> [Finding; 2] {
    let time = Target::OursBelow(Figure::new(within, Unit::Seconds));
    let memory = Target::OursBelow(Figure::new(MEGABYTES, Unit::Megabytes));
    let (name, took) = (format!("letters: {what}"), Figure::seconds(timed.time));
    let timing = match peer {
        Some(peer) => Finding::beside(name, took, peer, Ratio::PeerByOurs, time),
        None => Finding::alone(name, took, time),
    };
    [
        timing.with_remark(format!("from the start of the program to its exit, all: {:.2?}", timed.all)),
        Finding::alone(format!("letters: {what}, memory at most"), timed.most_resident, memory),
    ]
}
