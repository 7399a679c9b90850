//! A TCP proxy on the loopback address that fails on command.
//!
//! It keeps its port under every fault, so a client's address stays valid. Chunks pass a bounded queue between the
//! side that reads and the side that writes; a fault acts on the writing side of both directions at once, on open
//! connections as on new ones. It knows no protocol.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Chunks on their way in one direction; with [`CHUNK_BYTES`] this bounds a connection to 2 MiB.
const QUEUED_CHUNKS: usize = 64;
const CHUNK_BYTES: usize = 16 * 1024;

/// What is wrong with the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// Open connections are closed; new ones are accepted and closed at once.
    Cut,
    /// A pulled cable: connections open and stay open, nothing arrives, nothing is lost. Goes on with `Pass`.
    BlackHole,
    /// Everything arrives this much later.
    Delay(Duration),
    /// So many bytes per second and direction.
    Throttle(u32),
    /// The client is told that the server will send no more, while what it sends still arrives.
    HalfClose,
}

/// A running proxy; ends, with its connections, on drop.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    scheme: Option<String>,
    fault: watch::Sender<Fault>,
    accepted: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a random port for `upstream`, either `127.0.0.1:4222` or a URL such as `nats://127.0.0.1:4222`.
    pub async fn start(upstream: &str) -> Self {
        let (scheme, host) = match upstream.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest.trim_end_matches('/')),
            None => (None, upstream),
        };
        let bound = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = bound.unwrap_or_else(|error| panic!("the proxy cannot listen: {error}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        let (fault, faults) = watch::channel(Fault::Pass);
        let accepted = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, host.to_owned(), faults, Arc::clone(&accepted)));
        Self { address, scheme, fault, accepted, task }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, with the scheme of the upstream's.
    pub fn url(&self) -> String {
        match &self.scheme {
            Some(scheme) => format!("{scheme}://{}", self.address),
            None => self.address.to_string(),
        }
    }

    /// Changes what is wrong, at once.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many connections were accepted so far, those cut at once included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        // Its connections hear this and end, wherever they are.
        self.fault.send_replace(Fault::Cut);
    }
}

async fn accept(
    listener: TcpListener,
    upstream: String,
    faults: watch::Receiver<Fault>,
    accepted: Arc<AtomicU64>,
) {
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(connection(client, upstream.clone(), faults.clone()));
    }
}

/// One connection, until both directions have ended or it is cut.
async fn connection(client: TcpStream, upstream: String, faults: watch::Receiver<Fault>) {
    let mut cut = faults.clone();
    let serve = async {
        wait_out_a_black_hole(&mut faults.clone()).await;
        let Ok(server) = TcpStream::connect(&upstream).await else { return };
        // Latency is ours to add, not the kernel's.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            direction(from_client, to_server, faults.clone(), Side::ToServer),
            direction(from_server, to_client, faults.clone(), Side::ToClient)
        );
    };
    tokio::select! {
        () = serve => {}
        _ = cut.wait_for(|fault| *fault == Fault::Cut) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    ToServer,
    ToClient,
}

async fn direction(from: OwnedReadHalf, to: OwnedWriteHalf, faults: watch::Receiver<Fault>, side: Side) {
    let (queue, queued) = mpsc::channel(QUEUED_CHUNKS);
    tokio::join!(read(from, queue), write(queued, to, faults, side));
}

async fn read(mut from: OwnedReadHalf, queue: mpsc::Sender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if queue.send((Instant::now(), buffer[..count].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut queued: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
    side: Side,
) {
    let mut half_close = faults.clone();
    let closes = async {
        match side {
            Side::ToClient => drop(half_close.wait_for(|fault| *fault == Fault::HalfClose).await),
            Side::ToServer => std::future::pending().await,
        }
    };
    let copies = async {
        while let Some((arrived, chunk)) = queued.recv().await {
            hold_back(&mut faults, arrived, chunk.len()).await;
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
        wait_out_a_black_hole(&mut faults).await;
    };
    tokio::select! {
        () = copies => {}
        () = closes => {}
    }
    // Dropping the write half tells the other end that no more comes.
}

/// Waits as long as the present fault demands, and again if the fault changes meanwhile.
async fn hold_back(faults: &mut watch::Receiver<Fault>, arrived: Instant, bytes: usize) {
    loop {
        let fault = *faults.borrow_and_update();
        let due = async {
            match fault {
                Fault::Pass | Fault::HalfClose => {}
                Fault::Delay(delay) => sleep_until(arrived + delay).await,
                Fault::Throttle(rate) => {
                    sleep(Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1)))).await
                }
                Fault::BlackHole | Fault::Cut => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => return,
            changed = faults.changed() => if changed.is_err() { return },
        }
    }
}

async fn wait_out_a_black_hole(faults: &mut watch::Receiver<Fault>) {
    let _ = faults.wait_for(|fault| *fault != Fault::BlackHole).await;
}

#[cfg(test)]
mod tests;
