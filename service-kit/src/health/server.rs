//! The pages themselves, and the port they stand on.

use std::io::ErrorKind;
use std::net::SocketAddr;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use super::{Health, Status};
use crate::error::CliError;
use crate::exit::Exit;
use crate::metrics::{MEDIA_TYPE, Metrics};
use crate::output;
use crate::shutdown::Shutdown;

/// How many ports above a busy default one are tried.
const PORTS_TRIED: u16 = 50;

#[derive(Clone)]
struct Pages {
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
}

/// Serves at `addr` until the service is stopped at once or ends; during a drain the pages stay. Gives the address,
/// with the port that was found if `addr` left it open (0).
///
/// # Errors
/// When the address is taken or not this machine's: exit code 7.
pub async fn serve(
    addr: SocketAddr,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<SocketAddr, CliError> {
    let listener = TcpListener::bind(addr).await.map_err(|error| not_bound(addr, &error))?;
    serve_on(listener, Pages { health, metrics, shutdown })
}

/// Like [`serve`], for an address nobody asked for: a busy port is passed over for the next one, and said.
///
/// # Errors
/// When none of the ports is free.
pub async fn serve_from(
    default: SocketAddr,
    health: Health,
    metrics: Metrics,
    shutdown: Shutdown,
) -> Result<SocketAddr, CliError> {
    let pages = Pages { health, metrics, shutdown };
    for offset in 0..PORTS_TRIED {
        let mut addr = default;
        addr.set_port(default.port().saturating_add(offset));
        match TcpListener::bind(addr).await {
            Ok(listener) => {
                if offset > 0 {
                    output::note(format!("port {} is busy: health answers on {addr}", default.port()));
                }
                return serve_on(listener, pages);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(not_bound(addr, &error)),
        }
    }
    let last = default.port().saturating_add(PORTS_TRIED - 1);
    Err(CliError::new(
        "port-busy",
        Exit::LocalResource,
        format!("every port from {default} to {last} is busy"),
    )
    .help("name a free address with --http, or let the system choose with --http 127.0.0.1:0"))
}

fn not_bound(addr: SocketAddr, error: &std::io::Error) -> CliError {
    let (code, what) = match error.kind() == ErrorKind::AddrInUse {
        true => ("port-busy", format!("port {} is busy: cannot listen on {addr}", addr.port())),
        false => ("port-refused", format!("cannot listen on {addr}")),
    };
    CliError::new(code, Exit::LocalResource, what)
        .because(error)
        .help("name a free address with --http, or stop the process that holds the port")
}

fn serve_on(listener: TcpListener, pages: Pages) -> Result<SocketAddr, CliError> {
    let bound = listener.local_addr()?;
    let shutdown = pages.shutdown.clone();
    let router = Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/health", get(report))
        .route("/metrics", get(metrics))
        .with_state(pages);
    tokio::spawn(async move {
        let served =
            axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.now().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "health pages ended");
        }
    });
    tracing::info!(%bound, "health answers");
    Ok(bound)
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, String) {
    let report = pages.health.report(pages.shutdown.is_draining());
    match report.status {
        Status::Ready => (StatusCode::OK, "ok\n".to_owned()),
        Status::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned()),
        Status::NotReady => {
            let reasons = report
                .components
                .iter()
                .filter_map(|component| {
                    component.reason.as_ref().map(|reason| format!("{}: {reason}\n", component.name))
                })
                .collect::<String>();
            let text = if reasons.is_empty() { "starting\n".to_owned() } else { reasons };
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

async fn report(State(pages): State<Pages>) -> impl IntoResponse {
    Json(pages.health.report(pages.shutdown.is_draining()))
}

async fn metrics(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], pages.metrics.render())
}
