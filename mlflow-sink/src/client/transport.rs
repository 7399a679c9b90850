//! One HTTP exchange with the tracking server: its turn, its deadlines, its answer, and what the breaker hears of it.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::{CONNECTION, HeaderValue};
use reqwest::{Body, Method, Request, RequestBuilder, Response};
use serde::de::{DeserializeOwned, IgnoredAny};
use service_kit::clock;
use service_kit::error::CliError;
use service_kit::mlflow::http;
use service_kit::mlflow::tracking::Tracking;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::timeout;

use super::breadth::{Begun, Breadth};
use super::breaker::{Breaker, Phase};
use super::error::{self, Call, ClientError, Disposition, Scope};
use super::reuse::{self, Reuse};
use super::{CALL_TIMEOUT, MAX_CONNECTIONS};
use crate::gate::luck;

/// Deadline of a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After so long without a whole answer one asks whether the server is alive at all. With [`PROBE_TIMEOUT`] this is how
/// long a server that hangs is taken for one that works.
const SUSPICIOUS_AFTER: Duration = Duration::from_secs(8);
/// Deadline of a probe, which asks for next to nothing.
const PROBE_TIMEOUT: Duration = Duration::from_secs(4);
/// MLflow's server closes idle connections after five seconds; one that is about to be closed is not used any more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);
/// The end of the connection with the answer.
const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    tracking: Tracking,
    connections: Semaphore,
    /// How many of them there may be, and how many there are.
    breadth: Mutex<(Breadth, usize)>,
    breaker: Option<watch::Sender<Breaker>>,
    suspicion: Notify,
    /// Without encryption only, where a new connection costs next to nothing.
    reuse: Option<Mutex<Reuse>>,
}

