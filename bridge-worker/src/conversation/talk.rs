//! The talk itself: hearing what a process says, and publishing it meanwhile.
//!
//! While one batch of events is on its way to the broker the next is heard, as far as nothing hangs on what is not durable
//! yet. What is said when the talk ends is published by [`Talk::tell_rest`], when nothing more is wanted of the process.

use std::time::Duration;

use search::Verdict;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::saying::{Said, Saying};
use super::topic::{Heard, Topic};
use super::{Cut, stopped};
use crate::announce::Announcer;
use crate::child::Lost;
use crate::child::protocol::{CallResult, FromChild};
use crate::invoker::Partner;
use crate::supervisor::Stop;
use crate::vitals::Vitals;

/// How long a process may take to hear that it should stop, before it is killed, and the broker to hear the rest.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// What publishing may take at the cost of a trial's time; what an outage takes is given back.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// Messages that are heard in one breath, before it is looked at what else has come.
const BREATH: usize = 64;

/// One call as far as it was heard and published.
pub(super) struct Talk<'a, T> {
    topic: &'a mut T,
    saying: Saying<'a>,
    /// Its number in its process.
    call: u64,
    /// Why nothing more is heard at the moment.
    held: Option<Held>,
    /// How long one part of the call may take, when the current one began, and until when it may go on.
    limit: Duration,
    part_began: Instant,
    deadline: Instant,
    /// Since when nothing more is heard, because the broker is waited for.
    deaf_since: Option<Instant>,
    /// The time is over, unless it was the broker that took it.
    is_due: bool,
}

/// Why nothing more is heard before everything that was said is durable.
enum Held {
    /// Something hangs on what was said.
    Weighty,
    /// This is to be heard again then.
    TooEarly(FromChild),
}

impl<'a, T: Topic> Talk<'a, T> {
    pub(super) fn new(topic: &'a mut T, announcer: &'a Announcer, limit: Duration) -> Self {
        let now = Instant::now();
        Self {
            topic,
            saying: Saying::new(announcer),
            call: 0,
            held: None,
            limit,
            part_began: now,
            deadline: now + limit,
            deaf_since: None,
            is_due: false,
        }
    }

