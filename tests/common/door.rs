//! Who comes in: the keys by which requests to a service are signed, and which of them have expired.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// The door of a service; a clone is the same door.
#[derive(Clone, Default)]
pub(crate) struct Door(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    keys: Vec<String>,
    expired: HashSet<String>,
}

impl Door {
    /// The key of each request so far, without repetition.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().keys.clone()
    }

    /// Requests signed by `key` are refused from now on.
    pub(crate) fn expire(&self, key: &str) {
        self.0.lock().unwrap().expired.insert(key.to_owned());
    }

    pub(crate) async fn pass(State(door): State<Self>, request: Request, next: Next) -> Response {
        let key = key_of(&request).unwrap_or_default();
        let is_expired = {
            let mut seen = door.0.lock().unwrap();
            if seen.keys.last() != Some(&key) {
                seen.keys.push(key.clone());
            }
            seen.expired.contains(&key)
        };
        if is_expired {
            let headers = [("x-amzn-errortype", "ExpiredTokenException"), ("content-type", "application/x-amz-json-1.1")];
            let body =
                r#"{"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"}"#;
            return (StatusCode::BAD_REQUEST, headers, body).into_response();
        }
        next.run(request).await
    }
}

/// Of `AWS4-HMAC-SHA256 Credential=key/date/region/service/aws4_request, …`.
pub(crate) fn key_of(request: &Request) -> Option<String> {
    let header = request.headers().get("authorization")?.to_str().ok()?;
    let (_, credential) = header.split_once("Credential=")?;
    Some(credential.split('/').next()?.to_owned())
}
