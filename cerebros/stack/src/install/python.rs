//! Which Python makes the environments: the one the user named, else the first one on PATH that is new enough.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use super::{InstallError, Tools};

/// The oldest Python the lock files hold for.
const OLDEST: (u32, u32) = (3, 10);
/// `python3` first, because it is what the user means; the others because it is 3.9 on some systems.
const CANDIDATES: [&str; 6] = ["python3", "python3.13", "python3.12", "python3.11", "python3.10", "python"];
/// A shim may take a tenth of a second, a cold disk a few; longer means that it is not a Python.
const DEADLINE: Duration = Duration::from_secs(20);
const QUESTION: &str = "import sys; print(sys.version_info[0], sys.version_info[1]); print(sys.executable); \
                        print(sys.base_prefix)";

/// An interpreter that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Python {
    /// The interpreter itself, not a shim in front of it.
    pub(super) executable: PathBuf,
    pub(super) version: (u32, u32),
    /// The installation it belongs to, which environments made with it keep using.
    pub(super) base_prefix: String,
}

pub(super) async fn find(tools: &Tools) -> Result<Python, InstallError> {
    if let Some(named) = &tools.python {
        let path = if named.components().count() > 1 {
            Some(named.clone())
        } else {
            tools.find(&named.to_string_lossy())
        };
        let answer = match &path {
            Some(path) => ask(path).await,
            None => None,
        };
        let python = answer.ok_or_else(|| InstallError::NoPython { tried: named.display().to_string() })?;
        return new_enough(python);
    }
    let mut too_old = None;
    for candidate in CANDIDATES {
        let Some(path) = tools.find(candidate) else { continue };
        let Some(python) = ask(&path).await else { continue };
        match new_enough(python) {
            Ok(python) => return Ok(python),
            Err(error) => too_old = too_old.or(Some(error)),
        }
    }
    Err(too_old.unwrap_or_else(|| InstallError::NoPython { tried: CANDIDATES.join(", ") }))
}

fn new_enough(python: Python) -> Result<Python, InstallError> {
    if python.version < OLDEST {
        return Err(InstallError::PythonTooOld { python: python.executable, found: python.version });
    }
    Ok(python)
}

async fn ask(path: &Path) -> Option<Python> {
    let mut command = Command::new(path);
    command.args(["-I", "-c", QUESTION]).stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, command.output()).await.ok()?.ok()?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse(answer: &str) -> Option<Python> {
    let mut lines = answer.lines();
    let (major, minor) = lines.next()?.split_once(' ')?;
    let executable = lines.next().filter(|line| !line.is_empty())?;
    let version = (major.parse().ok()?, minor.parse().ok()?);
    Some(Python { executable: executable.into(), version, base_prefix: lines.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_version_interpreter_and_installation() {
        let python = parse("3 11\n/opt/python/bin/python3.11\n/opt/python\n").unwrap();
        assert_eq!(python.version, (3, 11));
        assert_eq!(python.executable, Path::new("/opt/python/bin/python3.11"));
        assert!(new_enough(python).is_ok());
    }

    #[test]
    fn an_old_python_is_refused_with_its_path_and_version() {
        let error = new_enough(parse("3 9\n/usr/bin/python3\n/usr\n").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "/usr/bin/python3 is Python 3.9, needed is 3.10 or newer");
        assert!(error.help().contains("CEREBROS_PYTHON"));
    }

    #[test]
    fn what_is_not_a_python_gives_no_answer() {
        assert_eq!(parse("hello\n"), None);
        assert_eq!(parse(""), None);
    }
}
