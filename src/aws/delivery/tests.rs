use std::net::{Ipv4Addr, SocketAddr};

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::aws::http::{Http, Requests};
use crate::config::{Aws, Proxy};
use crate::service_clock::ServiceClock;

/// More than the buffers of the system for a connection.
const LARGE: usize = 64 << 20;

fn requests() -> Requests {
    let aws = Aws { proxy: Some(Proxy::Off), ..Aws::default() };
    Http::new(&aws, ServiceClock::new(0)).unwrap().requests(None, None)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Posts `byte_count` bytes to `address`; the status of the answer.
async fn post(requests: &Requests, delivery: &Delivery, address: SocketAddr, byte_count: usize) -> Result<u16, ConnectorError> {
    let mut request = HttpRequest::new(SdkBody::from(vec![b'x'; byte_count]));
    request.set_method("POST").unwrap();
    request.set_uri(format!("http://{address}/")).unwrap();
    request.headers_mut().insert("content-length", byte_count.to_string());
    delivery.watching()(&mut request);
    requests.call(request).await.map(|answer| answer.status().as_u16())
}

/// Reads the head of a request, and of the body what comes with it; returns how many bytes of the body those are.
async fn read_head(stream: &mut TcpStream) -> usize {
    let mut head = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0, "the head is not complete");
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            return head.len() - end - 4;
        }
    }
}

/// Reads a request with a body of `byte_count` bytes.
async fn read_request(stream: &mut TcpStream, byte_count: usize) {
    let rest = byte_count - read_head(stream).await;
    tokio::io::copy(&mut stream.take(rest as u64), &mut tokio::io::sink()).await.unwrap();
}

fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// What was written of a body of 100 bytes, beside the 40 bytes that the connection had sent before.
#[test]
fn a_body_is_complete_with_its_last_byte() {
    for (written, sent) in [(0, Sent::Nothing), (1, Sent::Partly), (99, Sent::Partly), (100, Sent::Perhaps), (700, Sent::Perhaps)]
    {
        let (gauge, delivery) = (Gauge::default(), Delivery::default());
        let write = |count| gauge.write(|| Poll::Ready(Ok(count)));
        assert!(write(40).is_ready());
        delivery.begin(Some(gauge.clone()), Some(100)).unwrap();
        assert!(write(written).is_ready());
        assert_eq!(delivery.sent(), sent, "{written}");
        // Who has asked has a right to that answer. What comes behind the body is of others.
        let result = write(100);
        let is_given_up = matches!(&result, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe);
        assert_eq!(is_given_up, sent != Sent::Perhaps, "{written}");
        assert_eq!(delivery.sent(), sent, "{written}");
    }
}

/// What a write that failed has left in a buffer is not counted.
#[test]
fn nothing_leaves_behind_a_write_that_has_failed() {
    let (gauge, delivery) = (Gauge::default(), Delivery::default());
    delivery.begin(Some(gauge.clone()), Some(100)).unwrap();
    assert!(matches!(gauge.write(|| Poll::Ready(Ok(60))), Poll::Ready(Ok(60))));
    assert!(matches!(gauge.flush(|| Poll::Ready(Ok(()))), Poll::Ready(Ok(()))));
    assert!(gauge.write(|| Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))).is_ready());
    assert!(matches!(gauge.flush(|| panic!("it is flushed")), Poll::Ready(Err(_))));
    assert!(matches!(gauge.write(|| panic!("it is written")), Poll::Ready(Err(_))));
    assert_eq!(delivery.sent(), Sent::Partly);
}

#[test]
fn what_is_not_known_may_have_been_sent() {
    for (gauge, body_bytes) in [(None, Some(100)), (Some(Gauge::default()), None), (None, None)] {
        let delivery = Delivery::default();
        delivery.begin(gauge, body_bytes).unwrap();
        assert_eq!(delivery.sent(), Sent::Perhaps);
    }
    let delivery = Delivery::default();
    delivery.begin(Some(Gauge::default()), Some(100)).unwrap();
    delivery.begin(Some(Gauge::default()), Some(100)).unwrap();
    assert_eq!(delivery.sent(), Sent::Perhaps, "a second attempt does not undo the first");
}

