//! Which way a request goes: directly, or through a proxy, and how a proxy is asked to connect.
//!
//! Names and passwords of proxies are in headers marked as sensitive, and in no message.

use std::io;
use std::net::IpAddr;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::connect::{ConnectError, Stream};
use crate::config::{Aws, Proxy};
use crate::limits::PROXY_ANSWER_BYTES_MAX;

/// The proxies that there are.
pub(super) struct Proxies(Option<Matcher>);

/// The way to a host.
pub(super) enum Way {
    Direct,
    Proxy {
        /// Without name and password.
        uri: Uri,
        /// These, as a header has them.
        authorization: Option<HeaderValue>,
    },
}

impl Proxies {
    /// The proxy of the configuration, else that of the environment.
    pub(super) fn new(aws: &Aws) -> Self {
        let no_proxy = aws.no_proxy.as_ref().map(|hosts| hosts.join(","));
        Self(match &aws.proxy {
            Some(Proxy::Off) => None,
            Some(Proxy::At(url)) => Some(Matcher::builder().all(url.reveal()).no(no_proxy.unwrap_or_default()).build()),
            None => match no_proxy {
                None => Some(Matcher::from_env()),
                // What the configuration says takes the place of what the environment says.
                Some(no_proxy) => Some(
                    Matcher::builder()
                        .all(of_environment(&["ALL_PROXY", "all_proxy"]))
                        .https(of_environment(&["HTTPS_PROXY", "https_proxy"]))
                        .http(of_environment(&["HTTP_PROXY", "http_proxy"]))
                        .no(no_proxy)
                        .build(),
                ),
            },
        })
    }

    /// No proxy for anything.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// The way to `target`.
    pub(super) fn way_to(&self, target: &Uri) -> Result<Way, ConnectError> {
        let host = target.host().ok_or(ConnectError::Url)?;
        let Some(matcher) = self.0.as_ref().filter(|_| !is_of_this_host(host)) else { return Ok(Way::Direct) };
        let Some(proxy) = matcher.intercept(target) else { return Ok(Way::Direct) };
        let uri = proxy.uri().clone();
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {
                Ok(Way::Proxy { uri, authorization: proxy.basic_auth().cloned() })
            }
            scheme => Err(ConnectError::ProxyScheme(scheme.map(ToString::to_string).unwrap_or_default())),
        }
    }
}

fn of_environment(names: &[&str]) -> String {
    names.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

/// The host itself, and the services that only it can reach: instance metadata (169.254.169.254, `fd00:ec2::254`) and
/// credentials of containers (169.254.170.2, 169.254.170.23, `fd00:ec2::23`). A proxy would tell what it is itself.
fn is_of_this_host(host: &str) -> bool {
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unicast_link_local() || address.segments()[..2] == [0xfd00, 0xec2]
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Asks the proxy at the other end of `stream` to connect to `target`: RFC 9110, 9.3.6.
pub(super) async fn tunnel(
    stream: &mut Box<dyn Stream>,
    target: &Uri,
    authorization: Option<&HeaderValue>,
) -> Result<(), ConnectError> {
    let host = target.host().ok_or(ConnectError::Url)?;
    let port = target.port_u16().unwrap_or(443);
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n").into_bytes();
    if let Some(authorization) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(ConnectError::ProxyAnswer)?;
    stream.flush().await.map_err(ConnectError::ProxyAnswer)?;
    let answer = read_head(stream).await.map_err(ConnectError::ProxyAnswer)?;
    match status(&answer) {
        Some(200..=299) => Ok(()),
        // 401 is that of tinyproxy for wrong ones; it belongs to servers.
        Some(status @ (401 | 407)) => Err(ConnectError::ProxyAuth(status)),
        Some(status) => Err(ConnectError::ProxyStatus(status)),
        None => Err(ConnectError::ProxyAnswer(io::Error::new(io::ErrorKind::InvalidData, "not an answer of HTTP"))),
    }
}

/// Reads to the end of the headers, and not a byte beyond.
async fn read_head(stream: &mut Box<dyn Stream>) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the headers do not end"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

/// Of `HTTP/1.1 200 Connection established`.
fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head.split(|byte| *byte == b'\r').next()?).ok()?;
    let (version, rest) = line.split_once(' ')?;
    let code = rest.split(' ').next()?;
    if version.starts_with("HTTP/1.") && code.len() == 3 { code.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
