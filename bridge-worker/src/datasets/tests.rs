//! Files of the directory; the artefact store is looked into by the tests on a real broker.

use std::fs;

use testkit::Scratch;

use super::*;

/// `printf x | sha256sum`
const SHA256_OF_X: &str = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

fn house(scratch: &Scratch) -> Datasets {
    let directory = scratch.join("data");
    fs::create_dir_all(directory.join("sub")).unwrap();
    fs::write(directory.join("x.csv"), "x").unwrap();
    fs::write(directory.join("sub/y.parquet"), "y").unwrap();
    fs::write(directory.join("notes.txt"), "z").unwrap();
    Datasets::new(directory, scratch.join("fetched"))
}

/// A place for files that is no store.
fn nowhere() -> Artifacts {
    Artifacts::in_directory(PathBuf::new())
}

async fn refusal(datasets: &Datasets, name: &str) -> String {
    match datasets.locate(&nowhere(), name).await {
        Err(NotLocated::Refused(failure)) => {
            assert_eq!((failure.class, failure.stage), (FailureClass::Validation, Stage::Validate));
            failure.message
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_file_is_found_with_its_name_within_the_directory_and_its_hash() {
    let scratch = Scratch::new();
    let datasets = house(&scratch);
    let found = datasets.locate(&nowhere(), "sub/../x.csv").await;
    assert!(matches!(found, Err(NotLocated::Refused(_))), "two dots are refused by the name alone");
    let found = datasets.locate(&nowhere(), "./x.csv").await.unwrap().unwrap();
    assert_eq!((found.name.as_str(), found.sha256.as_str()), ("x.csv", SHA256_OF_X));
    assert!(datasets.locate(&nowhere(), "digits").await.unwrap().is_none());
}

#[tokio::test]
async fn a_checksum_of_either_case_holds_and_a_wrong_one_names_the_right_one() {
    let scratch = Scratch::new();
    let datasets = house(&scratch);
    let upper = SHA256_OF_X.to_uppercase();
    assert!(datasets.locate(&nowhere(), &format!("x.csv#sha256={upper}")).await.unwrap().is_some());
    let message = refusal(&datasets, &format!("x.csv#sha256={}", "0".repeat(64))).await;
    assert!(message.contains(SHA256_OF_X) && message.contains("dataset_id"), "{message}");
}

#[tokio::test]
async fn a_file_that_was_changed_is_hashed_again() {
    let scratch = Scratch::new();
    let datasets = house(&scratch);
    let before = datasets.locate(&nowhere(), "x.csv").await.unwrap().unwrap().sha256;
    fs::write(scratch.join("data/x.csv"), "another").unwrap();
    assert_ne!(datasets.locate(&nowhere(), "x.csv").await.unwrap().unwrap().sha256, before);
}

#[tokio::test]
async fn a_missing_file_names_what_there_is() {
    let scratch = Scratch::new();
    let message = refusal(&house(&scratch), "missing.csv").await;
    assert!(
        message.contains("digits, iris, wine, breast_cancer, diabetes, sub/y.parquet, x.csv"),
        "{message}"
    );
    let elsewhere = Datasets::new(scratch.join("nowhere"), scratch.join("fetched"));
    assert!(refusal(&elsewhere, "x.csv").await.contains("nowhere"));
}

#[tokio::test]
async fn a_link_does_not_lead_out_of_the_directory() {
    let scratch = Scratch::new();
    let datasets = house(&scratch);
    fs::write(scratch.join("outside.csv"), "x").unwrap();
    std::os::unix::fs::symlink(scratch.join("outside.csv"), scratch.join("data/link.csv")).unwrap();
    assert!(refusal(&datasets, "link.csv").await.contains("leads out"));
    fs::create_dir(scratch.join("data/folder.csv")).unwrap();
    assert!(refusal(&datasets, "folder.csv").await.contains("not a regular file"));
}

#[tokio::test]
async fn without_a_broker_there_is_no_artefact_store() {
    let scratch = Scratch::new();
    assert!(refusal(&house(&scratch), "artifact:run/trial/a.csv").await.contains("needs a broker"));
}
