//! An MLflow that answers wrongly, late, by half or not at all: everything waits, and in the end the server has what an
//! undisturbed one has.

use std::time::Duration;

use serde_json::json;
use testkit::{HttpFault, HttpProxy, Mlflow, Rule, experiment_name, wait_until};
use tokio::sync::OnceCell;

use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::server::Server;

const TRIALS: u32 = 6;
/// What asks whether the server is there.
const PROBE: &str = "experiments/search";
/// Connections of one sink; what was under way when the first call failed.
const UNDER_WAY: usize = 4;

/// One search on its way into MLflow through a proxy that disturbs it.
struct Disturbed {
    pipeline: Pipeline,
    proxy: HttpProxy,
    name: &'static str,
    experiment: String,
    events: u64,
}

impl Disturbed {
    /// The search is published, and the proxy follows these rules from the first call on.
    async fn start(name: &'static str, rules: impl IntoIterator<Item = Rule>) -> Self {
        let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
        let proxy = HttpProxy::start(&mlflow.url()).await;
        proxy.set(rules);
        let experiment = experiment_name(name);
        let events = search(&run(name), &experiment, TRIALS);
        pipeline.publish(&run(name), &events).await;
        Self { pipeline, proxy, name, experiment, events: events.len() as u64 }
    }

    /// The same as an undisturbed search, and nobody is blamed.
    async fn is_like_undisturbed(&self) {
        self.pipeline.caught_up().await;
        assert_eq!(self.pipeline.dead_letters().await, Vec::<String>::new());
        let (found, expected) = (state(&self.experiment, self.name).await, undisturbed().await);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, expected);
        }
    }

    /// Every rule was needed: what it says went wrong.
    fn every_fault_came(&self) {
        assert_eq!(self.proxy.idle_rules(), Vec::<Rule>::new());
    }

    /// Calls a rule concerned, probes left out.
    fn faulty_calls(&self) -> usize {
        let seen = self.proxy.seen();
        seen.iter().filter(|seen| seen.is_faulty && !seen.path.contains(PROBE)).count()
    }
}

/// Everything the server has of an experiment with one search, but for what differs between two of them.
async fn state(experiment: &str, name: &str) -> Vec<String> {
    let runs = Server::at(&Mlflow::shared().await.url()).runs(experiment).await;
    let parent = runs[name].id.clone();
    let plain = |text: String| {
        text.replace(&parent, "PARENT").replace(experiment, "EXPERIMENT").replace(name, "NAME")
    };
    let mut state: Vec<String> = runs
        .into_values()
        .map(|mut run| {
            let (id, is_parent) = (std::mem::take(&mut run.id), run.name == name);
            // When the end of the run was published, which its event does not say.
            run.end_time = run.end_time.filter(|_| !is_parent);
            run.tags.remove("cerebros.birth");
            plain(format!("{run:?}")).replace(&id, "PARENT")
        })
        .collect();
    state.sort();
    state
}

async fn undisturbed() -> &'static [String] {
    static STATE: OnceCell<Vec<String>> = OnceCell::const_new();
    let made = STATE.get_or_init(async || {
        let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
        let (name, experiment) = ("undisturbed", experiment_name("undisturbed"));
        pipeline.publish(&run(name), &search(&run(name), &experiment, TRIALS)).await;
        let sink = pipeline.sink(&mlflow.url(), "unused");
        pipeline.caught_up().await;
        sink.stop().await;
        state(&experiment, name).await
    });
    made.await
}

#[tokio::test]
async fn a_server_that_fails_inside_is_tried_again_until_it_does_not() {
    let failing = HttpFault::says(500, "{\"error_code\": \"INTERNAL_ERROR\", \"message\": \"oops\"}");
    let search = Disturbed::start(
        "inside",
        [
            Rule::on("runs/create", failing.clone()).times(2),
            Rule::on("log-batch", failing.clone()).after(3).times(4),
            Rule::on("runs/update", failing).times(2),
        ],
    )
    .await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    search.is_like_undisturbed().await;
    sink.stop().await;
    assert_eq!(search.faulty_calls(), 8);
}

#[tokio::test]
async fn the_first_outage_stops_the_rest_of_a_batch() {
    let search = Disturbed::start("first", [Rule::on("/", HttpFault::says(503, "busy")).after(8)]).await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    wait_until("MLflow is asked four times whether it is back", CAUGHT_UP, async || {
        let seen = search.proxy.seen();
        (seen.iter().filter(|seen| seen.is_faulty && seen.path.contains(PROBE)).count() >= 4).then_some(())
    })
    .await;
    assert!(search.faulty_calls() <= UNDER_WAY, "{:?}", search.proxy.seen());
    search.proxy.set([]);
    search.is_like_undisturbed().await;
    sink.stop().await;
}

