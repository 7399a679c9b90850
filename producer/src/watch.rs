//! Watching a run to its end.
//!
//! Invariants: the end that counts is that of the request being served, an earlier attempt's end is history; the exit
//! code follows the run; whoever stops watching stops nothing, and is told so.

pub(crate) mod view;
mod words;

use std::time::Duration;

use schemas::RunId;
use schemas::lifecycle::RunState;
use schemas::subject::STREAM;
use service_kit::broker::Broker;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output::{self, Format};
use tokio::time::MissedTickBehavior;

use crate::connection::Shared;
use crate::follow::{Follower, RunEvent};
use crate::progress::Progress;
use crate::runs::{self, Run};
use view::{Talk, View};

/// How often a view may refresh itself while nothing happens.
const TICK: Duration = Duration::from_millis(500);

/// The arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    producer watch RUN                          the progress, until the run ends\n  \
    producer watch RUN --from-start             with every trial of every attempt\n  \
    producer watch RUN -o ndjson >> run.ndjson  every event, one a line\n\n\
    A feed that was cut off goes on after the last event it has, none missing and none twice:\n  \
    producer watch RUN -o ndjson --since-seq \"$(tail -n 1 run.ndjson | jq .seq)\" >> run.ndjson")]
pub struct WatchArgs {
    /// The run
    #[arg(value_name = "RUN", value_parser = RunId::parse)]
    pub run: RunId,
    /// Show everything from the first request on, earlier attempts included
    #[arg(long, conflicts_with = "since_seq")]
    pub from_start: bool,
    /// Show what came after this sequence of the stream: goes on where another watch stopped
    #[arg(long, value_name = "N")]
    pub since_seq: Option<u64>,
    /// Broker, output, timeout.
    #[command(flatten)]
    pub shared: Shared,
}

/// What is watched.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) run: RunId,
    /// First sequence that counts for the progress.
    first: u64,
    /// Sequence of the request whose end is waited for.
    request: u64,
    /// How it ended, if the registry says that it has.
    ended: Option<RunState>,
}

impl Target {
    pub(crate) fn of(run: &Run) -> Self {
        let row = run.row();
        // A run that was only cancelled ahead of its request has no sequence yet.
        let first = Some(run.first_sequence()).filter(|first| *first < u64::MAX).unwrap_or(1);
        let ended = row.state.is_final().then_some(row.state);
        Self { run: row.run_id, first, request: run.request_sequence(), ended }
    }

    /// First sequence that counts for the progress.
    pub(crate) fn first_sequence(&self) -> u64 {
        self.first
    }

    /// Sequence of the request whose end is waited for.
    pub(crate) fn request_sequence(&self) -> u64 {
        self.request
    }

    /// A run that was requested just now.
    pub(crate) fn requested(run: &RunId, sequence: u64) -> Self {
        Self { run: run.clone(), first: sequence, request: sequence, ended: None }
    }
}

/// Carries out `watch`.
pub(crate) async fn watch(args: &WatchArgs) -> Result<Exit, CliError> {
    let printer = args.shared.output.printer();
    let broker = args.shared.connect().await?;
    let find = async { Ok((runs::get(&broker, &args.run).await?, present(&broker).await?)) };
    let (run, present) = args.shared.within(&broker, find).await?;
    let target = Target::of(&run);
    let show_after = match (args.since_seq, args.from_start, printer.format()) {
        (Some(sequence), _, _) => sequence,
        (None, true, _) => 0,
        (None, false, Format::Table) => present,
        (None, false, Format::Json | Format::Ndjson) => target.request.saturating_sub(1),
    };
    let mut view = View::new(Talk::Data(printer), show_after);
    until_the_end(&broker, &target, args.shared.timeout, &mut view).await.map(exit_of)
}

/// Follows a run to its end. The broker may be silent for `patience`; the run may take as long as it wants.
pub(crate) async fn until_the_end(
    broker: &Broker,
    target: &Target,
    patience: Duration,
    view: &mut View,
) -> Result<RunState, CliError> {
    let mut farewell = Farewell { run: &target.run, last: None, is_due: true };
    let result = follow(broker, target, patience, view, &mut farewell).await;
    farewell.is_due = false;
    view.close();
    result
}

async fn follow(
    broker: &Broker,
    target: &Target,
    patience: Duration,
    view: &mut View,
    farewell: &mut Farewell<'_>,
) -> Result<RunState, CliError> {
    let mut progress = Progress::default();
    let mut events = Follower::new(broker, &target.run, target.first, patience);
    if target.ended.is_some() {
        events = events.up_to_the_present();
    }
    loop {
        let Some(event) =
            next(&mut events, &progress, view).await.map_err(|error| resumable(error, farewell))?
        else {
            // The stream no longer has the end; the registry remembers it.
            let state = target.ended.unwrap_or(progress.state);
            output::note(format!("run {} is {state}; the stream no longer has its last events", target.run));
            return Ok(state);
        };
        let has_changed = progress.take(&event);
        let is_end = has_changed && progress.state.is_final() && event.line.seq >= target.request;
        view.show(&event, &progress, has_changed)?;
        farewell.last = Some(view.shown_up_to(event.line.seq));
        if is_end {
            view.end(&event, &progress)?;
            return Ok(progress.state);
        }
    }
}

/// The next event; meanwhile the view keeps itself fresh.
async fn next(
    events: &mut Follower,
    progress: &Progress,
    view: &mut View,
) -> Result<Option<RunEvent>, CliError> {
    let mut event = std::pin::pin!(events.next());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            event = &mut event => return event,
            _ = ticks.tick() => view.refresh(progress)?,
        }
    }
}

/// The exit code of a command that waited for a run.
pub(crate) fn exit_of(state: RunState) -> Exit {
    match state {
        RunState::Completed => Exit::Done,
        RunState::Failed
        | RunState::Cancelled
        | RunState::Requested
        | RunState::Running
        | RunState::Interrupted => Exit::Unsuccessful,
    }
}

/// Last sequence of the stream.
async fn present(broker: &Broker) -> Result<u64, CliError> {
    let stream = broker.jetstream.get_stream(STREAM).await.map_err(|error| {
        CliError::new("stream-unreadable", Exit::Unreachable, "the event stream cannot be read")
            .because(error)
    })?;
    Ok(stream.cached_info().state.last_sequence)
}

fn resumable(error: CliError, farewell: &Farewell<'_>) -> CliError {
    error.help(format!("the run goes on without us; `{}` follows it again", farewell.again()))
}

/// Says, when a signal takes the watch away, that it did not take the run away.
struct Farewell<'a> {
    run: &'a RunId,
    /// Sequence of the last event that was shown.
    last: Option<u64>,
    is_due: bool,
}

impl Farewell<'_> {
    /// The command that goes on where this watch stopped.
    fn again(&self) -> String {
        let since = self.last.map_or(String::new(), |last| format!(" --since-seq {last}"));
        format!("producer watch {}{since}", self.run)
    }
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if self.is_due && !std::thread::panicking() {
            let run = self.run;
            let again = self.again();
            output::note(format!("run {run} goes on: `{again}` follows it, `producer cancel {run}` ends it"));
        }
    }
}
