//! The admin address, over HTTP/1.1: `/metrics` for Prometheus, `/health` for whoever watches the process, and `/offsets` for
//! people who want to know what of each file is settled.
//!
//! It only reads: nothing that is asked here can change or hold up the way of a line. A connection carries
//! one request and a connection that dawdles is closed, so that a stuck scraper cannot occupy the few there are. Offsets are
//! read from the disk: that is done for one request at a time, on a thread where it may wait.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::health::{FlowHealth, Health};
use crate::limits;
use crate::metrics::Metrics;
use crate::progress::verdict::Stuck;

/// The address, taken and not yet answering.
pub struct Admin {
    listener: TcpListener,
    local_addr: SocketAddr,
}

/// Takes `addr`; port 0 means any that is free.
pub async fn bind(addr: SocketAddr) -> io::Result<Admin> {
    let listener = TcpListener::bind(addr).await?;
    let local_addr = listener.local_addr()?;
    Ok(Admin { listener, local_addr })
}

/// What `/offsets` answers.
#[derive(Clone)]
pub struct OffsetsPage {
    /// JSON, or why there is none. Waits for the disk.
    make: Arc<dyn Fn() -> Result<String, String> + Send + Sync>,
    /// Who holds it has it made. A disk that hangs costs one thread, not all that commits could need.
    turn: Arc<Semaphore>,
}

impl OffsetsPage {
    /// A page of the JSON that `make` returns, or of the reason that there is none; it may wait for the disk.
    pub fn new(make: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), turn: Arc::new(Semaphore::new(1)) }
    }

    async fn respond(&self) -> Response<Full<Bytes>> {
        let turn = Arc::clone(&self.turn).acquire_owned().await.expect("the semaphore is never closed");
        let make = Arc::clone(&self.make);
        let made = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            make()
        });
        match made.await {
            Ok(Ok(json)) => respond(StatusCode::OK, JSON, json),
            Ok(Err(reason)) => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("cannot read the offsets: {reason}\n")),
            // The runtime is going down.
            Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "the agent ends\n"),
        }
    }
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

impl Admin {
    /// The address that was taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `stop` is ready. Requests under way then are cut off.
    pub async fn serve(self, metrics: Arc<Metrics>, health: Health, offsets: OffsetsPage, stop: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(limits::ADMIN_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let mut is_failing = false;
        loop {
            // The slot comes first: who finds none waits in the kernel's queue.
            let accepted = async {
                let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
                (slot, self.listener.accept().await)
            };
            tokio::select! {
                () = &mut stop => return,
                Some(_) = connections.join_next() => {}
                (slot, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        is_failing = false;
                        let answered = answer_one(stream, metrics.clone(), health.clone(), offsets.clone());
                        connections.spawn(async move {
                            let _slot = slot;
                            answered.await;
                        });
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut is_failing, true) {
                            tracing::warn!(%error, "cannot accept connections to the admin address for now");
                        }
                        // Out of descriptors, mostly: the error would come back at once, again and again.
                        tokio::time::sleep(limits::ADMIN_ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
    }
}

async fn answer_one(stream: TcpStream, metrics: Arc<Metrics>, health: Health, offsets: OffsetsPage) {
    let service = service_fn(|request: Request<Incoming>| {
        let (metrics, health, offsets) = (&metrics, &health, &offsets);
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), metrics, health, offsets).await) }
    });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // Whoever asked has gone or is too slow; neither is of interest to the operator.
    let _ = tokio::time::timeout(limits::ADMIN_CONNECTION_TIMEOUT, connection).await;
}

async fn answer(method: &Method, path: &str, metrics: &Metrics, health: &Health, offsets: &OffsetsPage) -> Response<Full<Bytes>> {
    let is_read = method == Method::GET || method == Method::HEAD;
    match path {
        "/health" if is_read => return health_page(health),
        "/metrics" if is_read => return metrics_page(metrics),
        "/offsets" if is_read => return offsets.respond().await,
        "/health" | "/metrics" | "/offsets" => {}
        _ => return text(StatusCode::NOT_FOUND, "not found; there are /health, /metrics and /offsets\n"),
    }
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn metrics_page(metrics: &Metrics) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.render())
}

/// What `/health` says.
#[derive(Serialize)]
struct HealthPage {
    status: &'static str,
    /// Why offsets cannot be committed, or what does not go on that belongs to no flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    flows: Vec<FlowPage>,
}

