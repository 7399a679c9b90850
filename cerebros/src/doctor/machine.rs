//! This machine: interpreter, broker program, disk, ports.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::up::DEFAULT_PORTS;
use local_stack::ports::{self, PortChoice};
use local_stack::process::descendants;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use service_kit::check::Finding;
use service_kit::check::broker::OLDEST_BROKER;
use service_kit::check::program::{ask, version_in};
use service_kit::endpoints;

/// Where a Python is looked for: what the user means first, then what is newer on systems where that is old.
const PYTHONS: [&str; 5] = ["python3", "python3.13", "python3.12", "python3.11", "python3.10"];
/// Children run from here on.
const OLDEST_PYTHON: (u32, u32) = (3, 9);
/// `up` and `demo` install from here on.
const OLDEST_INSTALLER: (u32, u32) = (3, 10);
/// What the tools take when they are installed, in megabytes.
const TOOLS_MB: u64 = 1200;
/// Below this neither streams nor logs have room, in megabytes.
const LEAST_MB: u64 = 200;

/// The interpreter.
pub(super) async fn python() -> Finding {
    const REMEDY: &str = "install Python 3.10 or newer, or name one with CEREBROS_PYTHON";
    let named = std::env::var("CEREBROS_PYTHON").ok().filter(|name| !name.is_empty());
    let candidates: Vec<String> =
        named.map_or_else(|| PYTHONS.map(str::to_owned).to_vec(), |named| vec![named]);
    let mut oldest = None;
    for candidate in &candidates {
        let question = "import sys; print('%d.%d.%d %s' % (sys.version_info[:3] + (sys.executable,)))";
        let Some(answer) = ask(Path::new(candidate), &["-I", "-c", question]).await else { continue };
        let Some(version) = version_in(&answer) else { continue };
        let said = format!("Python {answer}");
        if version >= OLDEST_INSTALLER {
            return Finding::ok(said);
        }
        oldest.get_or_insert((version, said));
    }
    match oldest {
        Some((version, said)) if version >= OLDEST_PYTHON => {
            Finding::warning(format!("{said}: enough for a worker, too old for `up` and `demo`"), REMEDY)
        }
        Some((_, said)) => Finding::error(format!("{said} is too old"), REMEDY),
        None => Finding::error(format!("there is no Python: tried {}", candidates.join(", ")), REMEDY),
    }
}

/// The broker's program; only `up` and `demo` need one here.
pub(super) async fn nats_server(data_dir: &Path) -> Finding {
    let on_path = on_path("nats-server");
    if let Some(binary) = &on_path {
        let answer = ask(binary, &["--version"]).await.unwrap_or_default();
        let version = answer.rsplit(' ').next().unwrap_or_default().trim_start_matches('v').to_owned();
        if version_in(&version).is_some_and(|version| version >= OLDEST_BROKER) {
            return Finding::ok(format!("{version}, {}", binary.display()));
        }
    }
    if let Some(installed) = installed(&data_dir.join("tools"), "nats-server-") {
        return Finding::ok(format!("installed in {}", installed.display()));
    }
    let (major, minor) = OLDEST_BROKER;
    let found = on_path
        .map_or_else(|| "none".to_owned(), |binary| format!("only {}, which is older", binary.display()));
    Finding::ok(format!("{found} of {major}.{minor} or newer on PATH; `up` and `demo` install one (7 MB)"))
}

/// The data directory, or the place where it would be made.
pub(super) fn data_dir(data_dir: &Path) -> Finding {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let existing = absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let shown = absolute.display();
    const REMEDY: &str = "choose another with --data-dir or CEREBROS_DATA_DIR";
    if !existing.is_dir() {
        return Finding::error(format!("{} is not a directory", existing.display()), REMEDY);
    }
    if access(existing, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return Finding::error(format!("{shown} is not writable"), REMEDY);
    }
    let free = match free_megabytes(existing) {
        Ok(free) => free,
        Err(error) => return Finding::warning(format!("{shown}: free space is unknown ({error})"), REMEDY),
    };
    let needed = if installed(&absolute.join("tools"), "mlflow-").is_some() { 0 } else { TOOLS_MB };
    if free < LEAST_MB {
        Finding::error(format!("{shown} has {free} MB left"), format!("free some space, or {REMEDY}"))
    } else if free < LEAST_MB + needed {
        let message = format!("{shown} has {free} MB left, the tools take {TOOLS_MB}");
        Finding::warning(message, format!("free some space, or {REMEDY}"))
    } else {
        Finding::ok(format!("{shown} is writable, {free} MB free"))
    }
}

#[allow(clippy::unnecessary_cast, reason = "the two are narrower on other systems")]
fn free_megabytes(path: &Path) -> nix::Result<u64> {
    let disk = statvfs(path)?;
    Ok((disk.blocks_available() as u64).saturating_mul(disk.fragment_size() as u64) / 1_000_000)
}

/// The default ports: free, our own stack's, or somebody's.
pub(super) fn ports(data_dir: &Path) -> Finding {
    let ours = endpoints::running(data_dir).map(|stack| descendants(stack.pid)).unwrap_or_default();
    let busy = |port| ports::choose(PortChoice::Exactly(port)).is_err();
    let is_ours = |port| ports::owner(port).is_some_and(|owner| ours.contains(&owner));
    let taken: Vec<String> = DEFAULT_PORTS
        .iter()
        .filter(|(port, _)| busy(*port) && !is_ours(*port))
        .map(|(port, program)| {
            let owner = ports::owner(*port).map(|pid| format!(" by process {pid}")).unwrap_or_default();
            format!("{port} ({program}) is in use{owner}")
        })
        .collect();
    if taken.is_empty() {
        let whose = if ours.is_empty() { "free" } else { "free or the running stack's" };
        return Finding::ok(format!("4222, 5000 and 8000 are {whose}"));
    }
    Finding::warning(
        taken.join(", "),
        "nothing to do unless you need these: `up` takes the next free ones and says so",
    )
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let is_executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(is_executable)
}

/// An installed tool: the installer marks what is complete.
fn installed(tools: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(tools).ok()?.flatten();
    let mut complete = entries.filter(|entry| {
        entry.file_name().to_string_lossy().starts_with(prefix) && entry.path().join(".complete").exists()
    });
    complete.next().map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_kit::check::Status;

    #[test]
    fn a_data_directory_that_is_not_there_yet_is_judged_by_where_it_would_be() {
        let dir = tempfile::tempdir().unwrap();
        let check = data_dir(&dir.path().join("not/yet")).named("data_dir");
        assert_ne!(check.status, Status::Error, "{check:?}");
        assert!(!dir.path().join("not").exists(), "nothing is created");
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(data_dir(&file.join("below")).named("data_dir").status, Status::Error);
    }
}
