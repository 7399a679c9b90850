//! `cerebros events tail`: the raw stream as lines, from now or from a sequence on.
//!
//! Invariants: every message of the stream makes one line, also one that is no valid event; after a lost connection
//! it goes on behind the last line it printed; a broker that stays silent ends it with an error.

use std::sync::atomic::Ordering;
use std::time::Duration;

use schemas::RunId;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::config::BrokerArgs;
use service_kit::error::CliError;
use service_kit::event_line::EventLine;
use service_kit::exit::Exit;
use service_kit::history::{History, Kept};
use service_kit::output::{Format, OutputArgs, Printer};
use tokio::time::{Instant, sleep, timeout};

/// How long the broker may be away.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries to read on.
const PAUSE: Duration = Duration::from_millis(200);

/// After so long without an event it is asked whether the broker is still there.
const QUIET: Duration = Duration::from_secs(1);

/// What can be done with events.
#[derive(Debug, clap::Subcommand)]
pub enum EventsCommand {
    /// Print events as they come, until Ctrl-C
    Tail(TailArgs),
}

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub struct TailArgs {
    /// Only the events of this run
    #[arg(long, value_name = "RUN", value_parser = RunId::parse)]
    run: Option<RunId>,
    /// Only this subject; * stands for one part, > for all that follow
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Begin at this sequence of the stream [default: with the next event]
    #[arg(long, value_name = "N")]
    from_seq: Option<u64>,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

impl EventsCommand {
    /// The output format that was asked for.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Self::Tail(args) => args.output.output,
        }
    }
}

/// Carries out a command.
pub(crate) async fn run(command: EventsCommand) -> Result<Exit, CliError> {
    match command {
        EventsCommand::Tail(args) => tail(&args).await,
    }
}

async fn tail(args: &TailArgs) -> Result<Exit, CliError> {
    let printer = args.output.printer();
    let broker = Broker::connect(&args.broker.resolve()?, "cerebros-events", PATIENCE / 5).await?;
    let filters: Vec<&str> = args.subject.as_deref().into_iter().collect();
    // Read before anything else, so that nothing that comes from here on is missed, whatever happens to the reader.
    let mut next = match args.from_seq {
        Some(sequence) => sequence,
        None => last_sequence(&broker).await? + 1,
    };
    let mut away_since: Option<Instant> = None;
    loop {
        let read = async {
            let mut history =
                History::following(&broker, STREAM, &filters, next).await.map_err(Stop::Stream)?;
            away_since = None;
            print_all(&broker, &mut history, args.run.as_ref(), printer, &mut next).await
        };
        match read.await {
            Ok(()) => {}
            Err(Stop::Output(error)) => return Err(error),
            Err(Stop::Stream(error)) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error);
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// Why the reading ended.
enum Stop {
    /// Nobody reads what we print.
    Output(CliError),
    /// The stream cannot be read.
    Stream(CliError),
}

/// Prints until the connection was lost in between: a reader from before does not always notice that.
async fn print_all(
    broker: &Broker,
    history: &mut History,
    run: Option<&RunId>,
    printer: Printer,
    next: &mut u64,
) -> Result<(), Stop> {
    let connections = || broker.client.statistics().connects.load(Ordering::Relaxed);
    let opened_in = connections();
    loop {
        match timeout(QUIET, history.next()).await {
            Ok(Ok(Some(kept))) => {
                *next = kept.sequence + 1;
                print(&kept, run, printer).map_err(Stop::Output)?;
            }
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(Stop::Stream(error)),
            Err(_) if connections() != opened_in => return Ok(()),
            // Nothing new, or nobody there.
            Err(_) => drop(last_sequence(broker).await.map_err(Stop::Stream)?),
        }
    }
}

fn print(kept: &Kept, run: Option<&RunId>, printer: Printer) -> Result<(), CliError> {
    let (line, _) = EventLine::of(kept);
    if run.is_some() && line.run_id.as_ref() != run {
        return Ok(());
    }
    let run = line.run_id.as_ref().map_or("-", RunId::as_str);
    let fault = line.error.as_ref().map(|error| format!("  ({error})")).unwrap_or_default();
    let human = format!("{}  {}  {}  {run}  {}{fault}", line.seq, line.time, line.subject, line.data);
    printer.stream_item(&line, human)
}

async fn last_sequence(broker: &Broker) -> Result<u64, CliError> {
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| {
        CliError::new("stream-unreadable", Exit::Unreachable, "the event stream cannot be read")
            .because(error)
            .help("it is created by the first worker; `cerebros up` starts one, `cerebros doctor` tells more")
    })?;
    Ok(stream.cached_info().state.last_sequence)
}
