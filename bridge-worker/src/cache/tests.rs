//! What waits for the store, and what is left of it.

use std::sync::mpsc::SyncSender;

use service_kit::metrics::Metrics;

use super::*;

fn entry(bytes: usize) -> Entry {
    Entry {
        at: service_kit::clock::now(),
        trial_id: "r-0".to_owned(),
        metrics: Default::default(),
        warnings: vec!["w".repeat(bytes)],
        spectral_norm: false,
        spectral_norm_value: None,
        reports: Vec::new(),
        files: Vec::new(),
    }
}

fn over(sender: SyncSender<Order>, ended: oneshot::Receiver<()>) -> ResultCache {
    ResultCache {
        orders: Orders::new(sender, ended),
        room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)),
        environment: Environment { runtime: String::new(), code: None },
        is_code_over: Arc::default(),
        gauges: Gauges::new(&Metrics::new()),
    }
}

#[tokio::test]
async fn a_closed_cache_has_all_it_kept_on_the_disk_and_takes_no_more() {
    let directory = testkit::Scratch::new();
    let (place, copy) = (directory.path().join("results"), directory.path().join("copy"));
    let means = |directory: &Path| store::Means {
        directory: directory.to_owned(),
        capacity: Capacity { ttl: None, max_entries: 1_000, max_bytes: index::MAX_BYTES },
        watch: Watch::of(Arc::new(Code::look(&[], &[])), Arc::default()),
        entries: Default::default(),
    };
    let opened = async |directory: &Path| {
        let (orders, received) = sync_channel(MAX_ORDERS);
        let ended = store::start(means(directory), received).await.unwrap();
        over(orders, ended)
    };
    let contract = |number: u8| Contract { key: [number; 32], needs_code: false };
    let cache = opened(&place).await;
    (0..100).for_each(|number| cache.remember(contract(number), entry(1_000), None));
    cache.close().await;
    cache.remember(contract(100), entry(1), None);
    assert_eq!((cache.recall(contract(0)).await, cache.gauges.cache_dropped.get()), (None, 1));

    // What is in the files, whoever still has them open.
    std::fs::create_dir(&copy).unwrap();
    for file in ["conf", "db"] {
        std::fs::copy(place.join(file), copy.join(file)).unwrap();
    }
    let copied = opened(&copy).await;
    for number in 0..100 {
        assert!(copied.recall(contract(number)).await.is_some(), "{number}");
    }
    assert_eq!(copied.recall(contract(100)).await, None);
    copied.close().await;
}

#[test]
fn what_waits_to_be_written_is_bounded_by_its_bytes_and_what_is_dropped_is_counted() {
    let (orders, received) = sync_channel(MAX_ORDERS);
    let cache = over(orders, oneshot::channel().1);
    let remember = |bytes: usize| {
        let contract = Contract { key: [0; 32], needs_code: false };
        cache.remember(contract, entry(bytes), None);
        cache.gauges.cache_dropped.get()
    };
    assert_eq!((remember(10 << 20), remember(10 << 20)), (0, 1));
    assert_eq!((remember(6 << 20), remember(1)), (1, 2), "the room is used up to the last byte");
    drop(received.try_recv().unwrap());
    assert_eq!(remember(10 << 20), 2, "what was written makes room");
    assert_eq!(remember(MAX_ENTRY_BYTES + 1), 2, "one that is too large was never to be kept");
    assert_eq!(received.try_iter().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_does_not_answer_is_waited_for_five_seconds() {
    let (orders, _received) = sync_channel(MAX_ORDERS);
    // Of a thread that never ends.
    let (_end, ended) = oneshot::channel();
    let cache = over(orders, ended);
    let began = tokio::time::Instant::now();
    cache.close().await;
    let waited = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_millis(5100)).contains(&waited), "{waited:?}");
}
