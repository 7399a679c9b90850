//! The invariants of ARCHITECTURE.md that are absences, held against the source itself.

use std::path::{Path, PathBuf};

use testkit::workspace;

const ROOMS: [&str; 10] = [
    "schemas",
    "search",
    "service-kit",
    "producer",
    "bridge-worker",
    "mlflow-sink",
    "dlq-classifier",
    "cerebros",
    "testkit",
    "bench",
];

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Paths, relative to the workspace, of the source files that hold `needle` outside comments.
fn files_with(needle: &str, is_searched: impl Fn(&str) -> bool) -> Vec<String> {
    let mut files = Vec::new();
    ROOMS.iter().for_each(|room| rust_files(&workspace().join(room), &mut files));
    assert!(files.len() > 100, "the source was not found");
    let relative = |path: &PathBuf| path.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned();
    let holds = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(needle))
    };
    let mut with: Vec<String> =
        files.iter().filter(|path| is_searched(&relative(path)) && holds(path)).map(relative).collect();
    with.sort();
    with
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn is_shipped(path: &str) -> bool {
    !is_test(path)
        && !path.contains("/examples/")
        && !path.starts_with("testkit/")
        && !path.starts_with("bench/")
}

fn dependencies_of(room: &str) -> Vec<String> {
    let manifest = std::fs::read_to_string(workspace().join(room).join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_pure_rooms_depend_on_no_runtime_no_broker_and_no_clock() {
    for room in ["schemas", "search"] {
        let dependencies = dependencies_of(room);
        assert!(!dependencies.is_empty());
        for foreign in ["tokio", "async-nats", "reqwest", "sled", "tracing", "service-kit"] {
            assert!(!dependencies.iter().any(|name| name == foreign), "{room} depends on {foreign}");
        }
    }
}

#[test]
fn no_service_depends_on_another() {
    let services = ["producer", "bridge-worker", "mlflow-sink", "dlq-classifier"];
    for service in services {
        let dependencies = dependencies_of(service);
        let others = dependencies.iter().filter(|name| services.contains(&name.as_str()));
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new(), "{service}");
        assert!(!dependencies.iter().any(|name| name == "testkit"), "{service} ships with testkit");
    }
}

#[test]
fn sled_is_named_where_something_is_kept_that_may_be_lost() {
    let named = ["bridge-worker/src/cache/store.rs", "mlflow-sink/src/ledger.rs"];
    assert_eq!(files_with("sled::", is_shipped), named);
}

#[test]
fn the_wall_clock_is_read_in_one_file() {
    assert_eq!(files_with("now_utc()", is_shipped), ["service-kit/src/clock.rs"]);
    assert_eq!(files_with("SystemTime::now()", is_shipped), Vec::<String>::new());
}

#[test]
fn nothing_prints_but_the_output_module() {
    for macro_name in ["println!(", "print!("] {
        let found =
            files_with(macro_name, |path| is_shipped(path) && !path.starts_with("service-kit/src/output"));
        assert_eq!(found, Vec::<String>::new(), "{macro_name}");
    }
}

#[test]
fn no_test_sleeps() {
    let sleeping = files_with("sleep(", |path| is_test(path) && !path.ends_with("testkit/tests/it/house.rs"));
    assert_eq!(sleeping, Vec::<String>::new());
}
