//! `schemas check`: on this build, on a folder, and against the history of a repository made for the test.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::Scratch;

use super::{Output, error_of, json_of, run};
use crate::program::{output, program, stderr, stdout};

/// A repository with one published record and its recorded bytes.
struct Repository {
    scratch: Scratch,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { scratch: Scratch::new() };
        repository.git(&["init", "--quiet"]);
        repository.write("schemas/avro/thing_made.v1.avsc", &schema(&[]).to_string());
        repository.write("schemas/golden/thing_made.v1/full.avro", "recorded");
        repository.commit();
        repository
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.scratch.path()).args(["-c", "user.name=t", "-c", "user.email=t@localhost"]);
        assert!(git.args(arguments).output().unwrap().status.success(), "git {arguments:?}");
    }

    fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "--quiet", "--no-gpg-sign", "-m", "published"]);
    }

    fn write(&self, place: &str, content: &str) -> PathBuf {
        let path = self.scratch.join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    async fn check(&self, arguments: &[&str]) -> Output {
        check_in(self.scratch.path(), arguments).await
    }
}

async fn check_in(dir: &Path, arguments: &[&str]) -> Output {
    output(program(dir, &[&["schemas", "check"], arguments].concat())).await
}

/// The schema of a record with one field, and others.
fn schema(others: &[Value]) -> Value {
    let mut fields = vec![json!({"name": "id", "type": "string", "doc": "Which."})];
    fields.extend_from_slice(others);
    json!({"type": "record", "name": "ThingMade", "namespace": "a.b", "doc": "Made.", "fields": fields})
}

fn size(default: Option<i64>) -> Value {
    let mut field = json!({"name": "size", "type": "long", "doc": "Size in bytes."});
    if let Some(default) = default {
        field["default"] = default.into();
    }
    field
}

