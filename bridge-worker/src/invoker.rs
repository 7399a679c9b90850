//! The ways to call Python: a warm child of a slot, or one process for one call.
//!
//! What is said in a conversation is the same either way. A worker whose children do not start falls back to processes
//! for one call, says why, and tries the children again later.

mod fallback;
mod partner;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use schemas::{Failure, FailureClass, Stage};
use tokio::time::Instant;

use crate::child::StartError;
use crate::script::{Script, ScriptSettings, names_script, ping};
use crate::slots::Lease;

use fallback::Fallback;

pub(crate) use partner::{Leftover, Partner};

/// Tries to start a child before something else is done, and the pause after the first; it doubles.
const START_TRIES: u32 = 3;
const START_PAUSE: Duration = Duration::from_millis(500);

/// Which way is taken when nothing speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// Warm Python processes that take one call after the other
    Pool,
    /// A Python process for each call
    Subprocess,
}

/// What is done when children do not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FallbackTo {
    /// A Python process for each call
    Subprocess,
    /// Nothing: runs are given back, and none are taken
    None,
}

/// How a worker calls Python.
#[derive(Debug)]
pub struct Invoker {
    way: Way,
    /// The script of processes for one call.
    script: Arc<ScriptSettings>,
    /// The same, for when children do not start; `None` when nothing else is wanted.
    reserve: Option<Arc<ScriptSettings>>,
    fallback: Mutex<Fallback>,
}

impl Invoker {
    /// Takes `way`, with `script` for calls that have a process of their own and `reserve` for when no child starts.
    pub fn new(way: Way, script: ScriptSettings, reserve: Option<ScriptSettings>) -> Arc<Self> {
        let fallback = Mutex::default();
        Arc::new(Self { way, script: Arc::new(script), reserve: reserve.map(Arc::new), fallback })
    }

    /// True when calls without a script of their own are answered by warm children.
    pub fn needs_children(&self) -> bool {
        self.way == Way::Pool
    }

    /// Whether a worker whose children do not start, for `error`, can still make calls.
    ///
    /// # Errors
    /// Why not.
    pub async fn falls_back(&self, error: &StartError) -> Result<(), String> {
        let Some(reserve) = &self.reserve else { return Err(error.to_string()) };
        ping(reserve).await.map_err(|also| format!("{error}; nor is there a fallback: {also}"))
    }

    /// True when the operator has named a script, which requests may call by `script:OP`.
    pub fn has_script(&self) -> bool {
        self.script.is_the_operators
    }

    /// Finds who answers calls of `entry` in a slot.
    ///
    /// # Errors
    /// No child starts, and nothing else is allowed.
    pub(crate) async fn engage<'a>(&self, entry: &str, lease: &'a mut Lease) -> Result<Partner<'a>, Failure> {
        if self.way == Way::Subprocess || (self.has_script() && names_script(entry)) {
            return Ok(Partner::Once(Box::new(Script::new(self.script.clone(), None))));
        }
        if let (Some(reserve), Some(why)) = (&self.reserve, self.fallback().reason(Instant::now())) {
            return Ok(Partner::Once(Box::new(Script::new(reserve.clone(), Some(told(&why))))));
        }
        let error = match start(lease).await {
            // Borrowed again: the borrow checker does not see that this returns.
            Ok(()) => {
                self.fallback().over();
                return lease.child().await.map(Partner::Warm).map_err(|error| no_child(&error));
            }
            Err(error) => error,
        };
        let Some(reserve) = &self.reserve else { return Err(no_child(&error)) };
        let why = error.to_string();
        if let Err(also) = ping(reserve).await {
            return Err(no_child(&format!("{why}; nor is there a fallback: {also}")));
        }
        tracing::warn!(why, "no Python child starts; each call gets a process of its own until one does");
        self.fallback().fall(Instant::now(), why.clone());
        Ok(Partner::Once(Box::new(Script::new(reserve.clone(), Some(told(&why))))))
    }

    fn fallback(&self) -> std::sync::MutexGuard<'_, Fallback> {
        self.fallback.lock().expect("nobody panics while holding the fallback")
    }
}

/// The warning every trial and run carries that was trained by the fallback.
fn told(why: &str) -> String {
    let why = schemas::failure::bounded_head(why, 400);
    format!("called by subprocess instead of the pool, because no child started: {why}")
}

fn no_child(error: &impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Dependency, Stage::Execute, error.to_string())
}

async fn start(lease: &mut Lease) -> Result<(), StartError> {
    let mut pause = START_PAUSE;
    for _ in 1..START_TRIES {
        match lease.child().await {
            Ok(_) => return Ok(()),
            Err(error) => tracing::warn!(%error, "child did not start, trying again"),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    lease.child().await.map(drop)
}
