//! An HTTP proxy on the loopback address that answers wrongly on command.
//!
//! Rules say by path and by number of the call what goes wrong with it; whatever no rule names is passed on. It speaks
//! as much HTTP/1.1 as that needs: one exchange a connection, requests with a `Content-Length` or without a body.

mod message;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use message::{Answer, Request};

/// What goes wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFault {
    /// This is answered instead, the server hears nothing.
    Says {
        /// The status.
        status: u16,
        /// Headers besides those every answer has.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The server does what is asked, and this is answered instead of what it says.
    SaysAfterwards(u16),
    /// The server does what is asked, and its answer ends after so many bytes of the body.
    Cut(usize),
    /// The server hears nothing, and no answer comes as long as the rules are these.
    Hangs,
    /// The server does what is asked, and no answer comes as long as the rules are these.
    HangsAfterwards,
    /// The server hears it only when the rules change, whether or not anybody still waits for the answer.
    Late,
}

impl HttpFault {
    /// An answer without headers of its own.
    pub fn says(status: u16, body: &str) -> Self {
        Self::Says { status, headers: Vec::new(), body: body.to_owned() }
    }
}

/// Which calls something goes wrong with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    path: String,
    /// What the body of the request has to contain.
    about: String,
    skips: u64,
    times: u64,
    fault: HttpFault,
}

impl Rule {
    /// Every call whose path contains this.
    pub fn on(path: &str, fault: HttpFault) -> Self {
        Self { path: path.to_owned(), about: String::new(), skips: 0, times: u64::MAX, fault }
    }

    /// Only those whose body contains this.
    #[must_use]
    pub fn about(mut self, text: &str) -> Self {
        text.clone_into(&mut self.about);
        self
    }

    /// Only from the n-th such call on, counted from 0 since the rules were set.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.skips = calls;
        self
    }

    /// Only so many calls.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// A call that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// Its path, with the query.
    pub path: String,
    /// Its head: the first line and the headers.
    pub head: String,
    /// What it brought, as far as that is text.
    pub body: String,
    /// Did a rule concern it?
    pub is_faulty: bool,
}

/// A rule, the calls it has met, and those that went wrong because of it.
#[derive(Debug)]
struct Followed {
    rule: Rule,
    met: u64,
    faults: u64,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Followed>,
    seen: Vec<Seen>,
}

/// A running proxy; ends, with its connections, on drop.
#[derive(Debug)]
pub struct HttpProxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl HttpProxy {
    /// Listens on a random port for a server such as `http://127.0.0.1:5000`.
    pub async fn start(upstream: &str) -> Self {
        let host = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let bound = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = bound.unwrap_or_else(|error| panic!("the proxy cannot listen: {error}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        let (state, (changes, changed)) = (Arc::<Mutex<State>>::default(), watch::channel(0));
        let task = tokio::spawn(accept(listener, host, Arc::clone(&state), changed));
        Self { address, state, changes, task }
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what goes wrong, at once; calls that hang end without an answer, those that are late are passed on.
    pub fn set(&self, rules: impl IntoIterator<Item = Rule>) {
        locked(&self.state).rules =
            rules.into_iter().map(|rule| Followed { rule, met: 0, faults: 0 }).collect();
        self.changes.send_modify(|version| *version += 1);
    }

    /// The rules nothing went wrong with yet.
    pub fn idle_rules(&self) -> Vec<Rule> {
        let state = locked(&self.state);
        state
            .rules
            .iter()
            .filter(|followed| followed.faults == 0)
            .map(|followed| followed.rule.clone())
            .collect()
    }

    /// Every call so far.
    pub fn seen(&self) -> Vec<Seen> {
        locked(&self.state).seen.clone()
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// What goes wrong with this call, by the first rule it concerns.
    fn fault_of(&mut self, request: &Request) -> Option<HttpFault> {
        let (mut fault, Request { path, head, body, .. }) = (None, request);
        let is_met = |rule: &Rule| path.contains(&rule.path) && request.is_about(&rule.about);
        for Followed { rule, met, faults } in self.rules.iter_mut().filter(|followed| is_met(&followed.rule))
        {
            let is_concerned = *met >= rule.skips && *met - rule.skips < rule.times;
            *met += 1;
            if is_concerned && fault.is_none() {
                *faults += 1;
                fault = Some(rule.fault.clone());
            }
        }
        let (path, head, body) = (path.clone(), head.clone(), body.clone());
        self.seen.push(Seen { at: Instant::now(), path, head, body, is_faulty: fault.is_some() });
        fault
    }
}

async fn accept(
    listener: TcpListener,
    host: String,
    state: Arc<Mutex<State>>,
    changed: watch::Receiver<u64>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, host.clone(), Arc::clone(&state), changed.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// One exchange. Whatever fails ends the connection, as it would without us.
async fn connection(
    mut client: TcpStream,
    host: String,
    state: Arc<Mutex<State>>,
    mut changed: watch::Receiver<u64>,
) {
    let Some(request) = Request::read(&mut client).await else { return };
    let fault = {
        let mut state = locked(&state);
        changed.mark_unchanged();
        state.fault_of(&request)
    };
    let answer = match fault {
        None => request.forward(&host).await,
        Some(HttpFault::Late) => {
            let _ = changed.changed().await;
            request.forward(&host).await
        }
        Some(HttpFault::Says { status, headers, body }) => Some(Answer::of(status, &headers, &body)),
        Some(HttpFault::SaysAfterwards(status)) => {
            let _ = request.forward(&host).await;
            Some(Answer::of(status, &[], ""))
        }
        Some(HttpFault::Cut(bytes)) => request.forward(&host).await.map(|answer| answer.cut(bytes)),
        Some(HttpFault::Hangs) => return drop(changed.changed().await),
        Some(HttpFault::HangsAfterwards) => {
            let _ = request.forward(&host).await;
            return drop(changed.changed().await);
        }
    };
    if let Some(answer) = answer {
        let _ = client.write_all(&answer.bytes).await;
        let _ = client.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
