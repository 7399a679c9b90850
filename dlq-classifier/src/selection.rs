//! Which entries `replay` and `discard` act on: those named, those a filter takes, or all.

mod wanted;

use service_kit::error::CliError;
use service_kit::exit::Exit;

use crate::book::{Book, NotOne};
use crate::entry::Entry;
use crate::filter::Filter;
use crate::queue::Queue;

pub use wanted::{Named, Wanted, Where};

/// The arguments that pick entries.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Selection {
    /// Ids of entries, or their first characters
    #[arg(value_name = "ID", conflicts_with_all = ["class", "stage", "subject", "run", "fingerprint", "since", "state", "all"])]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: Filter,
    /// Every entry
    #[arg(long, conflicts_with_all = ["class", "stage", "subject", "run", "fingerprint", "since", "state"])]
    pub(crate) all: bool,
}

impl Selection {
    /// Refuses an action nobody has named the objects of. Asked before anything else.
    pub(crate) fn check(&self, verb: &str) -> Result<(), CliError> {
        if !self.ids.is_empty() || self.all || !self.filter.is_empty() {
            return Ok(());
        }
        Err(CliError::new("nothing-selected", Exit::Usage, format!("{verb} needs ids, a filter or --all"))
            .help(format!("name entries, narrow by a filter such as --class validation, or say --all: `dlq-classifier {verb} --all --dry-run` shows what that means")))
    }

    /// True if the entries were picked, not named: entries a person has not looked at one by one.
    pub(crate) fn is_bulk(&self) -> bool {
        self.ids.is_empty()
    }

    /// The entries that were named, oldest first; every id must name one.
    pub(crate) async fn named(&self, queue: &Queue) -> Result<Vec<Entry>, CliError> {
        let book = queue.read(&self.ids).await?;
        let mut found = self.ids.iter().map(|id| find(&book, id)).collect::<Result<Vec<_>, _>>()?;
        found.sort_by_key(|entry| entry.kept_at);
        found.dedup_by_key(|entry| entry.kept_at);
        Ok(found.into_iter().cloned().collect())
    }

    /// What the record of the operation says about how the entries were picked.
    pub(crate) fn describe(&self) -> Option<String> {
        match (self.is_bulk(), self.all) {
            (false, _) => None,
            (true, true) => Some("--all".to_owned()),
            (true, false) => Some(self.filter.to_string()),
        }
    }
}

/// The entry an id names.
pub(crate) fn find<'a>(book: &'a Book, id: &str) -> Result<&'a Entry, CliError> {
    book.find(id).map_err(|error| match error {
        NotOne::Unknown(_) => CliError::new("entry-unknown", Exit::NotFound, error)
            .help("`dlq-classifier list` shows the ids there are"),
        NotOne::Ambiguous { .. } => {
            CliError::new("entry-ambiguous", Exit::Usage, error).help("give more of the id")
        }
    })
}

/// Who acts, for the record.
pub(crate) fn actor() -> String {
    let user = ["USER", "LOGNAME"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let host =
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.map_or_else(|| "unknown".to_owned(), |host| host.trim().to_owned());
    format!("{}@{host}", user.as_deref().unwrap_or("unknown"))
}
