//! Twenty times kill -9, and nothing is to be seen of it.

use std::hash::{BuildHasher as _, RandomState};

use testkit::{Mlflow, experiment_name, wait_until};

use crate::commands::command;
use crate::events::{run, search};
use crate::pipeline::{CAUGHT_UP, Pipeline};
use crate::process::{Place, assert_same, undisturbed};
use crate::server::Server;

const KILLS: usize = 20;
const TRIALS: u32 = 40;

/// Numbers that follow from a seed.
struct Luck(u64);

impl Luck {
    /// A number below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[tokio::test]
async fn a_sink_killed_twenty_times_at_any_moment_leaves_what_an_undisturbed_one_would() {
    let told = std::env::var("CEREBROS_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = told.unwrap_or_else(|| RandomState::new().hash_one(0));
    eprintln!("CEREBROS_TEST_SEED={seed}");
    let mut luck = Luck(seed);
    let (pipeline, mlflow) = (Pipeline::start().await, Mlflow::shared().await);
    let (experiment, whole) = (experiment_name("killed"), experiment_name("unkilled"));
    let run = run("kills");
    let events = search(&run, &experiment, TRIALS);
    let mut chunks = events.chunks(events.len().div_ceil(KILLS));
    let mut place = Place::new();
    for kill in 0..KILLS {
        let before = pipeline.leader().await.map_or(0, |(_, revision)| revision);
        pipeline.publish(&run, chunks.next().unwrap_or_default()).await;
        place.start(&pipeline, &mlflow.url());
        wait_until(&format!("sink {kill} of seed {seed} has the lease"), CAUGHT_UP, async || {
            pipeline.leader().await.filter(|(_, revision)| *revision > before).map(drop)
        })
        .await;
        // A question to the broker takes about as long as any step of the sink.
        for _ in 0..luck.below(600) {
            pipeline.unsettled().await;
        }
        place.kill().await;
    }
    assert_eq!(chunks.next(), None);
    place.start(&pipeline, &mlflow.url());
    pipeline.caught_up().await;
    place.stop().await;
    let expected = undisturbed(mlflow, &whole, &[(run.clone(), search(&run, &whole, TRIALS))]).await;
    let found = Server::at(&mlflow.url()).runs(&experiment).await;
    assert_same(found, expected);
    assert_eq!(pipeline.dead_letters().await, Vec::<String>::new());
    // The other broker's run of the same name is not looked at.
    let told = command(&pipeline, &mlflow.url(), &["check"]).await;
    assert_eq!((told.kinds().len(), told.exit), (0, 0), "{told:?}");
}
