//! Who hands out credentials: the Security Token Service in small, and the service from which containers have theirs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use tokio::runtime::Runtime;

use super::door::key_of;

/// The service, on a port and on a thread of its own.
pub(crate) struct Issuer {
    addr: SocketAddr,
    told: Arc<Mutex<Told>>,
    _server: Runtime,
}

struct Told {
    validity: Duration,
    /// What is refused is not counted.
    issued_count: usize,
    /// Each request: the key by which it is signed, then its parameters, of which those that must be there follow.
    requests: Vec<String>,
    /// What every request must have in it.
    wanted: Vec<String>,
}

/// Begins the secret key and the token of everything that is handed out.
pub(crate) const SECRET: &str = "Secret0fTheIssuer";

impl Issuer {
    /// An issuer of credentials that are valid for so long, to those whose requests have all that is `wanted` in them.
    pub(crate) fn start(validity: Duration, wanted: &[&str]) -> Self {
        let wanted = wanted.iter().map(|text| (*text).to_owned()).collect();
        let told = Arc::new(Mutex::new(Told { validity, issued_count: 0, requests: Vec::new(), wanted }));
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

    /// Each request so far: method, path, the key by which it is signed, its token, its parameters.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.told.lock().unwrap().requests.clone()
    }

    /// How many credentials were handed out: `ISSUED1` and so on.
    pub(crate) fn issued_count(&self) -> usize {
        self.told.lock().unwrap().issued_count
    }
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, request: Request) -> Response {
    let key = key_of(&request).unwrap_or_default();
    let token = request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let parameters = String::from_utf8(body.to_vec()).unwrap();
    let mut told = told.lock().unwrap();
    let token = if key.is_empty() { token } else { key };
    let text = format!("{method} {path} {token} {parameters}");
    told.requests.push(text.clone());
    if told.wanted.iter().any(|wanted| !text.contains(wanted)) {
        return (StatusCode::FORBIDDEN, denied()).into_response();
    }
    told.issued_count += 1;
    let number = told.issued_count;
    let expiration = (Timestamp::now() + told.validity).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    if parameters.is_empty() {
        return serde_json::json!({
            "AccessKeyId": format!("ISSUED{number}"),
            "SecretAccessKey": format!("{SECRET}{number}"),
            "Token": format!("{SECRET}{number}"),
            "Expiration": expiration,
        })
        .to_string()
        .into_response();
    }
    let action = match parameters.contains("Action=AssumeRoleWithWebIdentity") {
        true => "AssumeRoleWithWebIdentity",
        false => "AssumeRole",
    };
    format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser>\
         <AssumedRoleId>AROA:x</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/logs/x</Arn></AssumedRoleUser>\
         <Credentials><AccessKeyId>ISSUED{number}</AccessKeyId><SecretAccessKey>{SECRET}{number}</SecretAccessKey>\
         <SessionToken>{SECRET}{number}</SessionToken><Expiration>{expiration}</Expiration></Credentials></{action}Result>\
         </{action}Response>"
    )
    .into_response()
}

fn denied() -> &'static str {
    "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>AccessDenied</Code>\
     <Message>not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"
}
