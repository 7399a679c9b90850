//! Who answers a call: the two kinds of partners, spoken to in the same words.

use std::sync::Arc;
use std::time::Duration;

use crate::child::protocol::{Call, FromChild, ToChild};
use crate::child::{Child, End, Lost, Probe};
use crate::conversation::Cut;
use crate::script::Script;

/// Who answers a call.
pub(crate) enum Partner<'a> {
    /// The child of a slot.
    Warm(&'a mut Child),
    /// A process for this call alone.
    Once(Box<Script>),
}

impl Partner<'_> {
    /// How long a part of the call may take at most, whatever the request says.
    pub(crate) fn limit(&self) -> Option<Duration> {
        match self {
            Self::Warm(_) => None,
            Self::Once(script) => script.limit(),
        }
    }

    /// What the result has to carry about the way it came about.
    pub(crate) fn warning(&self) -> Option<&str> {
        match self {
            Self::Warm(_) => None,
            Self::Once(script) => script.warning(),
        }
    }

    /// A number for the next call.
    pub(crate) fn next_call(&mut self) -> u64 {
        match self {
            Self::Warm(child) => child.next_call(),
            Self::Once(_) => 1,
        }
    }

    /// Makes the call. Dropped in the middle, a child is unfit for another.
    pub(crate) async fn begin(&mut self, call: &Call) -> Result<(), Cut> {
        match self {
            Self::Warm(child) => {
                child.clear_output();
                child.send(&ToChild::Call(call)).await.map_err(|error| {
                    let is_deaf = error.kind() == std::io::ErrorKind::TimedOut;
                    Cut::Lost(if is_deaf { Lost::Silent } else { Lost::Ended })
                })
            }
            Self::Once(script) => script.begin(call).map_err(Cut::NotStarted),
        }
    }

    /// The next message. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<FromChild, Lost> {
        match self {
            Self::Warm(child) => child.receive().await,
            Self::Once(script) => script.receive().await,
        }
    }

    /// The next message, if it is there already.
    pub(crate) fn ready(&mut self) -> Option<Result<FromChild, Lost>> {
        match self {
            Self::Warm(child) => child.ready(),
            Self::Once(script) => script.ready().map(Ok),
        }
    }

    /// Asks for the end of the call; a child that does not read is not waited for long, and unfit then.
    pub(crate) async fn stop(&mut self, call: u64, reason: &'static str) -> std::io::Result<()> {
        match self {
            Self::Warm(child) => child.stop(call, reason).await,
            Self::Once(script) => script.stop(),
        }
    }

    /// Why it is not to be given another call, if it is not. A process for one call never is.
    pub(crate) fn unfit(&self) -> Option<String> {
        let Self::Warm(child) = self else { return None };
        if child.is_torn() {
            return Some("it did not read what it was told".to_owned());
        }
        if child.has_descendants() {
            return Some("the call left processes behind".to_owned());
        }
        let is_swollen = child.probe().is_swollen();
        is_swollen
            .then(|| "the call left more than half of the memory in use that trials may take".to_owned())
    }

    /// Sees it from outside; `None` before the call has begun.
    pub(crate) fn probe(&self) -> Option<Arc<Probe>> {
        match self {
            Self::Warm(child) => Some(child.probe().clone()),
            Self::Once(script) => script.probe(),
        }
    }

    /// The end of what was printed on standard output so far.
    pub(crate) fn printed(&self) -> String {
        match self {
            Self::Warm(child) => child.printed(),
            Self::Once(script) => script.printed(),
        }
    }

    /// The process that was for this call alone, if it was one.
    pub(crate) fn into_script(self) -> Option<Box<Script>> {
        match self {
            Self::Warm(_) => None,
            Self::Once(script) => Some(script),
        }
    }
}

/// A process that takes no further call.
pub(crate) enum Leftover {
    Child(Box<Child>),
    Script(Box<Script>),
}

impl Leftover {
    /// Ends it after a call that went well.
    pub(crate) async fn dismiss(self, why: Option<&str>) {
        if let Self::Child(child) = &self {
            tracing::warn!(pid = child.pid(), why, "the child is replaced");
        }
        self.kill().await;
    }

    /// Kills it with everything it started, and says how it ended.
    pub(crate) async fn kill(self) -> End {
        match self {
            Self::Child(child) => child.kill().await,
            Self::Script(script) => script.kill().await,
        }
    }

    /// The same for one that is known to end by itself.
    pub(crate) async fn bury(self) -> End {
        match self {
            Self::Child(child) => child.bury().await,
            Self::Script(script) => script.kill().await,
        }
    }
}
