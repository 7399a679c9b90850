//! Something in front of a server that keeps its connections and hands on each answer in one piece.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const END_OF_HEAD: &[u8] = b"\r\n\r\n";

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    answered: AtomicU64,
}

/// A running one; ends, with its connections, on drop.
pub(crate) struct Front {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

impl Front {
    /// In front of a server such as `http://127.0.0.1:5000`.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, counts) = (listener.local_addr().unwrap(), Arc::<Counts>::default());
        let host = upstream.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(accept(listener, host, Arc::clone(&counts)));
        Self { address, counts, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.counts.accepted.load(Ordering::Relaxed)
    }

    /// Calls answered so far.
    pub(crate) fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, host: String, counts: Arc<Counts>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        counts.accepted.fetch_add(1, Ordering::Relaxed);
        connections.spawn(serve(client, host.clone(), Arc::clone(&counts)));
    }
}

/// Call after call, until the client ends. The server gets a new connection for each: it would close one in use when it likes.
async fn serve(mut client: TcpStream, host: String, counts: Arc<Counts>) -> Option<()> {
    loop {
        let request = message(&mut client).await?;
        let mut server = TcpStream::connect(&host).await.ok()?;
        server.write_all(&request).await.ok()?;
        let answer = message(&mut server).await?;
        client.write_all(&answer).await.ok()?;
        counts.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// A request or an answer, with the body its head tells of.
async fn message(peer: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let body_at = loop {
        if let Some(at) = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
            break at + END_OF_HEAD.len();
        }
        more(peer, &mut bytes).await?;
    };
    let head = String::from_utf8_lossy(&bytes[..body_at]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Some(0), |length| length.trim().parse().ok())?;
    while bytes.len() < body_at + length {
        more(peer, &mut bytes).await?;
    }
    Some(bytes)
}

async fn more(peer: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    (peer.read_buf(bytes).await.ok()? > 0).then_some(())
}
