//! Checks that a person, or a machine, can read: what was looked at, how it is, what helps.
//!
//! Shared by every command that checks something before it is needed (`cerebros doctor`, `bridge-worker validate`).
//! Invariants: nothing is created or changed by a check; every check has a deadline; one that cannot be made says so
//! instead of passing; whatever is not ok comes with its remedy.

pub mod broker;
pub mod mlflow;
pub mod program;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::error::CliError;
use crate::output::{Format, Printer};

/// How long one check may take.
const DEADLINE: Duration = Duration::from_secs(6);

/// How something is. The worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, or was not looked at.
    Warning,
    /// It does not work.
    Error,
}

impl Status {
    /// In lower case, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One check, made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub message: String,
    /// What helps; nothing when all is well.
    pub remedy: Option<String>,
}

/// What a check found; its name is the caller's to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    status: Status,
    message: String,
    remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(message: impl Into<String>) -> Self {
        Self { status: Status::Ok, message: message.into(), remedy: None }
    }

    /// True if all is well.
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// It works all the same.
    pub fn warning(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Warning, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// It does not work.
    pub fn error(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Error, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// What an error of a command means for a check.
    pub fn of(error: CliError) -> Self {
        let because = error.because.map(|because| format!(": {because}")).unwrap_or_default();
        Self::error(format!("{}{because}", error.what), error.help.unwrap_or_default())
    }

    /// As a check of that name.
    pub fn named(self, name: &'static str) -> Check {
        Check { name, status: self.status, message: self.message, remedy: self.remedy }
    }
}

/// Makes a check within six seconds.
pub async fn bounded(name: &'static str, look: impl Future<Output = Finding>) -> Check {
    within(DEADLINE, name, look).await
}

/// Makes a check within its own deadline.
pub async fn within(deadline: Duration, name: &'static str, look: impl Future<Output = Finding>) -> Check {
    let late = || {
        let message = format!("no answer within {} s", deadline.as_secs());
        Finding::error(message, "something swallows the question: check network and load")
    };
    tokio::time::timeout(deadline, look).await.unwrap_or_else(|_| late()).named(name)
}

/// Every check, and the worst of them.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// How the worst of them is.
    pub status: Status,
    /// The checks, in the order in which they are shown.
    pub checks: Vec<Check>,
}

impl Findings {
    /// Sums up.
    pub fn of(checks: Vec<Check>) -> Self {
        let status = checks.iter().map(|check| check.status).max().unwrap_or(Status::Ok);
        Self { status, checks }
    }

    /// Prints them: one line each for people, one object each in NDJSON, all in one document in JSON.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self, printer: Printer) -> Result<(), CliError> {
        match printer.format() {
            Format::Ndjson => self.checks.iter().try_for_each(|check| printer.stream_item(check, "")),
            Format::Json | Format::Table => printer.object(self, |out| self.write(out)),
        }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in &self.checks {
            writeln!(out, "{:<8} {:<width$} {}", check.status.as_str(), check.name, check.message)?;
            if let Some(remedy) = &check.remedy {
                writeln!(out, "{:<8} {:<width$} help: {remedy}", "", "")?;
            }
        }
        Ok(())
    }
}
