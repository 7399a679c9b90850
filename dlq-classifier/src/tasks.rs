//! `tasks`: replays that were asked for, and what is asked of them.

mod view;

use service_kit::clock;
use service_kit::error::CliError;
use service_kit::exit::Exit;
use service_kit::output;
use service_kit::shutdown::Shutdown;

use crate::cli::Common;
use crate::queue::Queue;
use crate::replay::{Desk, Held};
use crate::task::{Task, Wish};
use view::{Line, Sheet};

/// Flags of `tasks`.
#[derive(Debug, clap::Args)]
pub struct TasksArgs {
    /// What to do
    #[arg(value_enum, default_value = "list", value_name = "ACTION")]
    action: Action,
    /// The task, or the first characters of its name
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    /// All of them, oldest first
    List,
    /// One of them
    Show,
    /// Stop it between two entries, until it is continued
    Pause,
    /// Let it go on; a running classifier takes it up
    Continue,
    /// Stop it between two entries, for good; what was published stays
    Cancel,
}

pub(crate) async fn run(args: TasksArgs, _shutdown: Shutdown) -> Result<Exit, CliError> {
    let wish = match args.action {
        Action::List if args.id.is_some() => return Err(unwanted_id()),
        Action::List | Action::Show => None,
        Action::Pause => Some(Wish::Pause),
        Action::Continue => Some(Wish::Run),
        Action::Cancel => Some(Wish::Cancel),
    };
    if args.action != Action::List && args.id.is_none() {
        let what = "the name of a task is missing";
        return Err(
            CliError::new("task-unnamed", Exit::Usage, what).help("`dlq-classifier tasks` lists them")
        );
    }
    let queue = Queue::open(&args.common.broker).await?;
    let desk = Desk::open(&queue.broker).await?;
    let printer = args.common.output.printer();
    let all = desk.all().await?;
    let Some(id) = args.id else {
        let lines: Vec<Line> = all.iter().map(|held| Line::of(&held.task)).collect();
        printer.rows(&lines)?;
        return Ok(Exit::Done);
    };
    let mut held = find(all, &id)?;
    if let Some(wish) = wish {
        held = ask(&desk, held, wish).await?;
    }
    let sheet = Sheet::of(&held.task);
    printer.object(&sheet, |out| sheet.write(out))?;
    Ok(Exit::Done)
}

async fn ask(desk: &Desk, held: Held, wish: Wish) -> Result<Held, CliError> {
    let id = held.task.id.clone();
    let mut over = None;
    let decide = |task: Task| task.ask(wish, clock::now()).map_err(|error| over = Some(error)).ok();
    let asked = desk.change(held, decide).await?;
    match (asked, over) {
        (Some(asked), _) => {
            let is_heard = asked.task.stops_in().is_none_or(|stage| asked.task.stage == stage);
            if !is_heard {
                output::note("whoever is at work on it stops between two entries");
            }
            Ok(asked)
        }
        (None, Some(over)) => {
            Err(CliError::new("task-over", Exit::InvalidInput, format!("nothing is to be asked of {id}"))
                .because(over))
        }
        (None, None) => Err(unknown(&id)),
    }
}

/// The task with a name, or the only one whose name begins like this.
fn find(all: Vec<Held>, id: &str) -> Result<Held, CliError> {
    let mut alike = all.into_iter().filter(|held| held.task.id.starts_with(id));
    match (alike.next(), alike.next()) {
        (Some(held), None) => Ok(held),
        (Some(held), Some(_)) if held.task.id == id => Ok(held),
        (Some(_), Some(_)) => {
            Err(CliError::new("task-ambiguous", Exit::Usage, format!("several tasks begin with \"{id}\""))
                .help("give more of the name"))
        }
        (None, _) => Err(unknown(id)),
    }
}

fn unknown(id: &str) -> CliError {
    CliError::new("task-unknown", Exit::NotFound, format!("no task has the name \"{id}\""))
        .help("`dlq-classifier tasks` lists them; of those that are over the last hundred are kept")
}

fn unwanted_id() -> CliError {
    CliError::new("task-unwanted", Exit::Usage, "a list takes no name").help("`dlq-classifier tasks show ID`")
}
