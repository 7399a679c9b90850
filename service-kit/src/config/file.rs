//! `cerebros.toml`: scalars by key, nothing nested, nothing unknown.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use toml::Value;

use super::variables::{self, Shape, Variable};
use crate::error::CliError;
use crate::exit::Exit;

/// The file that is read when CEREBROS_CONFIG names none.
const DEFAULT_PATH: &str = "cerebros.toml";
/// The largest file that is read; every variable fits several times.
const SIZE_LIMIT: u64 = 64 * 1024;

/// What the configuration file sets.
#[derive(Clone, Default)]
pub struct ConfigFile {
    path: PathBuf,
    values: BTreeMap<&'static str, String>,
    lines: BTreeMap<&'static str, usize>,
}

/// Names only: values may be secrets.
impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigFile").field("path", &self.path).field("sets", &self.values.keys()).finish()
    }
}

impl ConfigFile {
    /// Reads the file CEREBROS_CONFIG names, else `./cerebros.toml` if there is one.
    ///
    /// # Errors
    /// Exit code 2 when the named file is missing, or when a file has an unknown key or a wrong value.
    pub fn load() -> Result<Self, CliError> {
        let named = std::env::var_os("CEREBROS_CONFIG").filter(|name| !name.is_empty());
        let path = named.as_ref().map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from);
        Self::load_from(&path, named.is_some())
    }

    fn load_from(path: &Path, is_named: bool) -> Result<Self, CliError> {
        let shown = path.display();
        let unreadable = |cause: &dyn fmt::Display| {
            CliError::new(
                "config-unreadable",
                Exit::Usage,
                format!("cannot read the configuration file {shown}"),
            )
            .because(cause)
            .help("CEREBROS_CONFIG names the file; without it ./cerebros.toml is read if it exists")
        };
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(SIZE_LIMIT + 1).read_to_string(&mut text));
        match read {
            Ok(_) if text.len() as u64 > SIZE_LIMIT => {
                Err(unreadable(&format!("it is larger than {SIZE_LIMIT} bytes")))
            }
            Ok(_) => Self::parse(&text, path),
            Err(error) if error.kind() == ErrorKind::NotFound && !is_named => Ok(Self::default()),
            Err(error) => Err(unreadable(&error)),
        }
    }

    /// Reads the text of a file; `path` is for the messages.
    ///
    /// # Errors
    /// See [`ConfigFile::load`].
    pub fn parse(text: &str, path: impl Into<PathBuf>) -> Result<Self, CliError> {
        let path = path.into();
        let table: toml::Table = text.parse().map_err(|error| not_toml(&path, text, &error))?;
        let mut values = BTreeMap::new();
        for (key, value) in &table {
            let variable = known(&path, key)?;
            if values.insert(variable.name, scalar(&path, key, variable, value)?).is_some() {
                let what = format!("`{}` is set twice in {}", variable.key, path.display());
                return Err(
                    CliError::new("config-key-twice", Exit::Usage, what).help(format!("leave out `{key}`"))
                );
            }
        }
        Ok(Self { lines: lines_of(text), path, values })
    }

    /// The line on which the file sets the variable of that name.
    pub fn line(&self, name: &str) -> Option<usize> {
        self.lines.get(name).copied()
    }

    /// What the file sets for the variable of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The file's place, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Where each key stands. The text was read before: what cannot be placed has no line.
fn lines_of(text: &str) -> BTreeMap<&'static str, usize> {
    let Ok(table) = toml::de::DeTable::parse(text) else { return BTreeMap::new() };
    let place = |(key, _): (&toml::Spanned<_>, _)| -> Option<(&'static str, usize)> {
        let key: &toml::Spanned<std::borrow::Cow<'_, str>> = key;
        let variable = variables::variable_of_key(key.get_ref())?;
        Some((variable.name, text.get(..key.span().start)?.matches('\n').count() + 1))
    };
    table.get_ref().iter().filter_map(place).collect()
}

/// The message and the line, not the text of the line: it may hold a secret.
fn not_toml(path: &Path, text: &str, error: &toml::de::Error) -> CliError {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let place = line.map_or_else(|| path.display().to_string(), |line| format!("{}:{line}", path.display()));
    CliError::new("config-invalid", Exit::Usage, format!("{place} is not TOML"))
        .because(error.message())
        .help("the file has one `key = value` a line; text stands in double quotes")
}

