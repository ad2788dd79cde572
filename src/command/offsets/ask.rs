//! Asking a running agent for its offsets, over its admin address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::listing::Listing;

/// The whole conversation: the agent takes less, or closes the connection.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer: some hundreds of thousands of files.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Characters of an answer that is a complaint that are repeated.
const COMPLAINT_CHARS_MAX: usize = 300;

/// What it answers; else what it does instead, as the rest of a sentence about the address.
pub(super) fn ask(address: SocketAddr) -> Result<Listing, String> {
    ask_within(address, TIMEOUT)
}

/// The same, with another patience.
pub(super) fn ask_within(address: SocketAddr, patience: Duration) -> Result<Listing, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot be asked: {error}"))?;
    let answered = runtime.block_on(async { timeout(patience, get(reachable(address))).await });
    let (status, body) = answered.map_err(|_| format!("does not answer within {} s", patience.as_secs_f64()))??;
    let text = || String::from_utf8_lossy(&body).trim_end().chars().take(COMPLAINT_CHARS_MAX).collect::<String>();
    match status {
        StatusCode::OK => serde_json::from_slice(&body).map_err(|_| "answers something else than offsets".to_owned()),
        StatusCode::NOT_FOUND => Err("has no /offsets: it is of an earlier version, or no agent".to_owned()),
        status => Err(format!("answers {}: {}", status.as_u16(), text())),
    }
}

/// An agent that listens everywhere is reached here, too.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn get(address: SocketAddr) -> Result<(StatusCode, Bytes), String> {
    let failed = |error: &dyn std::error::Error| format!("cannot be asked: {error}");
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    // It ends with the runtime.
    tokio::spawn(connection);
    let request = Request::get("/offsets").header(HOST, address.to_string()).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| format!("cannot be asked: {error}"))?;
    Ok((status, body.to_bytes()))
}
