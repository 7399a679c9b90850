//! What the documents tell people to type works as they say.

use clap::CommandFactory as _;
use schemas::FailureClass;
use schemas::event::TrialStatus;
use schemas::lifecycle::RunState;
use testkit::workspace;

use crate::house::House;

fn limits() -> String {
    std::fs::read_to_string(workspace().join("docs/how-to/limits.md")).unwrap()
}

/// The code blocks of a language, in order.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    document
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().trim_end().to_owned())
        .collect()
}

/// The arguments behind a program's name; single quotes are the only ones the documents use.
fn arguments(command: &str, program: &str) -> Vec<String> {
    let rest = command.strip_prefix(program).unwrap_or_else(|| panic!("{command} is no {program}"));
    let parts = rest.split('\'').enumerate();
    parts
        .flat_map(|(number, part)| match number % 2 {
            0 => part.split_ascii_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

#[tokio::test]
async fn the_example_of_limits_does_what_its_page_says() {
    let document = limits();
    let commands = blocks(&document, "sh");
    let house = House::open().await;
    std::fs::write(house.scratch.join("greedy.py"), &blocks(&document, "python")[0]).unwrap();
    let here = house.scratch.path().to_str().unwrap().to_owned();
    let mut serve = arguments(&commands[1], "bridge-worker serve ");
    serve.iter_mut().filter(|argument| *argument == ".").for_each(|argument| argument.clone_from(&here));
    let worker = house.worker(&serve.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut body: serde_json::Value =
        serde_json::from_str(&arguments(&commands[2], "producer submit ")[0]).unwrap();
    body["run_id"] = "greedy".into();
    house.request(body.clone()).await;
    assert_eq!(house.ended("greedy").await.state, RunState::Failed);
    let failure = house.trials("greedy").await.pop().unwrap().failure.unwrap();
    assert_eq!(failure.class, FailureClass::Oom, "{}", failure.message);
    assert!(failure.traceback.unwrap().contains("greedy.py"));
    body["run_id"] = "modest".into();
    body["search_space"]["megabytes"] = serde_json::json!([100]);
    house.request(body).await;
    house.ended("modest").await;
    assert_eq!(house.trials("modest").await[0].status, TrialStatus::Succeeded);
    worker.stop().await;
}

#[tokio::test]
async fn the_flags_of_the_page_are_those_of_the_program_with_their_variables() {
    let document = limits();
    let program = bridge_worker::Cli::command();
    let serve = program.find_subcommand("serve").unwrap();
    let rows: Vec<&str> = document.lines().filter(|line| line.starts_with("| `--")).collect();
    assert_eq!(rows.len(), 5);
    for row in rows {
        let name = row.split("`--").nth(1).unwrap().split(' ').next().unwrap();
        let argument = serve.get_arguments().find(|argument| argument.get_long() == Some(name)).unwrap();
        let variable = argument.get_env().unwrap().to_str().unwrap();
        assert!(row.contains(&format!("`{variable}`")), "{row}");
    }
    let house = House::open().await;
    let flags = arguments(&blocks(&document, "sh")[0], "bridge-worker serve ");
    let worker = house.worker(&flags.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let body = serde_json::json!({"run_id": "limited", "dataset_id": "iris", "budget": {"max_trials": 2}});
    house.request(body).await;
    assert_eq!(house.ended("limited").await.state, RunState::Completed);
    worker.stop().await;
}
