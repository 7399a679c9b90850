//! `submit`: a spec becomes a request on the stream, or nothing at all.
//!
//! Invariants: everything is checked before anything is published; standard output holds the run id and nothing
//! else; the run id decides what is the same run: submitting it twice publishes it once.

mod audience;
pub(crate) mod envelope;
pub(crate) mod expiry;

use std::time::Duration;

use run_spec::{self as spec, Assignment, Spec};
use schemas::event::RunRequested;
use schemas::{Encoding, Event, RunId, Timestamp};
use serde::Serialize;
use service_kit::broker::Broker;
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Printer};
use service_kit::publish::{self, Outgoing, PublishFailure, Published};
use service_kit::shutdown::Shutdown;
use service_kit::topology;
use service_kit::wire::WireArgs;

use crate::connection::Shared;
use crate::runs::{self, Run};
use crate::watch::view::{Talk, View};
use crate::watch::{self, Target};
use expiry::ExpiryArgs;

/// The arguments of `submit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  producer submit --set dataset_id=digits --set budget.max_trials=24 --watch
  producer submit spec.json --wait
  producer submit '{\"dataset_id\": \"iris\", \"strategy\": \"random\"}' --dry-run
  producer submit spec.json --expires 1h    not at all rather than later than that")]
pub struct SubmitArgs {
    /// A JSON file, - for standard input, or the JSON itself
    #[arg(value_name = "SPEC")]
    pub spec: Option<String>,
    /// Sets a field of the spec; the value is JSON, a bare word is a text
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<Assignment>,
    /// Identity of the run: submitting it again does nothing [default: a new one]
    #[arg(long, value_name = "ID", value_parser = RunId::parse)]
    pub run_id: Option<RunId>,
    /// Waits for the end of the run; the exit code follows it
    #[arg(long)]
    pub wait: bool,
    /// The same, showing what happens
    #[arg(long, conflicts_with = "wait")]
    pub watch: bool,
    /// Prints what would be published and publishes nothing; needs no broker
    #[arg(long, conflicts_with_all = ["wait", "watch"])]
    pub dry_run: bool,
    /// Until when it is wanted.
    #[command(flatten)]
    pub expiry: ExpiryArgs,
    /// How the request is written.
    #[command(flatten)]
    pub wire: WireArgs,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

/// Carries out `submit`.
pub(crate) async fn submit(args: SubmitArgs, shutdown: &Shutdown) -> Result<Exit, CliError> {
    let text = spec::source_text(args.spec.as_deref()).await?;
    let Spec { mut request, warnings, notes } =
        spec::read(text.as_deref(), &args.set).map_err(|findings| spec::refusal(&findings))?;
    warnings.iter().for_each(output::warning);
    notes.iter().for_each(output::note);
    let given = args.run_id.clone().or_else(|| request.run_id.clone());
    let run = given.clone().unwrap_or_else(fresh_run_id);
    request.run_id = Some(run.clone());
    let printer = args.shared.output.printer();
    if args.dry_run {
        let expires = args.expiry.until();
        let message = envelope::message(&request, &run, args.wire.encoding.into(), clock::now(), expires)?;
        printer.object(&message, |out| write_pretty(out, &message))?;
        return Ok(Exit::Done);
    }
    let broker = args.shared.connect().await?;
    let hold = shutdown.hold("the broker's answer");
    let target = match known(&args, &broker, given.as_ref(), &request).await? {
        Some(target) => target,
        None => {
            let patience = args.shared.timeout;
            let encoding = args.shared.within(&broker, args.wire.ready(&broker)).await?;
            let published = ask(&broker, request, args.expiry.until(), encoding, patience).await?;
            say_submitted(&run, published);
            Target::requested(&run, published.sequence)
        }
    };
    print_id(printer, &run)?;
    drop(hold);
    audience::warn_if_nobody_listens(&broker, &target).await;
    finish(&args, &broker, &target).await
}

/// Publishes a request and waits for the broker's confirmation, `patience` long at most. The message id follows from
/// the run id, so that the broker drops a second one within its window.
///
/// # Errors
/// The request was refused, or not confirmed in time; then publishing it again is safe.
pub async fn publish(
    broker: &Broker,
    request: RunRequested,
    encoding: Encoding,
    patience: Duration,
) -> Result<Published, CliError> {
    ask(broker, request, None, encoding, patience).await
}

/// The same for a request that is wanted until then.
async fn ask(
    broker: &Broker,
    request: RunRequested,
    expires: Option<Timestamp>,
    encoding: Encoding,
    patience: Duration,
) -> Result<Published, CliError> {
    let run = request.run_id.clone().unwrap_or_else(fresh_run_id);
    let request = RunRequested { run_id: Some(run.clone()), ..request };
    let mut message = envelope::outgoing(broker, &Event::from(request), &run, 0, encoding)?;
    expiry::say(&mut message, expires);
    send(broker, &message, patience).await
}

/// Sends one message until it is confirmed.
pub(crate) async fn send(
    broker: &Broker,
    message: &Outgoing,
    patience: Duration,
) -> Result<Published, CliError> {
    let sent = tokio::time::timeout(patience, publish::send(broker, message, patience)).await;
    let late = PublishFailure::Unconfirmed { subject: message.subject.clone(), patience };
    sent.unwrap_or(Err(late)).map_err(|failure| refused(&failure))
}

/// A new run id; ids sort by the time they were made.
pub fn fresh_run_id() -> RunId {
    RunId::parse(&uuid::Uuid::now_v7().to_string()).expect("a UUID has only hexadecimal digits and dashes")
}

/// What is there already under a run id that was given. Nobody else can know an id that was made just now.
async fn known(
    args: &SubmitArgs,
    broker: &Broker,
    given: Option<&RunId>,
    request: &RunRequested,
) -> Result<Option<Target>, CliError> {
    let look = async {
        if !runs::has_stream(broker).await? {
            topology::ensure(broker).await?;
            return Ok(None);
        }
        match given {
            Some(run) => runs::find(broker, run).await,
            None => Ok(None),
        }
    };
    let found = args.shared.within(broker, look).await?;
    // A cancel request that came first leaves a record of a run nobody has asked for.
    let Some(run) = found.filter(Run::is_asked_for) else { return Ok(None) };
    say_known(&run, request);
    Ok(Some(Target::of(&run)))
}

fn say_known(run: &Run, request: &RunRequested) {
    let row = run.row();
    output::note(format!(
        "run {} was already submitted and is {}; nothing was published",
        row.run_id, row.state
    ));
    if run.spec() != Event::from(request.clone()).to_json() {
        output::warning("its spec is not the one given now, which was not used; another run id submits it");
    }
    if row.state.is_final() {
        output::note(format!("`producer retry {}` runs a failed or cancelled run again", row.run_id));
    }
}

fn say_submitted(run: &RunId, published: Published) {
    if published.is_duplicate {
        output::note(format!("run {run} was already submitted; the broker kept the first request"));
    } else {
        output::note(format!("submitted run {run} as message {} of the stream", published.sequence));
    }
}

async fn finish(args: &SubmitArgs, broker: &Broker, target: &Target) -> Result<Exit, CliError> {
    let talk = match (args.watch, args.wait) {
        (true, _) => Talk::Aside,
        (false, true) => Talk::Nothing,
        (false, false) => return Ok(Exit::Done),
    };
    let mut view = View::new(talk, 0);
    watch::until_the_end(broker, target, args.shared.timeout, &mut view).await.map(watch::exit_of)
}

fn print_id(printer: Printer, run: &RunId) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Submitted<'a> {
        run_id: &'a RunId,
    }
    printer.object(&Submitted { run_id: run }, |out| writeln!(out, "{run}"))
}

fn write_pretty(out: &mut dyn std::io::Write, message: &envelope::Message) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, message)?;
    writeln!(out)
}

fn refused(failure: &PublishFailure) -> CliError {
    let (code, exit, help) = match failure {
        PublishFailure::Encode(_) => {
            ("request-too-large", Exit::InvalidInput, "put large values into a file the trainer reads")
        }
        PublishFailure::Refused { .. } => {
            ("publish-refused", Exit::Unreachable, "`cerebros doctor` checks the stream and our permissions")
        }
        PublishFailure::Full { .. } => {
            ("stream-full", Exit::Full, "nothing was submitted; make room, then run it again")
        }
        PublishFailure::Unconfirmed { .. } => (
            "publish-unconfirmed",
            Exit::Unreachable,
            "whether it arrived is unknown; the same command with the same --run-id is safe to repeat",
        ),
    };
    CliError::new(code, exit, "the request was not confirmed by the broker").because(failure).help(help)
}