#[test]
fn a_request_that_was_given_up_is_not_begun() {
    let delivery = Delivery::default();
    assert_eq!(delivery.sent(), Sent::Nothing);
    assert!(delivery.begin(Some(Gauge::default()), Some(100)).is_err());
    assert_eq!(delivery.sent(), Sent::Nothing);
}

#[tokio::test]
async fn nothing_is_sent_where_nobody_listens() {
    let (listener, address) = listener().await;
    drop(listener);
    let delivery = Delivery::default();
    assert!(post(&requests(), &delivery, address, 100).await.unwrap_err().is_io());
    assert_eq!(delivery.sent(), Sent::Nothing);
}

#[tokio::test]
async fn a_connection_that_is_reset_in_the_body_has_not_brought_it() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        reset(&stream);
    });
    let delivery = Delivery::default();
    assert!(post(&requests(), &delivery, address, LARGE).await.is_err());
    assert_eq!(delivery.sent(), Sent::Partly);
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_lost_behind_the_body_may_have_brought_it() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream, LARGE).await;
        reset(&stream);
    });
    let delivery = Delivery::default();
    assert!(post(&requests(), &delivery, address, LARGE).await.is_err());
    assert_eq!(delivery.sent(), Sent::Perhaps);
    server.await.unwrap();
}

/// The connection goes on by itself when a request is given up; what was said of it must stay true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_more_is_sent_once_a_request_is_given_up() {
    let (listener, address) = listener().await;
    let (requests, delivery) = (requests(), Delivery::default());
    let (begun, is_begun) = tokio::sync::oneshot::channel();
    let (given_up, is_given_up) = tokio::sync::oneshot::channel();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut byte_count = read_head(&mut stream).await as u64;
        begun.send(()).unwrap();
        is_given_up.await.unwrap();
        // It is read as fast as it can be now. How a connection that is given up ends does not matter.
        let mut counted = tokio::io::sink();
        byte_count += tokio::io::copy(&mut stream, &mut counted).await.unwrap_or(0);
        byte_count
    });
    tokio::select! {
        answer = post(&requests, &delivery, address, LARGE) => panic!("{answer:?}"),
        () = async { is_begun.await.unwrap() } => {}
    }
    assert_eq!(delivery.sent(), Sent::Partly);
    given_up.send(()).unwrap();
    assert!(server.await.unwrap() < LARGE as u64);
}

#[tokio::test]
async fn a_server_that_takes_nothing_has_not_got_it() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let connection = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
        drop(connection);
    });
    let aws = Aws { proxy: Some(Proxy::Off), ..Aws::default() };
    let requests = Http::new(&aws, ServiceClock::new(0)).unwrap().requests(None, Some(std::time::Duration::from_millis(200)));
    let delivery = Delivery::default();
    assert!(post(&requests, &delivery, address, LARGE).await.unwrap_err().is_timeout());
    assert_eq!(delivery.sent(), Sent::Partly);
    server.abort();
}

/// Requests one after the other on the same connection.
#[tokio::test]
async fn each_request_is_counted_by_itself() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            read_request(&mut stream, LARGE / 2).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        read_head(&mut stream).await;
        reset(&stream);
    });
    let requests = requests();
    for _ in 0..2 {
        assert_eq!(post(&requests, &Delivery::default(), address, LARGE / 2).await.unwrap(), 200);
    }
    let delivery = Delivery::default();
    assert!(post(&requests, &delivery, address, LARGE).await.is_err());
    assert_eq!(delivery.sent(), Sent::Partly);
    server.await.unwrap();
}

/// Also an error is an answer: what follows on the connection is of others.
#[tokio::test]
async fn a_connection_that_has_brought_a_request_is_used_again() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            read_request(&mut stream, 100).await;
            stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    });
    let requests = requests();
    for _ in 0..2 {
        let delivery = Delivery::default();
        assert_eq!(post(&requests, &delivery, address, 100).await.unwrap(), 500);
        assert_eq!(delivery.sent(), Sent::Perhaps);
    }
    server.await.unwrap();
}
