//! Three real nats-servers that are one cluster.

use futures_util::future::join_all;
use local_stack::{Broker, BrokerConfig, Member};

use crate::nats::started;
use crate::{Scratch, nats_server};

const SIZE: usize = 3;

/// A cluster on random ports with stores of its own; ends on drop.
#[derive(Debug)]
pub struct Cluster {
    // Before the directory they write to: fields are dropped in this order.
    nodes: Vec<Broker>,
    _dir: Scratch,
}

impl Cluster {
    /// Starts one. JetStream may need some seconds more until it has a leader.
    pub async fn start() -> Self {
        let dir = Scratch::new();
        let binary = nats_server().await;
        // The servers have to know each other's ports before they start: these were free a moment ago.
        let free: Vec<_> = (0..SIZE)
            .map(|_| std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port of the loopback address"))
            .collect();
        let ports: Vec<u16> =
            free.iter().map(|port| port.local_addr().expect("a bound port has a number").port()).collect();
        drop(free);
        let nodes = ports.iter().enumerate().map(|(number, &port)| {
            let name = format!("node-{number}");
            let others = ports.iter().copied().filter(|other| *other != port).collect();
            let (store, log) = (dir.join(&name), dir.join(format!("{name}.log")));
            let config = BrokerConfig::new(&binary, store, log);
            Broker::start(BrokerConfig { member: Some(Member { name, port, others }), ..config })
        });
        let nodes = join_all(nodes).await.into_iter().map(started).collect();
        Self { nodes, _dir: dir }
    }

    /// URL of all of them, with commas.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(Broker::url).collect();
        urls.join(",")
    }

    /// SIGKILL of one. The two others go on.
    pub async fn kill(&self, number: usize) {
        self.nodes[number].kill_now().await;
    }
}
