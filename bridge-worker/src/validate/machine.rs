//! What can be told without a broker: gates, paths, interpreter, cache.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use service_kit::check::program::{ask, version_in};
use service_kit::check::{Check, Finding};
use service_kit::config::Gates;
use service_kit::error::CliError;

use crate::cache::CacheArgs;
use crate::cli::ServeArgs;

/// Children run from here on.
const OLDEST_PYTHON: (u32, u32) = (3, 9);
/// File in a repository that says which version it is.
const VERSION: &str = "VERSION";
/// Characters of a version that are shown.
const MAX_VERSION_CHARS: usize = 80;

pub(super) fn feature_flag(has_feature: bool) -> Check {
    let finding = if has_feature {
        Finding::ok("the gate FEATURES is open: it has ml_nas")
    } else {
        Finding::error("the gate FEATURES is shut: it does not have ml_nas", "set FEATURES=ml_nas to open it")
    };
    finding.named("feature_flag")
}

pub(super) fn config_enabled(gates: Result<Gates, CliError>, is_required: bool) -> Check {
    const MESSAGE: &str = "the gate CEREBROS_ENABLED is shut: every run would be refused";
    const REMEDY: &str = "set CEREBROS_ENABLED=true to open it";
    let finding = match (gates.map(|gates| gates.is_enabled), is_required) {
        (Err(error), _) => Finding::of(error),
        (Ok(true), _) => Finding::ok("the gate CEREBROS_ENABLED is open"),
        (Ok(false), true) => Finding::error(MESSAGE, REMEDY),
        (Ok(false), false) => Finding::warning(MESSAGE, REMEDY),
    };
    finding.named("config_enabled")
}

pub(super) fn repo_path(repositories: &[PathBuf]) -> Check {
    let missing = repositories.iter().find(|path| !path.is_dir());
    let finding = match (missing, repositories) {
        (Some(path), _) => Finding::error(
            format!("{} is not a directory", path.display()),
            "correct CEREBROS_REPO or --repo: the directory the trainers are imported from",
        ),
        (None, []) => Finding::ok("none is set: trainers come from the interpreter's own environment"),
        (None, paths) => Finding::ok(shown(paths)),
    };
    finding.named("repo_path")
}

pub(super) fn script_path(script: Option<&Path>) -> Check {
    let finding = match script {
        None => Finding::ok("none is set: calls that have a process of their own run our script"),
        Some(path) if path.is_file() => Finding::ok(path.display().to_string()),
        Some(path) if path.exists() => Finding::warning(
            format!("{} is not a regular file", path.display()),
            "name the script itself with CEREBROS_SCRIPT or --script",
        ),
        Some(path) => Finding::error(
            format!("{} does not exist", path.display()),
            "correct CEREBROS_SCRIPT or --script",
        ),
    };
    finding.named("script_path")
}

pub(super) async fn python(python: &Path) -> Finding {
    let (major, minor) = OLDEST_PYTHON;
    let remedy =
        format!("install Python {major}.{minor} or newer, or name one with CEREBROS_PYTHON or --python");
    let question = "import sys; print('%d.%d.%d %s' % (sys.version_info[:3] + (sys.executable,)))";
    match ask(python, &["-I", "-c", question]).await {
        None => Finding::error(format!("{} cannot be run as a Python", python.display()), remedy),
        Some(answer) if version_in(&answer).is_none_or(|version| version < OLDEST_PYTHON) => {
            Finding::error(format!("Python {answer} is too old"), remedy)
        }
        Some(answer) => Finding::ok(format!("Python {answer}")),
    }
}

pub(super) fn working_dir(args: &ServeArgs) -> Check {
    const REMEDY: &str = "choose another with CEREBROS_WORKDIR or --workdir";
    let path = args.workdir();
    let shown = path.display();
    let existing = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let finding = if !existing.is_dir() {
        Finding::error(format!("{} is not a directory", existing.display()), REMEDY)
    } else if access(existing, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        Finding::error(format!("{shown} is not writable"), REMEDY)
    } else if existing == path {
        Finding::ok(shown.to_string())
    } else if args.workdir.is_some() {
        Finding::warning(
            format!("{shown} does not exist; the worker would make it"),
            format!("make it, or {REMEDY}"),
        )
    } else {
        Finding::ok(format!("{shown}, which the worker makes"))
    };
    finding.named("working_dir")
}

/// The version of the user's own code, where that says one.
pub(super) fn version(repositories: &[PathBuf]) -> Check {
    let finding = match repositories.iter().find(|path| path.is_dir()) {
        None => Finding::ok("there is no repository to have one"),
        Some(repository) => match first_line(&repository.join(VERSION)) {
            Ok(version) if !version.is_empty() => Finding::ok(version),
            Ok(_) | Err(_) => Finding::warning(
                format!("{} has no readable {VERSION}", repository.display()),
                format!("write the version of your code into {VERSION} there; results are told apart by it"),
            ),
        },
    };
    finding.named("version")
}

fn first_line(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(4096).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().trim().chars().take(MAX_VERSION_CHARS).collect())
}

pub(super) fn cache_capacity(cache: &CacheArgs) -> Check {
    let finding = match (cache.cache_enabled, cache.cache_max_entries) {
        (false, _) => Finding::ok("the result cache is off"),
        (true, 0) => Finding::warning(
            "the result cache is on and may keep nothing",
            "set CEREBROS_CACHE_MAX_ENTRIES to 1 or more, or CEREBROS_CACHE_ENABLED=false",
        ),
        (true, entries) => Finding::ok(match cache.cache_ttl_ms {
            0 => format!("up to {entries} results, each until others need its room"),
            ttl => format!("up to {entries} results, each for {ttl} ms"),
        }),
    };
    finding.named("cache_capacity")
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_that_is_kept_for_0_ms_is_kept_until_others_need_its_room() {
        let said = |cache_ttl_ms| {
            let cache = CacheArgs { cache_enabled: true, cache_ttl_ms, cache_max_entries: 7 };
            cache_capacity(&cache).message
        };
        assert_eq!(said(0), "up to 7 results, each until others need its room");
        assert_eq!(said(30), "up to 7 results, each for 30 ms");
    }
}
