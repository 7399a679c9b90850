//! `config show`: what is set, by whom, and no secret; and what the programs' own flags are called.

use clap::{Arg, Command, CommandFactory as _};
use serde_json::Value;
use service_kit::config::{Shape, VARIABLES, Variable, variable};
use testkit::Scratch;

use crate::program::{output, program, stderr, stdout};

fn settable() -> impl Iterator<Item = &'static Variable> {
    VARIABLES.iter().filter(|variable| variable.alias_of.is_none() && variable.key != "config")
}

/// A value of the variable's shape that says where it comes from.
fn value(variable: &Variable, number: u32) -> String {
    match (variable.shape, variable.name) {
        (_, "CEREBROS_LOG_FORMAT") => ["text", "json"][number as usize % 2].to_owned(),
        (_, "CEREBROS_INVOKER") => ["pool", "subprocess"][number as usize % 2].to_owned(),
        (_, "CEREBROS_FALLBACK") => ["none", "subprocess"][number as usize % 2].to_owned(),
        (_, "CEREBROS_SWEEP_EVERY" | "CEREBROS_UNKNOWN_RUN_AFTER") => format!("{}s", number + 1),
        (_, "CEREBROS_STORM_RATIO") => format!("0.{}", number + 1),
        (_, "CEREBROS_CHILD_MEMORY") => format!("{number}GiB"),
        (_, "CEREBROS_ALERT_AGE" | "CEREBROS_ALERT_NOTICE") => format!("{number}h"),
        (_, "CEREBROS_CHILD_OPEN_FILES") => (100 + number).to_string(),
        (_, "RUST_LOG") => ["error", "warn", "info"][number as usize % 3].to_owned(),
        (Shape::Text, _) => format!("text-{number}"),
        (Shape::Whole, _) => number.to_string(),
        (Shape::Switch, _) => number.is_multiple_of(2).to_string(),
    }
}

struct Scene {
    scratch: Scratch,
    environment: Vec<(&'static str, String)>,
    flags: Vec<String>,
}

impl Scene {
    async fn lines(&self) -> Vec<Value> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        let arguments = [&["config", "show", "-o", "json"], flags.as_slice()].concat();
        let mut command = program(self.scratch.path(), &arguments);
        VARIABLES.iter().for_each(|variable| {
            command.env_remove(variable.name);
        });
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        let shown = output(command).await;
        assert_eq!(shown.status.code(), Some(0), "{}", stderr(&shown));
        serde_json::from_str(&stdout(&shown)).unwrap()
    }

    /// What every variable is said to be, and by whom.
    async fn check(&self, expected: impl Fn(&Variable) -> (Option<String>, String)) {
        let lines = self.lines().await;
        for variable in settable() {
            let line = lines.iter().find(|line| line["name"] == variable.name).unwrap();
            let (value, origin) = expected(variable);
            assert_eq!(line["origin"], origin, "{line}");
            let is_masked = variable.secret && value.is_some();
            let is_url = variable.name.ends_with("_URL") || variable.name.ends_with("_URI");
            let shown = if is_masked && !is_url { Some("********".to_owned()) } else { value };
            assert_eq!(line["value"].as_str().map(str::to_owned), shown, "{line}");
        }
    }
}

#[tokio::test]
async fn every_variable_is_shown_with_who_sets_it_flag_above_environment_above_file_above_default() {
    let mut scene = Scene { scratch: Scratch::new(), environment: Vec::new(), flags: Vec::new() };
    scene.check(|variable| (variable.default.map(str::to_owned), "default".to_owned())).await;

    let quoted = |variable: &Variable| match variable.shape {
        Shape::Text => format!("\"{}\"", value(variable, 1)),
        Shape::Whole | Shape::Switch => value(variable, 1),
    };
    let file: Vec<String> =
        settable().map(|variable| format!("{} = {}", variable.key, quoted(variable))).collect();
    std::fs::write(scene.scratch.join("cerebros.toml"), file.join("\n")).unwrap();
    let line = |variable: &Variable| settable().position(|other| other == variable).unwrap() + 1;
    scene.check(|variable| (Some(value(variable, 1)), format!("cerebros.toml:{}", line(variable)))).await;

    scene.environment = settable().map(|variable| (variable.name, value(variable, 2))).collect();
    scene.check(|variable| (Some(value(variable, 2)), format!("env {}", variable.name))).await;

    scene.flags =
        settable().map(|variable| format!("--{}={}", variable.flag().unwrap(), value(variable, 3))).collect();
    scene.check(|variable| (Some(value(variable, 3)), format!("flag --{}", variable.flag().unwrap()))).await;
}

#[tokio::test]
async fn an_unknown_key_is_an_error_with_a_suggestion() {
    let scratch = Scratch::new();
    std::fs::write(scratch.join("cerebros.toml"), "cache_ttl = 5\n").unwrap();
    let refused = output(program(scratch.path(), &["config", "show"])).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("did you mean `cache_ttl_ms`?"), "{}", stderr(&refused));
}

/// Every argument of every command.
fn arguments(command: &Command, found: &mut Vec<Arg>) {
    found.extend(command.get_arguments().cloned());
    command.get_subcommands().for_each(|subcommand| arguments(subcommand, found));
}

#[test]
fn the_programs_flags_are_called_what_config_show_calls_them() {
    let mut found = Vec::new();
    arguments(&cerebros::Cli::command(), &mut found);
    let named = found.iter().filter_map(|arg| Some((arg.get_env()?.to_str()?, arg.get_long()?)));
    let mut count = 0;
    for (name, long) in named {
        let variable =
            variable(name).unwrap_or_else(|| panic!("--{long} names {name}, which is no variable"));
        assert_eq!(variable.flag(), Some(long), "{name}");
        count += 1;
    }
    assert!(count > 50, "only {count} flags were found");
}
