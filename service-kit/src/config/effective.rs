//! What every variable is set to, and who says so.
//!
//! Pure: flags, environment and file are arguments. The same order as [`super::layered`], which a test of the front door
//! holds against this for every variable.

use std::collections::BTreeMap;
use std::fmt;

use super::file::ConfigFile;
use super::masked::shown;
use super::variables::{VARIABLES, Variable};
use crate::endpoints::Endpoints;

/// Who says what a variable is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of this command line.
    Flag(&'static str),
    /// A variable of the environment, perhaps under its other name.
    Environment(&'static str),
    /// The configuration file.
    File {
        /// Its path.
        path: String,
        /// The line of the key.
        line: usize,
    },
    /// The local stack that runs.
    Stack,
    /// Nobody.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag --{name}"),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Stack => f.write_str("the running local stack"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One variable as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Which.
    pub variable: &'static Variable,
    /// Its value, fit to be shown: secrets are masked. None when nobody sets it and there is no default.
    pub shown: Option<String>,
    /// Who says so.
    pub origin: Origin,
}

/// Every variable but the other names of one, in the order of the documentation. `flags` are by name of the variable;
/// empty variables of the environment count as unset.
pub fn effective(
    flags: &BTreeMap<&'static str, String>,
    environment: impl Fn(&str) -> Option<String>,
    file: &ConfigFile,
    stack: Option<&Endpoints>,
) -> Vec<Effective> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let variables = VARIABLES.iter().filter(|variable| variable.alias_of.is_none());
    variables
        .map(|variable| {
            let (value, origin) = choose(variable, flags, &set, file, stack);
            Effective { variable, shown: value.map(|value| shown(variable, &value)), origin }
        })
        .collect()
}

fn choose(
    variable: &'static Variable,
    flags: &BTreeMap<&'static str, String>,
    set: &impl Fn(&str) -> Option<String>,
    file: &ConfigFile,
    stack: Option<&Endpoints>,
) -> (Option<String>, Origin) {
    // The name itself speaks before its other names, at each level.
    let aliases = VARIABLES.iter().filter(|other| other.alias_of == Some(variable.name));
    let names = || std::iter::once(variable).chain(aliases.clone());
    if let Some((name, value)) = names().find_map(|name| flags.get(name.name).map(|value| (name, value))) {
        return (Some(value.clone()), Origin::Flag(name.flag().unwrap_or(name.key)));
    }
    if let Some((name, value)) = names().find_map(|name| set(name.name).map(|value| (name, value))) {
        return (Some(value), Origin::Environment(name.name));
    }
    if let Some((name, value)) = names().find_map(|name| file.get(name.name).map(|value| (name, value))) {
        let (path, line) = (file.path().display().to_string(), file.line(name.name).unwrap_or(0));
        return (Some(value.to_owned()), Origin::File { path, line });
    }
    let of_the_stack = stack.and_then(|stack| match variable.name {
        "NATS_URL" => Some(stack.nats.clone()),
        "MLFLOW_TRACKING_URI" => stack.mlflow.clone(),
        _ => None,
    });
    match of_the_stack {
        Some(value) => (Some(value), Origin::Stack),
        None => (variable.default.map(str::to_owned), Origin::Default),
    }
}

#[cfg(test)]
mod tests {
    use super::super::masked::MASK;
    use super::*;

    fn of(name: &str, flag: Option<&'static str>, environment: &[(&str, &str)], file: &str) -> Effective {
        let flags = flag.map(|value| (super::super::variable(name).unwrap().name, value.to_owned()));
        let file = ConfigFile::parse(file, "cerebros.toml").unwrap();
        let set = |asked: &str| {
            environment.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
        };
        let all = effective(&flags.into_iter().collect(), set, &file, None);
        all.into_iter().find(|one| one.variable.name == name).unwrap()
    }

    #[test]
    fn a_flag_stands_above_the_environment_above_the_file_above_the_default_for_every_variable() {
        for variable in VARIABLES.iter().filter(|variable| variable.alias_of.is_none()) {
            let (name, key) = (variable.name, variable.key);
            let value = match variable.shape {
                super::super::Shape::Text => "\"file\"",
                super::super::Shape::Whole => "7",
                super::super::Shape::Switch => "true",
            };
            let file =
                if key == "config" { String::new() } else { format!("# a comment\n{key} = {value}\n") };
            let environment = [(name, "environment")];
            assert_eq!(of(name, None, &[], "").origin, Origin::Default, "{name}");
            if key != "config" {
                let from_file = Origin::File { path: "cerebros.toml".to_owned(), line: 2 };
                assert_eq!(of(name, None, &[(name, "")], &file).origin, from_file, "{name}");
            }
            assert_eq!(of(name, None, &environment, &file).origin, Origin::Environment(name));
            if let Some(flag) = variable.flag() {
                assert_eq!(of(name, Some("flag"), &environment, &file).origin, Origin::Flag(flag));
            }
        }
    }

    #[test]
    fn another_name_speaks_where_the_name_itself_is_silent() {
        let alias = ("TL_ENABLE_CEREBROS_BRIDGE", "true");
        let found = of("CEREBROS_ENABLED", None, &[alias], "enabled = false");
        assert_eq!((found.origin, found.shown.as_deref()), (Origin::Environment(alias.0), Some("true")));
        let both = of("CEREBROS_ENABLED", None, &[alias, ("CEREBROS_ENABLED", "false")], "");
        assert_eq!(both.origin, Origin::Environment("CEREBROS_ENABLED"));
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = |name: &str, value| of(name, None, &[(name, value)], "").shown.unwrap();
        assert_eq!(shown("NATS_PASSWORD", "hunter2"), MASK);
        assert_eq!(shown("NATS_URL", "nats://me:hunter2@a:1,nats://b"), "nats://********@a:1,nats://b");
        assert_eq!(shown("NATS_URL", "nats://me:hun,ter2@a:1"), "nats://********@a:1");
        assert_eq!(shown("MLFLOW_TRACKING_URI", "me:hunter2@c"), "********@c");
    }

    #[test]
    fn the_running_stack_stands_below_the_file() {
        let stack = Endpoints {
            nats: "nats://127.0.0.1:5".to_owned(),
            mlflow: None,
            dashboard: None,
            pid: 1,
            version: String::new(),
        };
        let all = effective(&BTreeMap::new(), |_| None, &ConfigFile::default(), Some(&stack));
        assert_eq!((&all[0].origin, all[0].shown.as_deref()), (&Origin::Stack, Some("nats://127.0.0.1:5")));
    }
}
