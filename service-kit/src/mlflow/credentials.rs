//! `~/.mlflow/credentials`, the file MLflow's own clients keep user and password in, read as they read it.
//!
//! It is an ini file as Python's `configparser` knows it: a section `[mlflow]`, whose settings fall back to those of
//! `[DEFAULT]`; `=` or `:` behind a name, in which case does not count; lines that begin with `#` or `;` are comments; a
//! per cent sign is written twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::exit::Exit;

/// The largest file that is read.
const SIZE_LIMIT: u64 = 64 * 1024;
/// Section of the settings.
const SECTION: &str = "mlflow";
/// Section whose settings hold in every other.
const FALLBACK: &str = "DEFAULT";

/// User and password, as far as the file has them.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct Credentials {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

/// Without secrets.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// Where the file is.
pub(super) fn path() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".mlflow/credentials"))
}

/// Reads the file. One that is not there says nothing, nor does one that may not be read, which is said.
///
/// # Errors
/// When it is no such file: its place and line, and nothing of its content.
pub(super) fn read(path: &Path) -> Result<Credentials, CliError> {
    let mut text = String::new();
    if let Err(error) = File::open(path).and_then(|file| file.take(SIZE_LIMIT).read_to_string(&mut text)) {
        if error.kind() != ErrorKind::NotFound {
            tracing::warn!(path = %path.display(), %error, "MLflow's file of credentials is not read");
        }
        return Ok(Credentials::default());
    }
    parse(&text).map_err(|(line, because)| {
        CliError::new("mlflow-credentials-invalid", Exit::Usage, "MLflow's file of credentials is not valid")
            .because(format!("{}:{line}: {because}", path.display()))
            .help("correct it, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
    })
}

type Settings = BTreeMap<String, String>;

fn parse(text: &str) -> Result<Credentials, (usize, &'static str)> {
    let mut sections: BTreeMap<&str, Settings> = BTreeMap::new();
    let mut section: Option<&str> = None;
    let mut has_name = false;
    for (index, line) in text.lines().enumerate() {
        let (number, said) = (index + 1, line.trim());
        if said.is_empty() || said.starts_with(['#', ';']) {
            continue;
        }
        if has_name && line.starts_with(char::is_whitespace) {
            return Err((number, "a value goes on in another line, which no user or password does"));
        }
        if let Some(name) = said.strip_prefix('[') {
            let Some((name, _)) = name.split_once(']') else {
                return Err((number, "a section without its ]"));
            };
            (section, has_name) = (Some(name), false);
            sections.entry(name).or_default();
            continue;
        }
        let Some(section) = section else { return Err((number, "a setting before any [section]")) };
        let Some((name, value)) = said.split_once(['=', ':']) else {
            return Err((number, "neither a [section] nor a setting with = or :"));
        };
        let settings = sections.entry(section).or_default();
        settings.insert(name.trim_end().to_ascii_lowercase(), plain(value.trim()).ok_or((number, PER_CENT))?);
        has_name = true;
    }
    let Some(settings) = sections.get(SECTION) else { return Ok(Credentials::default()) };
    let of = |name: &str| {
        let value = settings.get(name).or_else(|| sections.get(FALLBACK)?.get(name));
        value.filter(|value| !value.is_empty()).cloned()
    };
    Ok(Credentials { user: of("mlflow_tracking_username"), password: of("mlflow_tracking_password") })
}

const PER_CENT: &str = "a per cent sign has to be written twice";

/// The value as it is meant; `None` where a per cent sign stands alone.
fn plain(value: &str) -> Option<String> {
    let parts: Vec<&str> = value.split("%%").collect();
    parts.iter().all(|part| !part.contains('%')).then(|| parts.join("%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Option<String>, Option<String>) {
        let credentials = parse(text).unwrap();
        (credentials.user, credentials.password)
    }

    fn both(user: &str, password: &str) -> (Option<String>, Option<String>) {
        (Some(user.to_owned()), Some(password.to_owned()))
    }

    #[test]
    fn a_file_as_mlflow_s_clients_take_it_is_read() {
        let text = "# mine\n[mlflow]\nmlflow_tracking_username = me\nMLFLOW_TRACKING_PASSWORD: p=w%%:d ; x\n";
        assert_eq!(of(text), both("me", "p=w%:d ; x"));
        let inherited = "[DEFAULT]\nmlflow_tracking_username=you\nmlflow_tracking_password=d\n[mlflow]\nmlflow_tracking_username=me\n";
        assert_eq!(of(inherited), both("me", "d"));
    }

    #[test]
    fn another_section_or_an_empty_value_says_nothing() {
        assert_eq!(of("[other]\nmlflow_tracking_username = me\n"), (None, None));
        assert_eq!(of("[mlflow]\nmlflow_tracking_username =\n"), (None, None));
        assert_eq!(of(""), (None, None));
    }

    #[test]
    fn what_is_no_such_file_is_said_with_its_line_and_without_its_content() {
        for text in [
            "secret",
            "x=secret",
            "[mlflow]\nsecret",
            "[mlflow]\nx=5%secret",
            "[mlflow]\nx=a\n  secret",
            "[mlflow",
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("credentials");
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(!format!("{error:?}").contains("secret"), "{error:?}");
            assert!(error.help.is_some(), "{text}");
        }
        assert_eq!(read(Path::new("/nowhere/credentials")).unwrap(), Credentials::default());
    }
}
