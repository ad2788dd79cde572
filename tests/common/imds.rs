//! An instance metadata service in small: version 2 only, so without a token nothing is told.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::runtime::Runtime;

/// The service, on a port and on threads of its own.
pub(crate) struct Imds {
    addr: SocketAddr,
    told: Arc<Mutex<Told>>,
    _server: Runtime,
}

#[derive(Default)]
struct Told {
    /// Texts by path.
    texts: HashMap<String, String>,
    /// What is answered to the next requests, whatever they are.
    failures: Vec<StatusCode>,
    /// Method and path of each request.
    requests: Vec<String>,
}

const TOKEN: &str = "dG9rZW4=";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

impl Imds {
    /// A service that knows nothing yet.
    pub(crate) fn start() -> Self {
        let told: Arc<Mutex<Told>> = Arc::default();
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = server.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(told.clone());
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, told, _server: server }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What it says at `path` from now on.
    pub(crate) fn say(&self, path: &str, text: &str) {
        self.told.lock().unwrap().texts.insert(path.to_owned(), text.to_owned());
    }

    /// It answers with `status` to the next `count` requests.
    pub(crate) fn fail(&self, count: usize, status: u16) {
        self.told.lock().unwrap().failures = vec![StatusCode::from_u16(status).unwrap(); count];
    }

    /// Method and path of each request so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.told.lock().unwrap().requests.clone()
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let mut told = told.lock().unwrap();
    told.requests.push(format!("{method} {}", uri.path()));
    if let Some(failure) = told.failures.pop() {
        return failure.into_response();
    }
    if uri.path() == "/latest/api/token" {
        return match headers.get(TTL_HEADER) {
            Some(ttl) if method == Method::PUT => ([(TTL_HEADER, ttl.to_str().unwrap().to_owned())], TOKEN).into_response(),
            _ => StatusCode::BAD_REQUEST.into_response(),
        };
    }
    if headers.get(TOKEN_HEADER).is_none_or(|token| token != TOKEN) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match told.texts.get(uri.path()) {
        Some(text) => text.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