#[derive(Serialize)]
struct FlowPage {
    flow: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since_seconds: Option<u64>,
}

impl FlowPage {
    fn of(health: FlowHealth, stuck: &[Stuck]) -> Self {
        let (paused, flow) = (health.paused().cloned(), health.flow);
        // Of the two that which needs somebody most.
        let of_flow = |stuck: &&Stuck| stuck.flow.as_deref() == Some(flow.as_str());
        let stuck = stuck.iter().filter(of_flow).max_by_key(|stuck| stuck.how.is_wedged());
        let (state, reason, since_seconds) = match (stuck, paused) {
            (Some(stuck), _) => (word_of(stuck), Some(stuck.to_string()), Some(stuck.duration.as_secs())),
            (None, Some(pause)) => ("paused", Some(pause.reason), Some(pause.since.elapsed().as_secs())),
            (None, None) => ("delivering", None, None),
        };
        Self { flow, state, reason, since_seconds }
    }
}

fn word_of(stuck: &Stuck) -> &'static str {
    if stuck.how.is_wedged() { "wedged" } else { "hanging" }
}

fn health_page(health: &Health) -> Response<Full<Bytes>> {
    let flows = health.flows();
    let stuck = health.found_stuck();
    // What belongs to no flow has its reason here.
    let worst = stuck.iter().max_by_key(|stuck| (stuck.how.is_wedged(), stuck.flow.is_none()));
    let of_agent = stuck.iter().filter(|stuck| stuck.flow.is_none()).max_by_key(|stuck| stuck.how.is_wedged());
    let commit = health.commit().map(|pause| pause.reason);
    let word = match (worst, &commit) {
        (Some(stuck), _) if stuck.how.is_wedged() => "wedged",
        (_, Some(_)) => "not committing",
        (Some(stuck), None) => word_of(stuck),
        (None, None) if flows.iter().any(|flow| flow.paused().is_some()) => "paused",
        (None, None) => "ok",
    };
    let status = if word == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reason = of_agent.map(ToString::to_string).or(commit);
    let flows = flows.into_iter().map(|flow| FlowPage::of(flow, &stuck)).collect();
    let page = HealthPage { status: word, reason, flows };
    let json = serde_json::to_string(&page).expect("strings and numbers are always JSON");
    respond(status, JSON, json)
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    respond(status, TEXT, body)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;
    use crate::progress::Stage;
    use crate::progress::verdict::How;

    /// Sends `request` as it is to an admin address with one flow, "access", and returns the whole answer.
    async fn ask(request: &str, prepare: impl FnOnce(&Metrics, &Health)) -> String {
        let (metrics, health) = (Arc::new(Metrics::default()), Health::default());
        prepare(&metrics, &health);
        let admin = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let mut stream = TcpStream::connect(admin.local_addr()).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let offsets = OffsetsPage::new(|| Ok("{}".to_owned()));
        let serving = tokio::spawn(admin.serve(metrics, health, offsets, async {
            let _ = stopped.await;
        }));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        drop(stop);
        serving.await.unwrap();
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
    }

    #[tokio::test]
    async fn health_is_200_while_every_flow_delivers() {
        let answer = ask(&get("/health"), |_, health| drop(health.flow("access"))).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"status":"ok","flows":[{"flow":"access","state":"delivering"}]}"#), "{answer}");
    }

    #[tokio::test]
    async fn health_is_503_with_the_reason_while_a_flow_is_paused() {
        let answer = ask(&get("/health?verbose"), |_, health| {
            health.flow("errors").delivering();
            health.flow("access").paused("no such stream \"x\"");
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        let flows = r#"{"flow":"access","state":"paused","reason":"no such stream \"x\"","since_seconds":0}"#;
        let expected = format!(r#"{{"status":"paused","flows":[{{"flow":"errors","state":"delivering"}},{flows}]}}"#);
        assert!(answer.ends_with(&expected), "{answer}");
    }

    #[tokio::test]
    async fn health_is_503_with_the_reason_while_offsets_cannot_be_committed() {
        let answer = ask(&get("/health"), |_, health| health.commits_fail("disk full")).await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        assert!(answer.ends_with(r#"{"status":"not committing","reason":"disk full","flows":[]}"#), "{answer}");
    }

    #[tokio::test]
    async fn health_is_503_with_the_stage_that_does_not_go_on() {
        let stuck = |stage, flow: Option<&str>, how| {
            let flow = flow.map(str::to_owned);
            Stuck { stage: Some(stage), flow, how, duration: Duration::from_secs(61) }
        };
        let hanging = stuck(Stage::Tailer, Some("access"), How::Hanging);
        let answer = ask(&get("/health"), |_, health| {
            health.flow("access").paused("no such stream");
            health.stuck(vec![hanging.clone()]);
        })
        .await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
        let reason = "the tailer has been waiting for a file system for 61 s";
        let of_flow = format!(r#"{{"flow":"access","state":"hanging","reason":"{reason}","since_seconds":61}}"#);
        assert!(answer.ends_with(&format!(r#"{{"status":"hanging","flows":[{of_flow}]}}"#)), "{answer}");
        let answer = ask(&get("/health"), |_, health| {
            drop(health.flow("access"));
            health.stuck(vec![hanging.clone(), stuck(Stage::Checkpointer, None, How::Locked)]);
        })
        .await;
        let reason = "the checkpointer has been waiting for a lock for 61 s";
        assert!(answer.ends_with(&format!(r#"{{"status":"wedged","reason":"{reason}","flows":[{of_flow}]}}"#)), "{answer}");
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_text() {
        let answer = ask(&get("/metrics"), |metrics, _| {
            metrics.flow("access").read_bytes.inc_by(7);
        })
        .await;
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{answer}");
        assert!(answer.contains("kinetail_read_bytes_total{flow=\"access\"} 7\n"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    }

    #[tokio::test]
    async fn head_is_answered_without_a_body_and_other_methods_and_paths_are_refused() {
        let head = ask("HEAD /health HTTP/1.1\r\nhost: localhost\r\n\r\n", |_, _| {}).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        let post = ask("POST /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n", |_, _| {}).await;
        assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
        let elsewhere = ask(&get("/status/"), |_, _| {}).await;
        assert!(elsewhere.starts_with("HTTP/1.1 404 "), "{elsewhere}");
    }

    async fn ask_for_offsets(make: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> String {
        let admin = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let mut stream = TcpStream::connect(admin.local_addr()).await.unwrap();
        let offsets = OffsetsPage::new(make);
        let serving = tokio::spawn(admin.serve(Arc::default(), Health::default(), offsets, std::future::pending()));
        stream.write_all(get("/offsets").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        serving.abort();
        answer
    }

    #[tokio::test]
    async fn offsets_are_what_is_made_of_them_or_the_reason_that_there_are_none() {
        let answer = ask_for_offsets(|| Ok(r#"{"files":[]}"#.to_owned())).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n{\"files\":[]}"), "{answer}");
        let answer = ask_for_offsets(|| Err("no disk".to_owned())).await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("cannot read the offsets: no disk\n"), "{answer}");
    }

    /// Offsets that wait for a disk that hangs hold up nobody who asks for something else.
    #[tokio::test]
    async fn offsets_that_take_long_hold_up_nothing_else() {
        let admin = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let addr = admin.local_addr();
        let (go_on, hanging) = std::sync::mpsc::sync_channel::<()>(0);
        let hanging = std::sync::Mutex::new(hanging);
        let offsets = OffsetsPage::new(move || {
            let _ = hanging.lock().map(|hanging| hanging.recv());
            Ok("{}".to_owned())
        });
        let serving = tokio::spawn(admin.serve(Arc::default(), Health::default(), offsets, std::future::pending()));
        let mut waiting = Vec::new();
        for _ in 0..limits::ADMIN_CONNECTIONS - 1 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(get("/offsets").as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(get("/health").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        drop(go_on);
        let mut answer = String::new();
        waiting.remove(0).read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        serving.abort();
    }

    #[tokio::test]
    async fn connections_that_say_nothing_make_way_for_one_that_does() {
        let admin = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let addr = admin.local_addr();
        let serving = tokio::spawn(admin.serve(
            Arc::default(),
            Health::default(),
            OffsetsPage::new(|| Err(String::new())),
            std::future::pending(),
        ));
        let mut silent = Vec::new();
        for _ in 0..limits::ADMIN_CONNECTIONS {
            silent.push(TcpStream::connect(addr).await.unwrap());
        }
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(get("/health").as_bytes()).await.unwrap();
        // Nobody is served before time passes, and with a paused clock it passes only once all are waiting.
        tokio::time::pause();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        serving.abort();
    }
}
