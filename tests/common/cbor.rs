//! CBOR for services of stories that think in JSON, by a library that the agent does not use.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ciborium::Value as Cbor;
use serde_json::Value;

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";

/// Whether a request or an answer with this media type is in CBOR.
pub(crate) fn is_cbor(content_type: &str) -> bool {
    content_type == CBOR
}

/// A request in CBOR as it is in JSON, bytes in base64.
pub(crate) fn in_json(body: &[u8]) -> Value {
    fn value(item: &Cbor) -> Value {
        match item {
            Cbor::Text(text) => text.as_str().into(),
            Cbor::Bytes(bytes) => BASE64.encode(bytes).into(),
            Cbor::Array(items) => items.iter().map(value).collect(),
            Cbor::Map(members) => members.iter().map(|(name, item)| (name.as_text().unwrap().to_owned(), value(item))).collect(),
            other => panic!("{other:?} in a request"),
        }
    }
    value(&ciborium::from_reader(body).unwrap())
}

/// An answer that has no bytes in it as it is in CBOR; none if it is not in JSON.
pub(crate) fn in_cbor(body: &[u8]) -> Option<Vec<u8>> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let mut in_cbor = Vec::new();
    ciborium::into_writer(&answer, &mut in_cbor).unwrap();
    Some(in_cbor)
}

/// Lets what is behind it understand, and answer, CBOR as JSON.
pub(crate) async fn translate(mut request: Request, next: Next) -> Response {
    if !request.headers().get(CONTENT_TYPE).is_some_and(|kind| is_cbor(kind.to_str().unwrap())) {
        return next.run(request).await;
    }
    let (mut head, body) = request.into_parts();
    // Cut off with who sent it, it is left to what is behind to notice.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_else(|_| std::panic::resume_unwind(Box::new("cut")));
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    head.headers.remove(CONTENT_LENGTH);
    request = Request::from_parts(head, Body::from(in_json(&body).to_string()));
    let (mut head, body) = next.run(request).await.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let Some(in_cbor) = in_cbor(&body) else { return Response::from_parts(head, Body::from(body)) };
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static(CBOR));
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(in_cbor))
}
