use super::*;

/// Numbers from 0 to 1, always the same.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 33).unwrap()) / f64::from(1_u32 << 31)
    }
}

/// Calls of a server, each of which takes what `seconds` says of so many at once; how many there were at once in the
/// second half of them: the least, the mean and the most.
fn after(breadth: &mut Breadth, calls: usize, mut seconds: impl FnMut(usize) -> f64) -> (usize, f64, usize) {
    let mut limits = Vec::new();
    for call in 0..calls {
        let at_once = breadth.limit();
        // Calls of a kind come in rows, as those of trials do that were begun together.
        let kind = LEARNED[call / 8 % LEARNED.len()];
        let begun = breadth.begin(kind, 700, at_once);
        breadth.answered(Duration::from_secs_f64(seconds(at_once)), begun);
        limits.push(at_once);
    }
    let late = &limits[calls / 2..];
    let mean = count(late.iter().sum()) / count(late.len());
    (*late.iter().min().unwrap(), mean, *late.iter().max().unwrap())
}

/// A server with one interpreter, which two calls keep busy; a few in a hundred of each call's time are lost to every
/// further one.
fn one_interpreter(at_once: usize) -> f64 {
    0.008 * count(at_once) * (1.0 + 0.02 * count(at_once))
}

/// One that answers late: most calls by 40 ms, and some at once.
fn late(luck: &mut Luck, at_once: usize) -> f64 {
    let work = 0.010 + 0.0005 * count(at_once);
    if luck.next() < 0.2 { work } else { work + 0.040 }
}

#[test]
fn a_server_that_carries_out_one_call_after_the_other_gets_two_or_three_at_once() {
    let mut breadth = Breadth::default();
    let (_, mean, most) = after(&mut breadth, 1000, one_interpreter);
    assert!(mean < 2.3 && most <= 3, "{mean}, at most {most}");
}

#[test]
fn calls_that_differ_from_each_other_do_not_hide_that_a_server_carries_out_one_after_the_other() {
    for seed in 0..20 {
        let (mut breadth, mut luck) = (Breadth::default(), Luck(seed));
        // A third of them are half as slow again, some far slower.
        let (_, mean, _) = after(&mut breadth, 6000, |at_once| {
            let luck = luck.next();
            let strange = if luck < 0.01 { 10.0 } else { 0.6 + luck };
            one_interpreter(at_once) * strange
        });
        assert!(mean < 3.0, "{mean} with seed {seed}");
    }
}

#[test]
fn a_server_that_answers_late_gets_all_there_may_be_though_some_answers_are_early() {
    for seed in 0..20 {
        let (mut breadth, mut luck) = (Breadth::default(), Luck(seed));
        let (_, mean, _) = after(&mut breadth, 6000, |at_once| late(&mut luck, at_once));
        assert!(mean > 6.5, "{mean} with seed {seed}");
    }
}

#[test]
fn a_server_that_takes_no_more_than_six_at_once_gets_about_six() {
    let mut breadth = Breadth::default();
    let (least, _, most) = after(&mut breadth, 4000, |at_once| 0.048 * (count(at_once) / 6.0).max(1.0));
    assert!(least >= 5 && most <= 7, "{least} to {most}");
}

#[test]
fn the_number_follows_a_server_that_changes() {
    let mut breadth = Breadth::default();
    after(&mut breadth, 2000, |_| 0.048);
    assert!(breadth.limit() >= MAX_CONNECTIONS - 1);
    // Somebody restarts it with one worker.
    let (_, mean, _) = after(&mut breadth, 10_000, one_interpreter);
    assert!(mean < 2.3, "{mean}");
    let (_, mean, _) = after(&mut breadth, 10_000, |_| 0.048);
    assert!(mean > 7.5, "{mean}");
}

#[test]
fn a_server_that_only_becomes_slower_keeps_its_number() {
    let mut breadth = Breadth::default();
    after(&mut breadth, 2000, |_| 0.010);
    let (least, mean, _) = after(&mut breadth, 6000, |_| 0.080);
    assert!(least >= MAX_CONNECTIONS - 2 && mean > 7.5, "{mean}, at least {least}");
}

#[test]
fn calls_that_are_overtaken_count_as_much_as_those_that_overtake_them() {
    // One interpreter: the three calls of a trial take 22 ms, and a little more of each for every further one at once.
    // Whatever is added to what each takes alone falls on the long call in the middle.
    let mut breadth = Breadth::default();
    let mut limits = Vec::new();
    for call in 0..6000 {
        let at_once = breadth.limit();
        let all = 0.022 * count(at_once) * (1.0 + 0.02 * count(at_once));
        let short = [0.008, 0.005].map(|alone| alone * (1.0 + 0.15 * count(at_once - 1)));
        let (path, took) = [
            ("runs/create", short[0]),
            ("runs/log-batch", all - short[0] - short[1]),
            ("runs/update", short[1]),
        ][call % 3];
        let begun = breadth.begin(path, 700, at_once);
        breadth.answered(Duration::from_secs_f64(took), begun);
        limits.push(at_once);
    }
    let mean = count(limits[1000..].iter().sum()) / count(limits[1000..].len());
    assert!(mean < 2.3, "{mean}");
}

#[test]
fn calls_are_held_against_others_of_their_size() {
    for (from, to) in [(100, 90_000), (90_000, 100)] {
        let mut breadth = Breadth::default();
        let mut answer = |bytes: usize, calls: usize| {
            for _ in 0..calls {
                let begun = breadth.begin("runs/log-batch", bytes, breadth.limit());
                breadth.answered(Duration::from_micros(bytes as u64), begun);
            }
            breadth.limit()
        };
        let tried = answer(from, JUDGED_BY * AT_FIRST);
        assert_ne!(tried, AT_FIRST, "a number is tried");
        assert_eq!(answer(to, JUDGED_BY * tried), AT_FIRST, "nothing can be said of it, and all begins anew");
    }
}

#[test]
fn calls_of_other_paths_teach_nothing() {
    let mut breadth = Breadth::default();
    for call in 0..1000 {
        let begun = breadth.begin("runs/search", 700, breadth.limit());
        breadth.answered(Duration::from_millis(call), begun);
    }
    assert_eq!(breadth.limit(), AT_FIRST);
}

#[test]
fn a_few_calls_at_once_teach_nothing_while_there_may_be_more() {
    let mut breadth = Breadth::default();
    after(&mut breadth, 10, |_| 0.008);
    let before = breadth.limit();
    (0..1000).for_each(|_| breadth.answered(Duration::from_millis(500), breadth.begin(LEARNED[0], 700, 1)));
    assert_eq!(breadth.limit(), before);
}

#[test]
fn what_began_beside_another_number_tells_nothing_of_the_one_there_is_now() {
    let mut breadth = Breadth::default();
    let before = breadth.begin(LEARNED[0], 700, MAX_CONNECTIONS);
    after(&mut breadth, JUDGED_BY * AT_FIRST, |_| 0.008);
    let tried = breadth.limit();
    assert_ne!(tried, AT_FIRST);
    (0..1000).for_each(|_| breadth.answered(Duration::from_millis(500), before));
    assert_eq!(breadth.limit(), tried);
}
