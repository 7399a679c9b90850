//! A port of the loopback address for a program that is told where to listen.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port that the system gives to nobody else for as long as this is held. Whoever is told its address can listen there,
/// if they ask for `SO_REUSEADDR`, as servers do: it is bound, and nobody listens on it. That is so on Linux.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: TcpSocket,
}

impl Port {
    /// One that was free.
    #[expect(clippy::new_without_default, reason = "taking a port is not a default value")]
    pub fn new() -> Self {
        let bound = || {
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
            Ok::<_, std::io::Error>((socket.local_addr()?, socket))
        };
        let (address, held) =
            bound().unwrap_or_else(|error| panic!("no port of the loopback address: {error}"));
        Self { address, _held: held }
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn who_is_told_a_held_port_can_listen_on_it_and_go_and_come_again() {
        let port = Port::new();
        assert!(TcpStream::connect(port.address()).is_err(), "nobody listens yet");
        for _ in 0..2 {
            let listener = TcpListener::bind(port.address()).unwrap();
            let mut client = TcpStream::connect(port.address()).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            // Closed by the server first, as a server that is killed does.
            server.shutdown(std::net::Shutdown::Both).unwrap();
            std::io::copy(&mut client, &mut std::io::sink()).unwrap();
            std::io::copy(&mut server, &mut std::io::sink()).unwrap();
        }
    }

    #[test]
    fn a_held_port_is_given_to_nobody_who_asks_for_any() {
        // As many as a test run asks for, of the few the system gives out; more would take those of others.
        let held: Vec<Port> = (0..200).map(|_| Port::new()).collect();
        let given: Vec<TcpListener> =
            (0..200).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        let addresses: Vec<SocketAddr> = given.iter().map(|port| port.local_addr().unwrap()).collect();
        assert!(held.iter().all(|port| !addresses.contains(&port.address())));
    }
}
