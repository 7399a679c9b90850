//! TLS in front of a server that has none, with a certificate authority of the test's own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::Scratch;

/// Whom the terminator lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// Everybody.
    Anybody,
    /// Those with a certificate of the authority.
    Certified,
}

/// A running TLS terminator; ends on drop, with its files.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    files: Scratch,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Listens on a random port for a server such as `http://127.0.0.1:5000`, as `localhost`.
    pub async fn start(upstream: &str, clients: Clients) -> Self {
        let host = upstream.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let files = Scratch::new();
        let acceptor = TlsAcceptor::from(Arc::new(server(&files, clients)));
        let task = tokio::spawn(accept(listener, host, acceptor));
        Self { address, files, task }
    }

    /// `https://localhost:PORT`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The authority that signed the server's certificate.
    pub fn authority(&self) -> PathBuf {
        self.files.join("authority.pem")
    }

    /// A client's certificate of the same authority, and its key.
    pub fn client(&self) -> PathBuf {
        self.files.join("client.pem")
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, host: String, acceptor: TlsAcceptor) {
    while let Ok((client, _)) = listener.accept().await {
        let (host, acceptor) = (host.clone(), acceptor.clone());
        tokio::spawn(async move {
            // A handshake that fails is the client's to report.
            let Ok(mut client) = acceptor.accept(client).await else { return };
            let Ok(mut server) = TcpStream::connect(&host).await else { return };
            let _ = copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

/// Makes the authority, the server's certificate and a client's; the first and the last are written to files.
fn server(files: &Scratch, clients: Clients) -> ServerConfig {
    const MADE: &str = "plain parameters make a certificate";
    let authority_key = KeyPair::generate().expect(MADE);
    let mut authority = CertificateParams::new(Vec::new()).expect(MADE);
    authority.distinguished_name.push(DnType::CommonName, "testkit");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).expect(MADE);
    let issuer = Issuer::new(authority, authority_key);
    let signed = |name: &str| {
        let key = KeyPair::generate().expect(MADE);
        let params = CertificateParams::new(vec![name.to_owned()]).expect(MADE);
        (params.signed_by(&key, &issuer).expect(MADE), key)
    };
    let ((own, own_key), (client, client_key)) = (signed("localhost"), signed("client"));
    let write = |name: &str, text: String| std::fs::write(files.join(name), text).expect("a scratch file");
    write("authority.pem", root.pem());
    write("client.pem", format!("{}{}", client.pem(), client_key.serialize_pem()));

    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring knows the usual versions");
    let builder = match clients {
        Clients::Anybody => builder.with_no_client_auth(),
        Clients::Certified => {
            let mut roots = RootCertStore::empty();
            roots.add(root.der().clone()).expect("our own root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("one root"))
        }
    };
    let key = PrivateKeyDer::try_from(own_key.serialize_der()).expect("a key rcgen made");
    builder.with_single_cert(vec![own.der().clone()], key).expect("a certificate and its key")
}