fn findings(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(9), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn this_build_is_in_order_and_says_so_in_one_line() {
    let checked = run(&["check"]).await;
    assert!(checked.status.success());
    assert_eq!(stdout(&checked), "");
    assert_eq!(stderr(&checked).lines().count(), 1);
    assert_eq!(json_of(&run(&["check", "-o", "json"]).await), json!([]));
}

#[tokio::test]
async fn a_good_new_version_passes_against_what_was_published() {
    let repository = Repository::new();
    repository.write("schemas/avro/thing_made.v2.avsc", &schema(&[size(Some(0))]).to_string());
    let checked = repository.check(&["--against", "HEAD"]).await;
    assert!(checked.status.success(), "{}{}", stdout(&checked), stderr(&checked));
    assert!(stderr(&checked).contains("had 1 schemas and 1 recorded files"), "{}", stderr(&checked));
}

#[tokio::test]
async fn a_breaking_version_is_named_with_its_record_field_and_rule() {
    let repository = Repository::new();
    repository.write("schemas/avro/thing_made.v2.avsc", &schema(&[size(None)]).to_string());
    let found = findings(&repository.check(&["--against", "HEAD", "-o", "json"]).await);
    let first = &found[0];
    assert_eq!((&first["record"], &first["field"]), (&json!("ThingMade"), &json!("size")));
    assert_eq!((&first["version"], &first["against"]), (&json!(2), &json!(1)));
    assert_eq!(first["rule"], "field-added-without-default");
    let folder = repository.scratch.join("schemas/avro");
    let alone = run(&["check", "--dir", folder.to_str().unwrap()]).await;
    assert_eq!(alone.status.code(), Some(9));
    assert!(stdout(&alone).contains("field-added-without-default"));
}

#[tokio::test]
async fn what_was_published_must_not_change_nor_go() {
    let repository = Repository::new();
    repository.write("schemas/golden/thing_made.v1/full.avro", "other bytes");
    let found = findings(&repository.check(&["--against", "HEAD", "-o", "json"]).await);
    assert_eq!((&found[0]["record"], &found[0]["rule"]), (&json!("ThingMade"), &json!("golden-altered")));
    std::fs::remove_dir_all(repository.scratch.join("schemas/golden")).unwrap();
    repository.write("schemas/avro/thing_made.v1.avsc", &schema(&[size(Some(0))]).to_string());
    let found = findings(&repository.check(&["--against", "HEAD", "-o", "json"]).await);
    let rules: Vec<&Value> = found.iter().map(|line| &line["rule"]).collect();
    assert_eq!(rules, ["version-altered", "golden-removed"]);
    std::fs::remove_dir_all(repository.scratch.join("schemas")).unwrap();
    let found = findings(&repository.check(&["--against", "HEAD", "-o", "json"]).await);
    assert!(found.iter().any(|line| line["rule"] == "version-removed"));
}

#[tokio::test]
async fn a_removed_version_still_counts_for_those_that_came_after() {
    let repository = Repository::new();
    std::fs::remove_file(repository.scratch.join("schemas/avro/thing_made.v1.avsc")).unwrap();
    repository.write("schemas/avro/thing_made.v2.avsc", &schema(&[size(None)]).to_string());
    let found = findings(&repository.check(&["--against", "HEAD", "-o", "json"]).await);
    let rules: Vec<&str> = found.iter().map(|line| line["rule"].as_str().unwrap()).collect();
    assert!(
        rules.contains(&"version-removed") && rules.contains(&"field-added-without-default"),
        "{rules:?}"
    );
}

#[tokio::test]
async fn a_revision_from_before_there_were_recorded_bytes_is_fine_and_said() {
    let repository = Repository::new();
    std::fs::remove_dir_all(repository.scratch.join("schemas/golden")).unwrap();
    repository.commit();
    repository.write("schemas/golden/thing_made.v1/full.avro", "recorded later");
    let checked = repository.check(&["--against", "HEAD"]).await;
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(stderr(&checked).contains("no recorded bytes yet"));
}

#[tokio::test]
async fn the_folder_decides_which_repository_and_a_path_where_in_it() {
    let repository = Repository::new();
    repository.git(&["mv", "schemas", "contract"]);
    repository.commit();
    let folder = repository.scratch.join("contract/avro");
    let elsewhere = Scratch::new();
    let dir = ["--dir", folder.to_str().unwrap(), "--against", "HEAD"];
    let checked = check_in(elsewhere.path(), &[&dir[..], &["--path", "contract"]].concat()).await;
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert!(stderr(&checked).contains("had 1 schemas and 1 recorded files"));
    let nowhere = repository.check(&["--against", "HEAD", "--path", "nowhere", "-o", "json"]).await;
    assert_eq!(nowhere.status.code(), Some(3));
    assert!(error_of(&nowhere)["help"].as_str().unwrap().contains("--path"));
}

#[tokio::test]
async fn a_revision_is_never_taken_for_an_option_and_one_that_is_missing_is_named() {
    let repository = Repository::new();
    for revision in
        ["--output=x", "-h", "--help", "no-such-branch", "", "HEAD:schemas", "HEAD; touch x", "$(touch x)"]
    {
        let refused = repository.check(&[&format!("--against={revision}"), "-o", "json"]).await;
        assert_eq!(refused.status.code(), Some(3), "{revision}: {}", stderr(&refused));
        let error = error_of(&refused);
        assert!(error["what"].as_str().unwrap().contains(revision));
        assert!(error["help"].as_str().unwrap().contains("git fetch --unshallow"));
    }
    assert!(!repository.scratch.join("x").exists());
}

#[tokio::test]
async fn without_a_repository_there_is_nothing_to_compare_with() {
    let scratch = Scratch::new();
    let refused = check_in(scratch.path(), &["--against", "HEAD"]).await;
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("git repository"));
}

#[tokio::test]
async fn a_folder_without_schemas_is_no_success() {
    let scratch = Scratch::new();
    let dir = scratch.path().to_str().unwrap();
    assert_eq!(run(&["check", "--dir", dir]).await.status.code(), Some(3));
    assert_eq!(run(&["check", "--dir", &format!("{dir}/missing")]).await.status.code(), Some(3));
    scratch.write("notes.txt", "no schema");
    let pipe = scratch.join("pipe.v1.avsc");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(run(&["check", "--dir", dir]).await.status.code(), Some(3), "a pipe is not waited for");
    scratch.write("thing_made.v1.avsc", [0xff, 0xfe]);
    assert_eq!(run(&["check", "--dir", dir]).await.status.code(), Some(5), "not UTF-8");
    scratch.write("thing_made.v1.avsc", "{");
    let broken = run(&["check", "--dir", dir, "-o", "json"]).await;
    assert_eq!(findings(&broken)[0]["rule"], "schema-unreadable");
    scratch.write("thing_made.v1.avsc", " ".repeat(2_000_000));
    assert_eq!(run(&["check", "--dir", dir]).await.status.code(), Some(5), "too large");
}
