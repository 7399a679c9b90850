//! What a person hears while tools are installed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::OLDEST_BROKER;

/// What happens during an installation, for the caller to print. Its `Display` is one sentence.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A download begins.
    Installing {
        /// The package's title.
        title: String,
        /// Why it is wanted.
        why: String,
        /// About how many megabytes.
        megabytes: u32,
        /// Where to.
        into: PathBuf,
        /// `uv`, `pip` or `npm`.
        with: &'static str,
    },
    /// Another process is installing the same tool.
    Waiting {
        /// The package's title.
        title: String,
        /// The lock file the other process holds.
        lock: PathBuf,
    },
    /// `uv` failed and `pip` is tried.
    FallingBack {
        /// What `uv` said last.
        because: String,
    },
    /// A broker on PATH is not used.
    BrokerTooOld {
        /// The program.
        binary: PathBuf,
        /// What it says its version is.
        version: String,
    },
    /// The tool is complete.
    Installed {
        /// The package's title.
        title: String,
        /// How long it took.
        took: Duration,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installing { title, why, megabytes, into, with } => write!(
                f,
                "installing {title} ({why}; about {megabytes} MB, once, with {with}, into {})",
                into.display()
            ),
            Self::Waiting { title, lock } => {
                write!(f, "waiting for another process that installs {title} (it holds {})", lock.display())
            }
            Self::FallingBack { because } => write!(f, "uv failed, trying pip instead ({because})"),
            Self::BrokerTooOld { binary, version } => write!(
                f,
                "not using {}: its version is {version}, needed is {}.{}",
                binary.display(),
                OLDEST_BROKER.0,
                OLDEST_BROKER.1
            ),
            Self::Installed { title, took } => {
                write!(f, "installed {title} in {:.1} s", took.as_secs_f64())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_says_what_how_much_where_and_why() {
        let notice = Notice::Installing {
            title: "MLflow 3.17.2".into(),
            why: "keeps the trials".into(),
            megabytes: 180,
            into: "/d/tools".into(),
            with: "pip",
        };
        let said = notice.to_string();
        assert_eq!(
            said,
            "installing MLflow 3.17.2 (keeps the trials; about 180 MB, once, with pip, into /d/tools)"
        );
    }
}
