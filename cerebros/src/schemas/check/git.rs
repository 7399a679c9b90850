//! The state of a git revision. Git is run without a shell; what a person typed becomes a commit's number first, and
//! only that number is handed on.

mod objects;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use schemas::evolution::Published;
use service_kit::error::CliError;
use service_kit::exit::Exit;

use super::files;
use objects::Entry;

/// A repository on this machine.
pub(super) struct Repository {
    top: PathBuf,
}

impl Repository {
    /// The repository that holds a folder.
    pub(super) fn around(dir: &Path) -> Result<Self, CliError> {
        let found = run(dir, ["rev-parse", "--show-toplevel"])?;
        let top = text(&found);
        if !found.status.success() || top.is_empty() {
            let what = format!("{} is in no git repository", dir.display());
            return Err(CliError::new("no-repository", Exit::Usage, what).because(last_line(&found)).help(
                "--against compares with a git revision: run it in a checkout, or say where with --dir",
            ));
        }
        Ok(Self { top: PathBuf::from(top) })
    }

    /// Its top folder.
    pub(super) fn top(&self) -> &Path {
        &self.top
    }

    /// What a revision had published below `path`, with the number of its commit.
    pub(super) fn published(&self, revision: &str, path: &str) -> Result<(String, Published), CliError> {
        let commit = self.commit(revision)?;
        let (avro, golden) = (below(path, "avro"), below(path, "golden"));
        let entries = self.entries(&commit, &[&avro, &golden])?;
        let mut published = Published::default();
        for (entry, content) in objects::read(&self.top, entries)? {
            if let Some(name) = entry.path.strip_prefix(&avro).filter(|name| !name.contains('/')) {
                published.schemas.extend(files::schema(name, content)?);
            } else if let Some(place) =
                entry.path.strip_prefix(&golden).filter(|place| files::is_golden(place))
            {
                published.golden.insert(place.to_owned(), content);
            }
        }
        Ok((commit, published))
    }

    fn commit(&self, revision: &str) -> Result<String, CliError> {
        let asked = format!("{revision}^{{commit}}");
        let found = run(&self.top, ["rev-parse", "--verify", "--quiet", "--end-of-options", &asked])?;
        let number = text(&found);
        let is_number = number.len() >= 40 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
        if found.status.success() && is_number {
            return Ok(number);
        }
        let what = format!("the repository {} has no revision \"{revision}\"", self.top.display());
        Err(CliError::new("revision-unknown", Exit::NotFound, what).help(
            "a shallow clone has only the last commits: `git fetch --unshallow` gets the rest, `git fetch origin main` a branch",
        ))
    }

    fn entries(&self, commit: &str, paths: &[&str]) -> Result<Vec<Entry>, CliError> {
        let arguments = ["ls-tree", "-r", "-z", "-l", "--full-tree", commit, "--"];
        let found = run(&self.top, arguments.iter().chain(paths))?;
        if !found.status.success() {
            return Err(failed("the files of a revision cannot be listed", &found));
        }
        objects::parse(&found.stdout)
    }
}

/// A folder below a path, as git writes it from the top of the repository.
fn below(path: &str, folder: &str) -> String {
    match path.trim_start_matches("./").trim_matches('/') {
        "" | "." => format!("{folder}/"),
        path => format!("{path}/{folder}/"),
    }
}

/// Git in a folder, with nothing to ask anybody.
fn git(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
    git
}

fn run<I: AsRef<OsStr>>(dir: &Path, arguments: impl IntoIterator<Item = I>) -> Result<Output, CliError> {
    git(dir).args(arguments).output().map_err(|error| {
        CliError::new("git-missing", Exit::Unreachable, "git cannot be run")
            .because(error)
            .help("--against needs git on PATH")
    })
}

fn failed(what: &str, output: &Output) -> CliError {
    CliError::new("git-failed", Exit::Unreachable, what).because(last_line(output))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end_matches(['\n', '\r']).to_owned()
}

fn last_line(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    said.trim_end().lines().last().unwrap_or("git said nothing").to_owned()
}
