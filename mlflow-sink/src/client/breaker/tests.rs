use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct Told {
    breaker: Breaker,
    now: Instant,
}

impl Told {
    /// A breaker that opened at the start.
    fn open() -> Self {
        let now = Instant::now();
        let mut told = Self { breaker: Breaker::new(now), now };
        told.breaker.probe_answered(now);
        assert_eq!(told.breaker.phase(), Phase::Open);
        told
    }

    fn outage(&mut self, asked: Duration) {
        self.breaker.outage("down", asked, self.now, 1.0);
    }

    fn batch_failed(&mut self) {
        self.breaker.batch_failed("HTTP 500", Scope::Lane, false, self.now, 1.0);
    }

    /// A good probe at the earliest moment.
    fn probe_answered(&mut self) {
        self.now = self.now.max(self.breaker.not_before());
        self.breaker.probe_answered(self.now);
    }

    fn phase(&self) -> Phase {
        self.breaker.phase()
    }
}

#[test]
fn it_is_shut_until_the_first_answer() {
    assert_eq!(Breaker::new(Instant::now()).phase(), Phase::Shut);
}

#[test]
fn the_first_outage_shuts_it_and_only_a_written_batch_opens_it_again() {
    let mut told = Told::open();
    told.outage(Duration::ZERO);
    assert_eq!((told.phase(), told.breaker.reason()), (Phase::Shut, "down"));
    told.probe_answered();
    assert_eq!(told.phase(), Phase::HalfOpen);
    told.breaker.batch_written(told.breaker.pass());
    assert_eq!(told.phase(), Phase::Open);
}

#[test]
fn a_server_that_reads_but_does_not_write_never_opens_it_and_is_asked_ever_less() {
    let mut told = Told::open();
    told.outage(Duration::ZERO);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let before = told.now;
        told.probe_answered();
        assert_eq!(told.phase(), Phase::HalfOpen);
        pauses.push(told.now - before);
        told.batch_failed();
        assert_eq!(told.phase(), Phase::Shut);
    }
    assert!(pauses.is_sorted() && pauses[0] < SECOND && pauses[11] == 30 * SECOND, "{pauses:?}");
}

#[test]
fn one_run_that_fails_alone_shuts_nobody_out() {
    let mut told = Told::open();
    for _ in 0..10 {
        told.batch_failed();
        assert_eq!(told.phase(), Phase::Open);
        told.breaker.batch_written(told.breaker.pass());
    }
    told.batch_failed();
    told.batch_failed();
    assert_eq!(told.phase(), Phase::Shut, "two in a row are the server's fault");
}

#[test]
fn a_batch_of_before_the_outage_does_not_open_it() {
    let mut told = Told::open();
    let pass = told.breaker.pass();
    told.outage(Duration::ZERO);
    told.breaker.batch_written(pass);
    assert_eq!(told.phase(), Phase::Shut);
    told.probe_answered();
    told.breaker.batch_written(pass);
    assert_eq!(told.phase(), Phase::HalfOpen);
}

#[test]
fn the_longest_pause_anybody_was_asked_for_holds_for_all() {
    let mut told = Told::open();
    told.outage(2 * SECOND);
    told.outage(7 * SECOND);
    told.outage(SECOND);
    assert_eq!(told.breaker.not_before(), told.now + 7 * SECOND);
    let early = told.now + 6 * SECOND;
    told.breaker.probe_answered(early);
    assert_eq!(told.phase(), Phase::Shut, "a probe that was under way does not shorten it");
    told.breaker.probe_failed("429", 9 * SECOND, early, 1.0);
    assert_eq!(told.breaker.not_before(), early + 9 * SECOND);
}

#[test]
fn a_probe_that_fails_shuts_what_was_open() {
    let mut told = Told::open();
    told.breaker.probe_failed("no answer in time", Duration::ZERO, told.now, 1.0);
    assert_eq!((told.phase(), told.breaker.reason()), (Phase::Shut, "no answer in time"));
}

#[test]
fn pauses_grow_while_the_server_is_away_and_begin_anew_after_a_written_batch() {
    let mut told = Told::open();
    told.outage(Duration::ZERO);
    for _ in 0..12 {
        told.now = told.breaker.not_before();
        told.breaker.probe_failed("down", Duration::ZERO, told.now, 1.0);
    }
    assert_eq!(told.breaker.not_before() - told.now, 30 * SECOND);
    told.probe_answered();
    told.breaker.batch_written(told.breaker.pass());
    told.outage(Duration::ZERO);
    assert!(told.breaker.not_before() - told.now < SECOND);
}

#[test]
fn runs_that_were_never_written_do_not_shut_it_for_the_others() {
    let mut told = Told::open();
    for _ in 0..9 {
        told.breaker.batch_failed("HTTP 403", Scope::Lane, true, told.now, 1.0);
    }
    assert_eq!(told.phase(), Phase::Open);
    told.outage(Duration::ZERO);
    told.probe_answered();
    told.breaker.batch_failed("HTTP 403", Scope::Lane, true, told.now, 1.0);
    assert_eq!(told.phase(), Phase::HalfOpen, "nothing shows that the server takes anything, or does not");
}
