//! Who answers a call: the two kinds of partners, spoken to in the same words.

use std::process::ExitStatus;
use std::time::Duration;

use crate::child::protocol::{Call, FromChild, ToChild};
use crate::child::{Child, Lost};
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

    /// Makes the call.
    pub(crate) async fn begin(&mut self, call: &Call) -> Result<(), Cut> {
        match self {
            Self::Warm(child) => {
                child.clear_output();
                child.send(&ToChild::Call(call)).await.map_err(|_| Cut::Lost(Lost::Ended))
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

    /// Asks for the end of the call.
    pub(crate) async fn stop(&mut self, call: u64, reason: &'static str) -> std::io::Result<()> {
        match self {
            Self::Warm(child) => child.send(&ToChild::Stop { id: call, reason }).await,
            Self::Once(script) => script.stop(),
        }
    }

    /// True when processes started by user code are still there. Those of a process for one call end with it.
    pub(crate) fn has_descendants(&self) -> bool {
        match self {
            Self::Warm(child) => child.has_descendants(),
            Self::Once(_) => false,
        }
    }

    /// The end of what was printed on standard output and standard error.
    pub(crate) fn output(&self) -> (String, String) {
        match self {
            Self::Warm(child) => child.output(),
            Self::Once(script) => script.output(),
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
    pub(crate) async fn dismiss(self) {
        if let Self::Child(child) = &self {
            tracing::warn!(pid = child.pid(), "the call left processes behind; its child is replaced");
        }
        self.kill().await;
    }

    /// Kills it with everything it started, and says how it ended.
    pub(crate) async fn kill(self) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.kill().await,
            Self::Script(script) => script.kill().await,
        }
    }

    /// The same for one that is known to end by itself.
    pub(crate) async fn bury(self) -> Option<ExitStatus> {
        match self {
            Self::Child(child) => child.bury().await,
            Self::Script(script) => script.kill().await,
        }
    }
}
