//! The process: connections, requests, and what it is told.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::answers::Answers;
use super::lines::numbers_in;
use super::records::{Found, Records};
use super::{Mood, Settings, Telling, now};

const CBOR: &str = "application/x-amz-cbor-1.1";
const JSON: &str = "application/x-amz-json-1.1";

struct Service {
    settings: Settings,
    answers: Answers,
    mood: watch::Receiver<Mood>,
    request_count: AtomicU64,
    record_count: AtomicU64,
    body_bytes: AtomicU64,
    last_answer_ns: AtomicU64,
}

/// Serves until standard input ends. The certificate is put where it is wanted before the port is said.
pub(super) fn serve(settings: Settings, certificate: &Path) {
    let acceptor = acceptor(certificate);
    let (moods, mood) = watch::channel(Mood::Bright);
    let service = Arc::new(Service {
        settings,
        answers: Answers::new(settings.shard_count),
        mood: mood.clone(),
        request_count: AtomicU64::new(0),
        record_count: AtomicU64::new(0),
        body_bytes: AtomicU64::new(0),
        last_answer_ns: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let addr = listener.local_addr().unwrap();
    say(&addr.port().to_string());
    let (listening, mut is_listening) = watch::channel(true);
    runtime.spawn(accept(listener, addr, acceptor, service.clone(), listening));
    for order in std::io::stdin().lock().lines().map_while(Result::ok) {
        let told =
            [Mood::Bright, Mood::Refused, Mood::Silent, Mood::Failing].into_iter().find(|mood| format!("{mood:?}") == order);
        if let Some(mood) = told {
            moods.send(mood).unwrap();
            runtime.block_on(is_listening.wait_for(|is_listening| *is_listening == (mood != Mood::Refused))).unwrap();
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [requests, records] = [&service.request_count, &service.record_count].map(count);
        say(&format!("tally {requests} {records} {} {}", count(&service.body_bytes), count(&service.last_answer_ns)));
    }
}

fn say(text: &str) {
    // Who started it may be gone; then so is standard input.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// TLS 1.3 alone, by a certificate that vouches for itself.
fn acceptor(path: &Path) -> TlsAcceptor {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(path, cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut settings = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(settings).into()
}

async fn accept(
    listener: TcpListener,
    addr: SocketAddr,
    acceptor: TlsAcceptor,
    service: Arc<Service>,
    listening: watch::Sender<bool>,
) {
    let mut mood = service.mood.clone();
    let mut listener = Some(listener);
    loop {
        let is_refused = *mood.borrow_and_update() == Mood::Refused;
        if is_refused {
            listener = None;
        } else if listener.is_none() {
            // Another program may have the port for a moment, as the near end of a connection.
            listener = TcpListener::bind(addr).await.ok();
        }
        listening.send_replace(listener.is_some());
        let Some(listener) = listener.as_ref() else {
            let again = tokio::time::sleep(std::time::Duration::from_millis(10));
            tokio::select! {
                _ = mood.changed() => {}
                () = again, if !is_refused => {}
            }
            continue;
        };
        tokio::select! {
            _ = mood.changed() => {}
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(connection(stream, acceptor.clone(), service.clone()));
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, service: Arc<Service>) {
    // As servers do that answer at once.
    let _ = stream.set_nodelay(true);
    let mut mood = service.mood.clone();
    let served = async {
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let answer = service_fn(|request| answer(service.clone(), request));
        // Who has gone away is not missed.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
    };
    tokio::select! {
        () = served => {}
        _ = mood.wait_for(|mood| *mood == Mood::Refused) => {}
    }
}

async fn answer(service: Arc<Service>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_cbor = header("content-type") == CBOR;
    let operation = header("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
    let tells_lines = service.settings.telling == Telling::Lines;
    let mut records = Records::new(is_cbor, service.settings.shard_count > 1 && operation == "PutRecords");
    let (mut body, mut body_bytes, mut whole) = (request.into_body(), 0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Some(piece) = frame.ok().and_then(|frame| frame.into_data().ok()) else { break };
        body_bytes += piece.len() as u64;
        records.push(&piece);
        if tells_lines {
            whole.extend_from_slice(&piece);
        }
    }
    let mut mood = service.mood.clone();
    // The sender of moods lives as long as the process.
    let _ = mood.wait_for(|mood| *mood != Mood::Silent).await;
    let is_failing = *mood.borrow() == Mood::Failing;
    if is_failing {
        let body = Bytes::from_static(br#"{"__type":"InternalFailure","message":"dark"}"#);
        return Ok(response(StatusCode::INTERNAL_SERVER_ERROR, false, body));
    }
    let body = match &*operation {
        "ListShards" => service.answers.shards(is_cbor),
        "DescribeStreamSummary" => service.answers.summary(is_cbor),
        "PutRecords" | "PutRecordBatch" => {
            if !service.settings.latency.is_zero() {
                tokio::time::sleep(service.settings.latency).await;
            }
            let found = records.finish();
            let body = match &*operation {
                "PutRecords" => service.answers.put_records(&found, is_cbor),
                _ => service.answers.put_record_batch(&found),
            };
            let numbers = if tells_lines { numbers_in(&whole, is_cbor) } else { Vec::new() };
            service.taken(&found, body_bytes, &numbers);
            body
        }
        _ => return Ok(response(StatusCode::BAD_REQUEST, false, br#"{"__type":"UnknownOperationException"}"#[..].into())),
    };
    Ok(response(StatusCode::OK, is_cbor, body))
}

fn response(status: StatusCode, is_cbor: bool, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let content_type = hyper::header::HeaderValue::from_static(if is_cbor { CBOR } else { JSON });
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

impl Service {
    /// Counts a request, and tells of it. The answer is on its way some microseconds later.
    fn taken(&self, found: &Found, body_bytes: u64, lines: &[(u64, u64)]) {
        let at = u64::try_from(now().as_nanos()).unwrap_or(u64::MAX);
        self.request_count.fetch_add(1, Ordering::Relaxed);
        self.record_count.fetch_add(found.count, Ordering::Relaxed);
        self.body_bytes.fetch_add(body_bytes, Ordering::Relaxed);
        self.last_answer_ns.fetch_max(at, Ordering::Relaxed);
        match self.settings.telling {
            Telling::Nothing => {}
            Telling::Requests => say(&format!("answered {at}")),
            Telling::Lines => {
                let mut text = format!("lines {at}");
                for (first, last) in lines {
                    let _ = write!(text, " {first} {last}");
                }
                say(&text);
            }
        }
    }
}
