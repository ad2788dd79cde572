use std::error::Error as _;

use tokio::io::duplex;

use super::*;
use crate::config::{Aws, Config};

fn aws(keys: &str) -> Aws {
    let source = format!("[aws]\n{keys}\n[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n");
    Config::parse(&source, "agent.toml").unwrap().aws
}

/// `direct`, or the proxy with what it is told.
fn way(proxies: &Proxies, url: &str) -> String {
    match proxies.way_to(&url.parse().unwrap()).unwrap() {
        Way::Direct => "direct".to_owned(),
        Way::Proxy { uri, authorization } => {
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            [Some(uri.to_string()), authorization].into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn a_proxy_is_for_everything_but_the_host_and_what_is_excepted() {
    let proxies = Proxies::new(&aws(
        "proxy = 'http://user:p%40ss@proxy:3128'\nno_proxy = ['10.0.0.0/8', '.internal', 'vpce.example.com', '192.0.2.7', 'fd00:1::/32']",
    ));
    let proxy = "http://proxy:3128/ Basic dXNlcjpwQHNz";
    for (url, expected) in [
        ("https://kinesis.us-east-1.amazonaws.com", proxy),
        ("http://kinesis.us-east-1.amazonaws.com/", proxy),
        ("https://sts.amazonaws.com", proxy),
        ("https://11.0.0.1", proxy),
        ("https://10.1.2.3", "direct"),
        ("https://a.internal", "direct"),
        ("https://a.b.internal:8443", "direct"),
        ("https://internal", "direct"),
        ("https://ainternal", proxy),
        ("https://vpce.example.com", "direct"),
        ("https://a.vpce.example.com", "direct"),
        ("https://example.com", proxy),
        ("https://192.0.2.7", "direct"),
        ("https://192.0.2.8", proxy),
        ("https://[fd00:1::5]", "direct"),
        ("https://[fd00:2::5]", proxy),
        ("http://169.254.169.254", "direct"),
        ("http://169.254.170.2/creds", "direct"),
        ("http://169.254.170.23/v1/credentials", "direct"),
        ("http://[fd00:ec2::254]", "direct"),
        ("http://[fd00:ec2::23]", "direct"),
        ("http://[fe80::1]", "direct"),
        ("http://127.0.0.1:4567", "direct"),
        ("http://127.8.8.8", "direct"),
        ("http://[::1]:4567", "direct"),
        ("http://localhost:4567", "direct"),
        ("http://LOCALHOST:4567", "direct"),
        ("http://localhost.example.com", proxy),
    ] {
        assert_eq!(way(&proxies, url), expected, "{url}");
    }
    assert_eq!(way(&Proxies::new(&aws("proxy = 'off'")), "https://a"), "direct");
    assert_eq!(way(&Proxies::new(&aws("proxy = 'https://proxy'\nno_proxy = '*'")), "https://a"), "direct");
    assert_eq!(way(&Proxies::new(&aws("proxy = 'https://proxy'")), "https://a"), "https://proxy/");
}

#[test]
fn a_proxy_that_speaks_something_else_is_refused() {
    let proxies = Proxies(Some(Matcher::builder().all("socks5://proxy:1080").build()));
    let error = proxies.way_to(&"https://a".parse().unwrap()).err().unwrap();
    assert_eq!(error.to_string(), "a socks5 proxy cannot be used, only one of http or https");
}

/// What a proxy is asked, and what comes of its answer.
async fn ask(answer: &[u8], authorization: Option<HeaderValue>) -> (String, Result<(), ConnectError>, Vec<u8>) {
    let (near, mut far) = duplex(1 << 20);
    far.write_all(answer).await.unwrap();
    let mut stream: Box<dyn Stream> = Box::new(near);
    let result = tunnel(&mut stream, &"https://kinesis.example.com/".parse().unwrap(), authorization.as_ref()).await;
    let mut asked = Vec::new();
    far.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    drop(stream);
    far.read_to_end(&mut asked).await.unwrap();
    (String::from_utf8(asked).unwrap(), result, rest)
}

#[tokio::test]
async fn a_proxy_is_asked_to_connect() {
    let (asked, result, rest) = ask(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n\x16\x03", None).await;
    assert_eq!(asked, "CONNECT kinesis.example.com:443 HTTP/1.1\r\nHost: kinesis.example.com:443\r\n\r\n");
    result.unwrap();
    assert_eq!(rest, b"\x16\x03", "what follows belongs to TLS");
    let (asked, result, _) = ask(b"HTTP/1.0 200 OK\r\n\r\n", Some(HeaderValue::from_static("Basic YTpi"))).await;
    assert!(asked.ends_with("\r\nProxy-Authorization: Basic YTpi\r\n\r\n"), "{asked}");
    result.unwrap();
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_by_how() {
    for (answer, message) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy wants another name and password (status 407)"),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", "the proxy wants another name and password (status 401)"),
        ("HTTP/1.1 403 Filtered\r\n\r\n", "the proxy refuses the connection (status 403)"),
        ("HTTP/1.1 503 x\r\n\r\n", "the proxy refuses the connection (status 503)"),
        ("HTTP/1.1 20 OK\r\n\r\n", "the proxy does not answer as a proxy"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "the proxy does not answer as a proxy"),
        ("\r\n\r\n", "the proxy does not answer as a proxy"),
    ] {
        assert_eq!(ask(answer.as_bytes(), None).await.1.unwrap_err().to_string(), message, "{answer}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(PROXY_ANSWER_BYTES_MAX));
    let error = ask(endless.as_bytes(), None).await.1.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "the headers do not end");
}
