use clap::Parser;

use super::arguments::{format_asked_for, parse};
use super::*;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long, env = "CEREBROS_SLOTS", global = true)]
    slots: Option<u32>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve,
}

impl Cli for Arguments {
    fn kind(&self) -> Kind {
        let Command::Serve = self.command;
        Kind::Service
    }
}

fn arguments(texts: &[&str]) -> Vec<OsString> {
    texts.iter().map(OsString::from).collect()
}

fn parsed(texts: &[&str], file: &str) -> Result<Arguments, CliError> {
    let file = ConfigFile::parse(file, "cerebros.toml");
    match parse::<Arguments>("worker", &arguments(texts), file)? {
        Outcome::Parsed(parsed) => Ok(parsed.cli),
        Outcome::Answered(exit) => panic!("answered with {exit:?}"),
    }
}

#[test]
fn the_file_fills_in_what_the_command_line_leaves_out() {
    assert_eq!(parsed(&["worker", "serve"], "slots = 3").unwrap().slots, Some(3));
    assert_eq!(parsed(&["worker", "serve", "--slots", "5"], "slots = 3").unwrap().slots, Some(5));
    assert_eq!(parsed(&["worker", "--slots", "6", "serve"], "slots = 3").unwrap().slots, Some(6));
    assert_eq!(parsed(&["worker", "serve"], "").unwrap().slots, None);
}

#[test]
fn a_usage_error_says_what_and_what_helps() {
    let error = parsed(&["worker", "serve", "--slot", "5"], "").unwrap_err();
    assert_eq!((error.code, error.exit), ("usage", Exit::Usage));
    assert_eq!(error.what, "unexpected argument '--slot' found");
    assert!(error.help.unwrap().contains("--slots"));
    assert_eq!(parsed(&["worker", "-o", "json"], "").unwrap_err().exit, Exit::Usage);
}

#[test]
fn the_format_is_known_before_the_command_line_is_understood() {
    for texts in [&["-o", "json"][..], &["-ojson"], &["--output", "json"], &["--output=json"], &["-o=json"]] {
        assert_eq!(format_asked_for(&arguments(texts)), Some(Format::Json), "{texts:?}");
    }
    assert_eq!(format_asked_for(&arguments(&["list", "-o"])), None);
}

#[tokio::test]
async fn a_client_without_a_hold_ends_at_the_first_signal() {
    let shutdown = Shutdown::manual();
    shutdown.trigger_drain();
    let result = supervise(Kind::Client, std::future::pending(), &shutdown).await;
    assert_eq!(result, Ok(Exit::Interrupted));
}

#[tokio::test]
async fn a_client_with_a_hold_may_finish() {
    let shutdown = Shutdown::manual();
    let hold = shutdown.hold("a replay");
    shutdown.trigger_drain();
    let work = async {
        shutdown.drain().await;
        tokio::task::yield_now().await;
        let _held_to_the_end = hold;
        Ok(Exit::Findings)
    };
    assert_eq!(supervise(Kind::Client, work, &shutdown).await, Ok(Exit::Findings));
}

#[tokio::test]
async fn a_service_that_drained_is_done() {
    let shutdown = Shutdown::manual();
    shutdown.trigger_drain();
    let work = async {
        shutdown.drain().await;
        Ok(Exit::Done)
    };
    assert_eq!(supervise(Kind::Service, work, &shutdown).await, Ok(Exit::Done));
}

#[tokio::test]
async fn a_service_stopped_at_once_is_not_done() {
    let shutdown = Shutdown::manual();
    shutdown.trigger_now();
    let work = async {
        shutdown.now().await;
        Ok(Exit::Done)
    };
    assert_eq!(supervise(Kind::Service, work, &shutdown).await, Ok(Exit::Interrupted));
}

#[tokio::test(start_paused = true)]
async fn work_that_ignores_the_second_signal_is_taken_away() {
    let shutdown = Shutdown::manual();
    shutdown.trigger_now();
    for kind in [Kind::Service, Kind::Client] {
        let result = supervise(kind, std::future::pending(), &shutdown).await;
        assert_eq!(result, Ok(Exit::Interrupted));
    }
}