    /// Makes the call and hears what is said until it is over, one way or the other.
    pub(super) async fn run(
        &mut self,
        partner: &mut Partner<'_>,
        stop: &mut watch::Receiver<Option<Stop>>,
        vitals: &Vitals,
    ) -> Result<Box<CallResult>, Cut> {
        self.call = partner.next_call();
        let call = self.topic.call(self.call);
        self.begin_part();
        let pulse = vitals.begin(Instant::now());
        tokio::select! {
            biased;
            how = stopped(stop) => return Err(Cut::Stopped(how)),
            begun = partner.begin(&call) => begun?,
        }
        let probe = partner.probe();
        let excess = async {
            match &probe {
                Some(probe) => probe.excess().await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(excess);
        loop {
            if let Some(result) = self.go_on()? {
                return Ok(result);
            }
            let may_hear = self.may_hear();
            if !may_hear {
                pulse.pause();
                self.deaf_since.get_or_insert_with(Instant::now);
            }
            tokio::select! {
                biased;
                how = stopped(stop) => return self.wind_down(partner, how).await,
                // Before the messages: a process that says something all the time has no more time than others.
                () = sleep_until(self.deadline), if !self.is_due => {
                    if may_hear {
                        return Err(Cut::OutOfTime);
                    }
                    self.is_due = true;
                }
                excess = &mut excess => return Err(Cut::Exceeded(excess)),
                said = self.saying.confirmed() => {
                    if self.told(said)? == Verdict::Prune {
                        partner.stop(self.call, "pruned").await.map_err(|_| Cut::Lost(Lost::Ended))?;
                    }
                    pulse.beat(Instant::now());
                }
                message = partner.receive(), if may_hear => {
                    pulse.beat(Instant::now());
                    if let Some(result) = self.hear_all(partner, message)? {
                        return Ok(result);
                    }
                }
            }
        }
    }

    /// What can be done without waiting: the next batch is begun, and what was held back is heard.
    fn go_on(&mut self) -> Result<Option<Box<CallResult>>, Cut> {
        while self.saying.is_idle() {
            if self.is_due {
                return Err(Cut::OutOfTime);
            }
            if self.topic.kept() > 0 {
                self.saying.begin(self.topic.take());
                break;
            }
            match self.held.take() {
                None | Some(Held::Weighty) => break,
                Some(Held::TooEarly(message)) => {
                    if let Some(result) = self.hear(message)? {
                        return Ok(Some(result));
                    }
                }
            }
        }
        Ok(None)
    }

    fn may_hear(&self) -> bool {
        self.held.is_none() && !self.is_due && !self.topic.is_full()
    }

    /// Hears a message and what lies ready behind it.
    fn hear_all(
        &mut self,
        partner: &mut Partner<'_>,
        message: Result<FromChild, Lost>,
    ) -> Result<Option<Box<CallResult>>, Cut> {
        let mut next = Some(message);
        for _ in 0..BREATH {
            let Some(message) = next else { break };
            if let Some(result) = self.hear(message.map_err(Cut::Lost)?)? {
                return Ok(Some(result));
            }
            next = if self.may_hear() { partner.ready() } else { None };
        }
        // What was taken out of the pipe cannot be put back.
        match next {
            Some(message) => self.hear(message.map_err(Cut::Lost)?),
            None => Ok(None),
        }
    }

    fn hear(&mut self, message: FromChild) -> Result<Option<Box<CallResult>>, Cut> {
        match self.topic.hear(message, self.call)? {
            Heard::Word => {}
            Heard::EndOfPart => self.begin_part(),
            Heard::Weighty => self.held = Some(Held::Weighty),
            Heard::WeightyEndOfPart => {
                self.held = Some(Held::Weighty);
                self.begin_part();
            }
            Heard::TooEarly(message) => self.held = Some(Held::TooEarly(message)),
            Heard::Result(result) => return Ok(Some(result)),
        }
        Ok(None)
    }

    fn begin_part(&mut self) {
        self.part_began = Instant::now();
        self.deadline = self.part_began + self.limit;
    }

    /// What was on its way is durable. The time for which its process was not heard was the broker's, not the trial's.
    fn told(&mut self, said: Said) -> Result<Verdict, Cut> {
        if let Some(since) = self.deaf_since.take() {
            let waited = since.max(self.part_began).elapsed();
            if waited > SHORT_WAIT {
                self.deadline += waited;
            }
            self.is_due = self.deadline <= Instant::now();
        }
        said.map(|events| self.topic.told(events)).map_err(Cut::Unsaid)
    }

    /// Gives a cancelled call a moment to hear of it. A result that is already on its way still counts.
    async fn wind_down(&mut self, partner: &mut Partner<'_>, how: Stop) -> Result<Box<CallResult>, Cut> {
        let stopped = Err(Cut::Stopped(how));
        let deadline = Instant::now() + STOP_GRACE;
        if how == Stop::Dropped || partner.stop(self.call, "cancelled").await.is_err() {
            return stopped;
        }
        self.is_due = false;
        loop {
            if let Some(result) = self.go_on()? {
                return Ok(result);
            }
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return stopped,
                // Pruned or not, it ends.
                said = self.saying.confirmed() => drop(self.told(said)?),
                message = partner.receive(), if self.may_hear() => match message {
                    Ok(message) => match self.hear_all(partner, Ok(message)) {
                        Ok(Some(result)) => return Ok(result),
                        Ok(None) => {}
                        // It ended as it was asked to.
                        Err(Cut::Lost(_)) => return stopped,
                        Err(other) => return Err(other),
                    },
                    Err(_) => return stopped,
                }
            }
        }
    }

    /// Publishes what was said and is not durable when the talk is over. A search that is stopped meanwhile waits a moment
    /// longer, one that is dropped does not.
    pub(super) async fn tell_rest(&mut self, stop: &mut watch::Receiver<Option<Stop>>) -> Result<(), Cut> {
        let mut grace = None;
        loop {
            if self.saying.is_idle() {
                if self.topic.kept() == 0 {
                    return Ok(());
                }
                self.saying.begin(self.topic.take());
            }
            tokio::select! {
                biased;
                how = stopped(stop), if grace.is_none() => match how {
                    Stop::Dropped => return Err(Cut::Stopped(how)),
                    Stop::Cancelled => grace = Some(Instant::now() + STOP_GRACE),
                },
                () = sleep_until(grace.unwrap_or(self.deadline)), if grace.is_some() => {
                    return Err(Cut::Stopped(Stop::Cancelled));
                }
                // Pruned or not, it ends.
                said = self.saying.confirmed() => drop(self.told(said)?),
            }
        }
    }
}