fn known(path: &Path, key: &str) -> Result<&'static Variable, CliError> {
    match variables::variable_of_key(key) {
        Some(variable) if variable.name == "CEREBROS_CONFIG" => {
            let what = format!("`{key}` in {} cannot name another file", path.display());
            Err(CliError::new("config-key-unknown", Exit::Usage, what)
                .help("set CEREBROS_CONFIG in the environment"))
        }
        Some(variable) => Ok(variable),
        None => {
            let error = CliError::new(
                "config-key-unknown",
                Exit::Usage,
                format!("unknown key `{key}` in {}", path.display()),
            );
            Err(match variables::nearest_key(key) {
                Some(nearest) => error.help(format!("did you mean `{nearest}`?")),
                None => error.help(format!("the keys are: {}", all_keys())),
            })
        }
    }
}

fn all_keys() -> String {
    let keys = variables::VARIABLES
        .iter()
        .filter(|variable| variable.alias_of.is_none())
        .map(|variable| variable.key);
    keys.filter(|key| *key != "config").collect::<Vec<_>>().join(", ")
}

fn scalar(path: &Path, key: &str, variable: &Variable, value: &Value) -> Result<String, CliError> {
    let expected = match (variable.shape, value) {
        (Shape::Text, Value::String(text)) => return Ok(text.clone()),
        (Shape::Whole, Value::Integer(number)) => return Ok(number.to_string()),
        (Shape::Switch, Value::Boolean(is_on)) => return Ok(is_on.to_string()),
        (Shape::Text, _) => "text in double quotes",
        (Shape::Whole, _) => "a whole number",
        (Shape::Switch, _) => "true or false",
    };
    Err(CliError::new(
        "config-type",
        Exit::Usage,
        format!("`{key}` in {} has the wrong type", path.display()),
    )
    .because(format!("expected {expected}, found {}", type_name(value)))
    .help(format!("{key}: {}", variable.help)))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> CliError {
        let error = ConfigFile::parse(text, "cerebros.toml").unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        error
    }

    #[test]
    fn scalars_are_read_by_key_with_or_without_our_prefix() {
        let file =
            ConfigFile::parse("nats_url = \"nats://a\"\nslots = 2\ncerebros_enabled = true\n", "c").unwrap();
        assert_eq!(file.get("NATS_URL"), Some("nats://a"));
        assert_eq!(file.get("CEREBROS_SLOTS"), Some("2"));
        assert_eq!(file.get("CEREBROS_ENABLED"), Some("true"));
        assert_eq!(file.get("CEREBROS_PYTHON"), None);
    }

    #[test]
    fn an_unknown_key_is_an_error_that_suggests_the_nearest() {
        let error = refused("nats_ulr = \"x\"");
        assert_eq!(error.what, "unknown key `nats_ulr` in cerebros.toml");
        assert_eq!(error.help.unwrap(), "did you mean `nats_url`?");
        assert!(refused("[broker]\nurl = \"x\"").help.unwrap().contains("nats_url"));
        assert!(refused("SLOTS = 1").help.unwrap().contains("slots"));
    }

    #[test]
    fn a_wrong_type_is_named() {
        assert_eq!(refused("slots = \"2\"").because.unwrap(), "expected a whole number, found text");
        assert_eq!(
            refused("features = [\"ml_nas\"]").because.unwrap(),
            "expected text in double quotes, found a list"
        );
        assert_eq!(refused("enabled = 1").because.unwrap(), "expected true or false, found a whole number");
    }

    #[test]
    fn a_key_under_both_its_names_is_refused() {
        assert_eq!(refused("slots = 1\ncerebros_slots = 2").code, "config-key-twice");
    }

    #[test]
    fn the_file_does_not_name_itself() {
        assert_eq!(refused("config = \"other.toml\"").code, "config-key-unknown");
    }

    #[test]
    fn broken_text_names_the_line_and_shows_no_secret() {
        let error = refused("slots = 1\nnats_password = \"hunter2\n");
        assert!(error.what.starts_with("cerebros.toml:2 "), "{}", error.what);
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn a_missing_file_matters_only_if_it_was_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cerebros.toml");
        assert!(ConfigFile::load_from(&path, false).unwrap().values.is_empty());
        assert_eq!(ConfigFile::load_from(&path, true).unwrap_err().code, "config-unreadable");
        std::fs::write(&path, "#".repeat(100_000)).unwrap();
        assert!(ConfigFile::load_from(&path, false).unwrap_err().because.unwrap().contains("larger"));
    }

    #[test]
    fn debug_shows_no_value() {
        let file = ConfigFile::parse("nats_password = \"hunter2\"", "c").unwrap();
        assert!(!format!("{file:?}").contains("hunter2"));
    }
}