#[tokio::test]
async fn a_pause_the_server_asks_for_is_kept_by_everybody() {
    let pause = Duration::from_secs(10);
    let busy = HttpFault::Says {
        status: 429,
        headers: vec![("Retry-After".to_owned(), pause.as_secs().to_string())],
        body: "slow down".to_owned(),
    };
    let search = Disturbed::start("pause", [Rule::on("log-batch", busy).after(2).times(1)]).await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    search.is_like_undisturbed().await;
    sink.stop().await;
    let seen = search.proxy.seen();
    let asked = seen.iter().find(|seen| seen.is_faulty).unwrap().at;
    // What was under way when the answer came is sent within moments.
    let too_early = |at| at > asked + Duration::from_secs(4) && at < asked + pause;
    assert!(!seen.iter().any(|seen| too_early(seen.at)), "{seen:?}");
    assert!(seen.iter().any(|seen| seen.at >= asked + pause && seen.path.contains(PROBE)));
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle_does_not_count_and_nothing_is_written_twice() {
    let search = Disturbed::start(
        "half",
        [
            Rule::on("runs/create", HttpFault::Cut(20)).times(2),
            Rule::on("runs/create", HttpFault::SaysAfterwards(502)).after(3).times(1),
            Rule::on("runs/search", HttpFault::Cut(1)).after(1).times(1),
            Rule::on("log-batch", HttpFault::Cut(1)).times(3),
            Rule::on("runs/update", HttpFault::Cut(0)).times(2),
        ],
    )
    .await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    search.is_like_undisturbed().await;
    sink.stop().await;
    search.every_fault_came();
}

#[tokio::test]
async fn a_server_that_hangs_is_noticed_before_its_calls_are_given_up_and_caught_up_with() {
    hangs("hangs", [Rule::on("/", HttpFault::Hangs).after(8)]).await;
}

#[tokio::test]
async fn a_server_that_hangs_over_a_write_is_noticed_long_before_the_write_is_given_up() {
    // To begin with it is asked whether it is there, and by the sweep for its experiments.
    let probes = Rule::on(PROBE, HttpFault::Hangs).after(2);
    hangs("writing", [Rule::on("log-batch", HttpFault::Hangs).after(1), probes]).await;
}

async fn hangs(name: &'static str, rules: impl IntoIterator<Item = Rule>) {
    let search = Disturbed::start(name, rules).await;
    let (sink, pages) = search.pipeline.sink_with_pages(&search.proxy.url(), &[]);
    wait_until("a call hangs", CAUGHT_UP, async || (search.faulty_calls() > 0).then_some(())).await;
    // A call is suspicious after 8 s, a probe has 4 s; a write would be given up after 30 s.
    wait_until("the sink says that it is not ready", Duration::from_secs(25), async || {
        (!pages.is_ready().await).then_some(())
    })
    .await;
    search.proxy.set([]);
    search.is_like_undisturbed().await;
    wait_until("the sink is ready again", CAUGHT_UP, async || pages.is_ready().await.then_some(())).await;
    sink.stop().await;
}

#[tokio::test]
async fn a_page_of_something_in_between_is_nobody_s_event_s_fault() {
    let page = |status| HttpFault::says(status, "<html><title>Not here</title></html>");
    let search = Disturbed::start(
        "page",
        [
            Rule::on("runs/create", page(400)).times(2),
            Rule::on("log-batch", page(400)).after(2).times(2),
            Rule::on("log-batch", page(403)).after(6).times(2),
            Rule::on("runs/update", page(404)).times(1),
            Rule::on("runs/update", page(200)).after(2).times(1),
        ],
    )
    .await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    search.is_like_undisturbed().await;
    sink.stop().await;
    search.every_fault_came();
}

#[tokio::test]
async fn a_request_that_is_too_large_for_something_in_between_goes_in_parts() {
    let search =
        Disturbed::start("parts", [Rule::on("log-batch", HttpFault::says(413, "too large")).times(3)]).await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    search.is_like_undisturbed().await;
    sink.stop().await;
    assert_eq!(search.faulty_calls(), 3);
}

#[tokio::test]
async fn a_server_that_reads_but_does_not_write_is_not_ready_and_is_not_stormed() {
    let search =
        Disturbed::start("readonly", [Rule::on("log-batch", HttpFault::says(500, "disk full"))]).await;
    let (sink, pages) = search.pipeline.sink_with_pages(&search.proxy.url(), &[]);
    wait_until("the sink is not ready for that reason", CAUGHT_UP, async || {
        let health = pages.health().await?;
        health["components"].to_string().contains("disk full").then_some(())
    })
    .await;
    let tried = search.faulty_calls();
    wait_until("it is tried three times more", CAUGHT_UP, async || {
        assert!(!pages.is_ready().await, "a good read does not make it ready");
        (search.faulty_calls() >= tried + 3).then_some(())
    })
    .await;
    search.proxy.set([]);
    search.is_like_undisturbed().await;
    wait_until("the sink is ready again", CAUGHT_UP, async || pages.is_ready().await.then_some(())).await;
    sink.stop().await;
}

#[tokio::test]
async fn a_sink_with_nothing_to_write_is_ready_again_after_an_outage() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let proxy = HttpProxy::start(&mlflow.url()).await;
    // Met by the sweep at the start.
    proxy.set([Rule::on("experiments/get?", HttpFault::says(503, "busy")).times(1)]);
    let (sink, pages) = pipeline.sink_with_pages(&proxy.url(), &[]);
    wait_until("the sink has met it", CAUGHT_UP, async || proxy.idle_rules().is_empty().then_some(())).await;
    wait_until("the sink is ready", CAUGHT_UP / 4, async || pages.is_ready().await.then_some(())).await;
    sink.stop().await;
}