impl Transport {
    pub(super) fn new(tracking: Tracking, breaker: Option<watch::Sender<Breaker>>) -> Result<Self, CliError> {
        let http = http::client(&tracking, |client| {
            client
                .user_agent(concat!("cerebros-mlflow-sink/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(CALL_TIMEOUT)
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(MAX_CONNECTIONS)
        })?;
        let breadth = Breadth::default();
        let (connections, suspicion) = (Semaphore::new(breadth.limit()), Notify::new());
        let breadth = Mutex::new((Breadth::default(), breadth.limit()));
        let reuse = (!tracking.is_https()).then(Mutex::default);
        Ok(Self { http, tracking, connections, breadth, breaker, suspicion, reuse })
    }

    pub(super) fn url(&self) -> &str {
        self.tracking.url()
    }

    pub(super) fn workspace(&self) -> Option<&str> {
        self.tracking.workspace()
    }

    pub(super) fn breaker(&self) -> Option<&watch::Sender<Breaker>> {
        self.breaker.as_ref()
    }

    pub(super) async fn suspicion(&self) {
        self.suspicion.notified().await;
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/api/2.0/mlflow/{path}", self.tracking.url());
        self.tracking.signed(self.http.request(method, url))
    }

    /// Asks when it is its turn; `patience` is the deadline of the first byte.
    pub(super) async fn call<A: DeserializeOwned>(
        &self,
        call: Call<'_>,
        request: RequestBuilder,
        patience: Duration,
    ) -> Result<A, ClientError> {
        let (http, request) = request.build_split();
        let mut request = request.map_err(|error| ClientError::unreachable(call.path, &error))?;
        let turn = self.turn(call).await?;
        let (began, begun) = (Instant::now(), self.begin(call.path, bytes_of(&request)));
        let is_fresh = self.reuse().is_fresh();
        if is_fresh {
            request.headers_mut().insert(CONNECTION, CLOSE);
        }
        let mut behind = None;
        let answer = {
            let mut exchange = pin!(exchange(call, http.execute(request), patience, &mut behind));
            match timeout(SUSPICIOUS_AFTER, &mut exchange).await {
                Ok(answer) => answer,
                Err(_) => {
                    self.suspicion.notify_one();
                    exchange.await
                }
            }
        };
        if let Some(behind) = behind {
            self.look(is_fresh, behind);
        }
        if let Err(error) = &answer
            && let Disposition::Wait(asked, Scope::All) = error.disposition()
        {
            self.tell(|breaker| breaker.outage(&error.to_string(), asked, Instant::now(), luck()));
        }
        let took = answer.is_ok().then(|| began.elapsed());
        self.learn(took, begun, turn);
        answer
    }

    /// Whether connections are used again. Always over TLS, where a new one is dear.
    fn reuse(&self) -> Reuse {
        let known = self.reuse.as_ref().map(|known| *known.lock().unwrap_or_else(PoisonError::into_inner));
        known.unwrap_or_default()
    }

    /// Learns how long after its head the end of an answer came.
    fn look(&self, was_fresh: bool, behind: Duration) {
        let Some(known) = &self.reuse else { return };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.after(was_fresh, behind);
        if next.is_fresh() && !known.is_fresh() {
            tracing::debug!(
                "MLflow sends heads and bodies of answers apart: each call has a connection of its own"
            );
        }
        *known = next;
    }

    /// Notes beside how many others a call begins.
    fn begin(&self, path: &str, bytes: usize) -> Begun {
        let held = self.breadth.lock().unwrap_or_else(PoisonError::into_inner);
        let (breadth, there_are) = &*held;
        breadth.begin(path, bytes, there_are.saturating_sub(self.connections.available_permits()))
    }

    /// Lets more calls be under way, or fewer, as one teaches that has ended; `took`: if it was answered.
    fn learn(&self, took: Option<Duration>, begun: Begun, turn: SemaphorePermit<'_>) {
        let mut held = self.breadth.lock().unwrap_or_else(PoisonError::into_inner);
        let (breadth, there_are) = &mut *held;
        if let Some(took) = took {
            breadth.answered(took, begun);
        }
        let there_may_be = breadth.limit();
        if *there_are > there_may_be {
            turn.forget();
            *there_are -= 1;
        } else {
            self.connections.add_permits(there_may_be - *there_are);
            *there_are = there_may_be;
        }
    }

    /// Asks whatever the breaker says, and before everything that waits for its turn.
    pub(super) async fn probe(&self, call: Call<'_>, request: RequestBuilder) -> Result<(), ClientError> {
        let answer: Result<Result<IgnoredAny, ClientError>, _> =
            timeout(PROBE_TIMEOUT, exchange(call, request.send(), PROBE_TIMEOUT, &mut None)).await;
        let answer = answer.unwrap_or_else(|_| Err(ClientError::outage(call.path, "no answer in time")));
        let now = Instant::now();
        match &answer {
            Ok(_) => self.tell(|breaker| breaker.probe_answered(now)),
            Err(error) => {
                let asked = match error.disposition() {
                    Disposition::Wait(asked, _) => asked,
                    Disposition::LookUp | Disposition::Again | Disposition::Refuse => Duration::ZERO,
                };
                self.tell(|breaker| breaker.probe_failed(&error.to_string(), asked, now, luck()));
            }
        }
        answer.map(drop)
    }

    fn tell(&self, what: impl FnOnce(&mut Breaker)) {
        if let Some(breaker) = &self.breaker {
            breaker.send_modify(what);
        }
    }

    /// Waits for one of the few connections, but not longer than MLflow can be used.
    async fn turn(&self, call: Call<'_>) -> Result<SemaphorePermit<'_>, ClientError> {
        tokio::select! {
            biased;
            reason = self.shut() => Err(ClientError::outage(call.path, format!("not tried, because {reason}"))),
            turn = self.connections.acquire() => Ok(turn.expect("the semaphore is never closed")),
        }
    }

    async fn shut(&self) -> String {
        let Some(breaker) = &self.breaker else { return std::future::pending().await };
        let mut breaker = breaker.subscribe();
        let shut = breaker.wait_for(|breaker| breaker.phase() == Phase::Shut).await;
        shut.map(|breaker| breaker.reason().to_owned()).unwrap_or_default()
    }
}

/// Size of the body of a request; 0 without one.
fn bytes_of(request: &Request) -> usize {
    request.body().and_then(Body::as_bytes).map_or(0, <[u8]>::len)
}

/// One exchange; `behind` is how long after its head the end of an answer came, of one that is short.
async fn exchange<A: DeserializeOwned>(
    call: Call<'_>,
    sent: impl Future<Output = reqwest::Result<Response>>,
    patience: Duration,
    behind: &mut Option<Duration>,
) -> Result<A, ClientError> {
    let path = call.path;
    let response = match timeout(patience, sent).await {
        Ok(sent) => sent.map_err(|error| ClientError::unreachable(path, &error))?,
        Err(_) => return Err(ClientError::slow(call)),
    };
    let began = Instant::now();
    let status = response.status();
    let retry_after = error::retry_after(response.headers(), clock::now());
    let body = read(call, response).await?;
    *behind = (body.len() <= reuse::LONGEST).then(|| began.elapsed());
    if !status.is_success() {
        return Err(ClientError::answered(call, status, retry_after, &body));
    }
    serde_json::from_slice(&body).map_err(|error| ClientError::not_mlflow(path, &error))
}

async fn read(call: Call<'_>, mut response: Response) -> Result<Vec<u8>, ClientError> {
    let is_success = response.status().is_success();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) if error.is_timeout() => return Err(ClientError::slow(call)),
            Err(error) => return Err(ClientError::unreachable(call.path, &error)),
        }
        if body.len() > MAX_ANSWER_BYTES {
            let reason = format!("the answer is over {MAX_ANSWER_BYTES} bytes");
            // MLflow speaks JSON, whatever stands in between does not.
            return Err(match body.first() {
                Some(b'{') if is_success => ClientError::Unwieldy { call: call.path.to_owned(), reason },
                Some(_) | None => ClientError::not_mlflow(call.path, &reason),
            });
        }
    }
}
