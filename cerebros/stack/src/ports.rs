//! Loopback ports that never hurt: a busy default moves up and says so, a busy port that was asked for is an error
//! that names it and, where the system lets us see, who holds it.
//!
//! A port that is free now may be taken before the program we start binds it. Programs that can choose for
//! themselves should (the broker does); for the others the caller retries on a bind failure (MLflow's start does).

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How many ports above the default are tried before giving up.
const TRIED_PORTS: u16 = 200;
/// A loopback connection is accepted or refused at once; this is for a machine that is very busy.
const PROBE_DEADLINE: Duration = Duration::from_millis(200);

/// Which port a program of the stack shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortChoice {
    /// This one; if it is busy, the next free one above it.
    From(u16),
    /// This one or none: somebody asked for it.
    Exactly(u16),
    /// Any free one.
    Any,
}

/// A port that was free a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// The number.
    pub number: u16,
    /// The default it was moved away from because that one was busy.
    pub moved_from: Option<u16>,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The port that was asked for belongs to somebody.
    #[error("port {port} of 127.0.0.1 is in use{}", owned_by(*owner))]
    Busy {
        /// The port.
        port: u16,
        /// Process id of who listens there, where the system lets us see it.
        owner: Option<u32>,
    },
    /// The default and everything above it is taken.
    #[error("ports {first} to {last} of 127.0.0.1 are all in use")]
    NoneFree {
        /// The default.
        first: u16,
        /// The last one tried.
        last: u16,
    },
    /// The operating system refused for another reason than a busy port.
    #[error("cannot listen on port {port} of 127.0.0.1")]
    Refused {
        /// The port; 0 when any would have done.
        port: u16,
        /// Why not.
        source: std::io::Error,
    },
}

impl PortError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Busy { port, owner: Some(pid) } => {
                format!("stop process {pid}, or ask for a port other than {port}")
            }
            Self::Busy { port, owner: None } => format!("free it, or ask for a port other than {port}"),
            Self::NoneFree { .. } => "ask for a port in another range".to_owned(),
            Self::Refused { .. } => "ports below 1024 need privileges; ask for a higher one".to_owned(),
        }
    }
}

fn owned_by(owner: Option<u32>) -> String {
    owner.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

/// Finds a port.
pub fn choose(choice: PortChoice) -> Result<Port, PortError> {
    match choice {
        PortChoice::Any => {
            let refused = |source| PortError::Refused { port: 0, source };
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused)?;
            let number = listener.local_addr().map_err(refused)?.port();
            Ok(Port { number, moved_from: None })
        }
        PortChoice::Exactly(port) if is_free(port)? => Ok(Port { number: port, moved_from: None }),
        PortChoice::Exactly(port) => Err(PortError::Busy { port, owner: owner(port) }),
        PortChoice::From(first) => {
            let last = first.saturating_add(TRIED_PORTS);
            for number in first..=last {
                if is_free(number)? {
                    return Ok(Port { number, moved_from: (number != first).then_some(first) });
                }
            }
            Err(PortError::NoneFree { first, last })
        }
    }
}

/// Free means that we can bind it and that nobody answers there: on some systems the loopback address can be bound
/// although another program listens on all addresses.
fn is_free(port: u16) -> Result<bool, PortError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(listener) => drop(listener),
        Err(error) if error.kind() == ErrorKind::AddrInUse => return Ok(false),
        Err(source) => return Err(PortError::Refused { port, source }),
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    Ok(TcpStream::connect_timeout(&address, PROBE_DEADLINE).is_err())
}

/// Process id of who listens on a port, where `/proc` shows it (own processes, or all of them for root).
pub fn owner(port: u16) -> Option<u32> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| listening_socket(table, port))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find(|pid| holds_one_of(*pid, &sockets))
}

/// `socket:[inode]` of the listener in one of the kernel's tables: local address is field 1, state 3, inode 9.
fn listening_socket(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let local_port = format!(":{port:04X}");
    let text = std::fs::read_to_string(table).ok()?;
    let rows = text.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let mut listening = rows.filter(|row| row.len() > 9 && row[1].ends_with(&local_port) && row[3] == LISTEN);
    listening.next().map(|row| format!("socket:[{}]", row[9]))
}

fn holds_one_of(pid: u32, sockets: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    let mut targets = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy_port() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn a_busy_default_moves_up_and_says_from_where() {
        let (_held, busy) = busy_port();
        let port = choose(PortChoice::From(busy)).unwrap();
        assert!(port.number > busy);
        assert_eq!(port.moved_from, Some(busy));
    }

    #[test]
    fn a_free_default_is_kept() {
        let port = choose(PortChoice::Any).unwrap();
        assert_eq!(choose(PortChoice::From(port.number)).unwrap(), port);
    }

    #[test]
    fn a_busy_port_that_was_asked_for_is_an_error_that_names_the_port() {
        let (_held, busy) = busy_port();
        let error = choose(PortChoice::Exactly(busy)).unwrap_err();
        assert!(error.to_string().contains(&busy.to_string()), "{error}");
        assert!(error.help().contains("other than"), "{}", error.help());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_owner_of_a_busy_port_is_named() {
        let (_held, busy) = busy_port();
        assert_eq!(owner(busy), Some(std::process::id()));
        let error = choose(PortChoice::Exactly(busy)).unwrap_err();
        assert!(error.to_string().ends_with(&format!("by process {}", std::process::id())), "{error}");
    }
}