#[tokio::test]
async fn the_health_page_says_how_many_events_mlflow_does_not_have() {
    let search = Disturbed::start("lag", [Rule::on("/", HttpFault::says(503, "busy"))]).await;
    let (sink, pages) = search.pipeline.sink_with_pages(&search.proxy.url(), &[]);
    let lag = async |events: u64| {
        wait_until("the health page says so many", CAUGHT_UP, async || {
            (pages.health().await?["numbers"]["lag_events"] == events).then_some(())
        })
        .await;
    };
    lag(search.events).await;
    let oldest = async |is_right: fn(i64) -> bool| {
        wait_until("the health page says how old the oldest is", CAUGHT_UP, async || {
            is_right(pages.health().await?["numbers"]["oldest_event_seconds"].as_i64()?).then_some(())
        })
        .await;
    };
    oldest(|seconds| seconds >= 5).await;
    search.proxy.set([]);
    search.is_like_undisturbed().await;
    lag(0).await;
    oldest(|seconds| seconds == 0).await;
    sink.stop().await;
}

#[tokio::test]
async fn a_page_of_runs_that_is_too_much_is_asked_for_in_smaller_ones_and_stops_nobody() {
    let search = Disturbed::start("pages", []).await;
    let sink = search.pipeline.sink(&search.proxy.url(), "unused");
    search.pipeline.caught_up().await;
    sink.stop().await;
    // Whoever has no ledger reads the trials to draw the curve again.
    search.pipeline.delete_the_ledger();
    search.pipeline.forget_the_position().await;
    let long = format!("{{\"runs\": \"{}", "x".repeat(40 << 20));
    search.proxy.set([
        Rule::on("runs/search", HttpFault::says(504, "it took too long")).times(1),
        Rule::on("runs/search", HttpFault::says(200, &long)).after(1).times(1),
    ]);
    let (sink, pages) = search.pipeline.sink_with_pages(&search.proxy.url(), &[]);
    search.is_like_undisturbed().await;
    assert_eq!(pages.outages().await, 0, "nobody took it for an outage");
    sink.stop().await;
    assert_eq!(search.proxy.seen().iter().filter(|seen| seen.is_faulty).count(), 2);
}

/// How MLflow hands on that somebody else wrote the same row first.
fn race() -> HttpFault {
    let words = "(sqlite3.IntegrityError) UNIQUE constraint failed: params.key, params.run_uuid";
    HttpFault::says(400, &json!({"error_code": "BAD_REQUEST", "message": words}).to_string())
}

#[tokio::test]
async fn who_loses_a_race_twice_in_a_row_writes_all_the_same() {
    let faults =
        [Rule::on("runs/log-batch", race()).times(2), Rule::on("runs/log-batch", race()).after(6).times(2)];
    let disturbed = Disturbed::start("races", faults).await;
    let sink = disturbed.pipeline.sink(&disturbed.proxy.url(), "unused");
    disturbed.is_like_undisturbed().await;
    sink.stop().await;
    assert_eq!(disturbed.faulty_calls(), 4);
}

#[tokio::test]
async fn a_race_that_never_ends_is_a_dead_letter_with_mlflow_s_words_after_the_third_try() {
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (proxy, experiment, run) =
        (HttpProxy::start(&mlflow.url()).await, experiment_name("lost-race"), run("lost"));
    proxy.set([Rule::on("runs/log-batch", race())]);
    pipeline.publish(&run, &search(&run, &experiment, 1)[..1]).await;
    let sink = pipeline.sink(&proxy.url(), "unused");
    pipeline.caught_up().await;
    sink.stop().await;
    let letters = pipeline.dead_letters().await;
    assert!(letters.len() == 1 && letters[0].contains("UNIQUE constraint failed"), "{letters:?}");
    let tries = proxy.seen().iter().filter(|seen| seen.path.contains("runs/log-batch")).count();
    assert_eq!(tries, 3, "{:?}", proxy.seen());
}
