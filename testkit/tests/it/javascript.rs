//! The npm projects hold what they promise.

use testkit::{Scratch, asyncapi_validator};

const DOCUMENT: &str = "asyncapi: 3.0.0
info: { title: Trials, version: 1.0.0 }
channels:
  trial: { address: ml.run.trial, messages: { trial: { payload: { type: object } } } }
operations:
  hear: { action: receive, channel: { $ref: '#/channels/trial' } }
";

#[tokio::test]
async fn the_asyncapi_validator_accepts_what_is_right_and_names_what_is_wrong() {
    let validator = asyncapi_validator().await;
    let dir = Scratch::new();
    let check = async |name: &str, document: String| {
        let path = dir.write(name, document);
        let output = validator.command("validate.mjs").arg(path).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let (code, said) = check("right.yaml", DOCUMENT.to_owned()).await;
    assert!(code == Some(0) && said.contains("1 channels, no errors"), "{code:?}: {said}");
    let (code, said) = check("wrong.yaml", DOCUMENT.replace("receive", "dream")).await;
    assert!(code == Some(1) && said.contains("operations.hear.action"), "{code:?}: {said}");
    let (code, said) = check("dangling.yaml", DOCUMENT.replace("channels/trial", "channels/nowhere")).await;
    assert!(code == Some(1) && said.contains("nowhere"), "{code:?}: {said}");
    let (code, said) = check("broken.yaml", "asyncapi: [".to_owned()).await;
    assert_eq!(code, Some(1), "{said}");
}
