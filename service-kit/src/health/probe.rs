//! The other side of the pages: a container's health check by our own binary, without curl.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::CliError;
use crate::exit::Exit;

/// A service that does not answer within this is not well.
const DEADLINE: Duration = Duration::from_secs(2);
/// The most that is read of an answer.
const SIZE_LIMIT: u64 = 64 * 1024;

/// Asks for `path` (such as `/readyz`) and gives the body if the answer is 200.
///
/// # Errors
/// When there is no answer within two seconds, or another one: exit code 6.
pub async fn probe(addr: SocketAddr, path: &str) -> Result<String, CliError> {
    let unreachable = |because: String| {
        CliError::new("not-answering", Exit::Unreachable, format!("http://{addr}{path} does not answer"))
            .because(because)
    };
    let answer = tokio::time::timeout(DEADLINE, fetch(reachable(addr), path))
        .await
        .map_err(|_| unreachable(format!("no answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| unreachable(error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.starts_with("HTTP/1.1 200") {
        return Ok(body.to_owned());
    }
    Err(CliError::new("not-ready", Exit::Unreachable, format!("http://{addr}{path} answers {status}"))
        .because(body.trim()))
}

async fn fetch(addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(SIZE_LIMIT).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// An address to listen on everywhere is reached through loopback.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    addr
}
