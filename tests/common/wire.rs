//! AWS services as they are spoken to without an SDK: HTTP and JSON, with a signature that no emulator looks at.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use kinetail::aws::{Access, Accesses};
use kinetail::config::{Aws, Endpoints};
use kinetail::sender::kinesis::Stream;
use serde_json::Value;

use super::PATIENCE;

/// A way to the services at `endpoints`.
pub(crate) fn access(endpoints: Endpoints) -> Arc<Access> {
    let credentials = aws_credential_types::Credentials::new("test", "test", None, None, "test");
    let settings = Aws { region: Some("us-east-1".to_owned()), endpoints, ..Aws::default() };
    Accesses::with_credentials(credentials).of(&settings)
}

/// The stream `name` at `url` as the agent sees it.
pub(crate) fn stream(url: String, name: &str) -> Stream {
    Stream::new(name.to_owned(), access(Endpoints { kinesis: Some(url), ..Endpoints::default() }))
}

/// Asks the `service` at `addr` for `operation`, such as `Kinesis_20131202.ListShards`. Status and answer.
pub(crate) fn ask(addr: SocketAddr, service: &str, operation: &str, body: &Value) -> (u16, Value) {
    let headers = format!("content-type: application/x-amz-json-1.1\r\nx-amz-target: {operation}\r\n");
    let (status, answer) = request(addr, service, "POST", "/", &headers, body.to_string().as_bytes());
    (status, serde_json::from_slice(&answer).unwrap_or_default())
}

/// A request without a body. Status and answer.
pub(crate) fn plain(addr: SocketAddr, service: &str, method: &str, path: &str) -> (u16, Vec<u8>) {
    request(addr, service, method, path, "", b"")
}

fn request(addr: SocketAddr, service: &str, method: &str, path: &str, headers: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let credential = format!("test/20260101/us-east-1/{service}/aws4_request");
    let length = body.len();
    // In HTTP/1.0 an answer is not in chunks, and the connection ends with it.
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: {addr}\r\ncontent-length: {length}\r\nx-amz-date: 20260101T000000Z\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0\r\n{headers}\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let status = std::str::from_utf8(&answer[..end]).unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_off(end + 4))
}
