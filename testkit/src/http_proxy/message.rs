//! Requests and answers as bytes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest request that is read; MLflow's own limit is one megabyte.
const MAX_REQUEST: usize = 8 << 20;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

pub(super) struct Request {
    pub(super) path: String,
    /// The first line and the headers.
    pub(super) head: String,
    /// What follows them, as far as it is text.
    pub(super) body: String,
    /// All of it, with `Connection: close` in its head.
    bytes: Vec<u8>,
}

pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
}

impl Request {
    /// None when the client ends before the request does.
    pub(super) async fn read(client: &mut TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let body_at = loop {
            if let Some(at) = end_of_head(&bytes) {
                break at;
            }
            more(client, &mut bytes).await?;
        };
        let head = String::from_utf8(bytes[..body_at].to_vec()).ok()?;
        let length: usize = header(&head, "content-length").map_or(Some(0), |text| text.parse().ok())?;
        while bytes.len() < body_at + length {
            more(client, &mut bytes).await?;
        }
        let path = head.split(' ').nth(1)?.to_owned();
        let mut lines: Vec<&str> = head.trim_end().split("\r\n").collect();
        lines.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let mut closing = format!("{}\r\nconnection: close\r\n\r\n", lines.join("\r\n")).into_bytes();
        closing.extend_from_slice(&bytes[body_at..]);
        let body = String::from_utf8_lossy(&bytes[body_at..]).into_owned();
        Some(Self { path, head, body, bytes: closing })
    }

    /// True when this text is in it.
    pub(super) fn is_about(&self, text: &str) -> bool {
        text.is_empty() || self.bytes.windows(text.len()).any(|part| part == text.as_bytes())
    }

    /// What the server answers, whole.
    pub(super) async fn forward(&self, host: &str) -> Option<Answer> {
        let mut server = TcpStream::connect(host).await.ok()?;
        server.write_all(&self.bytes).await.ok()?;
        let mut bytes = Vec::new();
        server.read_to_end(&mut bytes).await.ok()?;
        Some(Answer { bytes })
    }
}

impl Answer {
    pub(super) fn of(status: u16, headers: &[(String, String)], body: &str) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let text = format!(
            "HTTP/1.1 {status} Faulty\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Self { bytes: text.into_bytes() }
    }

    /// The head, and so much of the body.
    pub(super) fn cut(mut self, bytes: usize) -> Self {
        let body_at = end_of_head(&self.bytes).unwrap_or(0);
        self.bytes.truncate(body_at + bytes);
        self
    }
}

async fn more(client: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let read = client.read_buf(bytes).await.ok()?;
    (read > 0 && bytes.len() <= MAX_REQUEST).then_some(())
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD)?;
    Some(at + END_OF_HEAD.len())
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
