//! A connection to a service: name, TCP, a proxy perhaps, TLS; HTTP/1.1 only, so that a connection carries one request at a
//! time and what is written to it belongs to that.
//!
//! It decides in which order, within which time, and what each step that fails is called.

use std::error::Error as StdError;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, vec};

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::delivery::Gauge;
use super::proxy::{self, Proxies, Way};

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector<Resolver>,
    tls: Option<Arc<ClientConfig>>,
    proxies: Arc<Proxies>,
    timeout: Duration,
}

/// What went wrong before anything of a request was sent.
#[derive(Debug)]
pub(super) enum ConnectError {
    /// The name is not known, or nobody could be asked.
    Dns(io::Error),
    /// Refused, unreachable, or cut while connecting.
    Tcp(Box<dyn StdError + Send + Sync>),
    /// Not done in time.
    TimedOut(Duration),
    /// The other side has a certificate that is not trusted, or not of this name.
    Certificate(io::Error),
    /// Anything else about TLS.
    Tls(io::Error),
    /// The proxy wants a name and a password, or others, which it says by this status.
    ProxyAuth(u16),
    /// The proxy has answered with another status than 200.
    ProxyStatus(u16),
    /// The proxy has not answered as one does.
    ProxyAnswer(io::Error),
    /// A proxy of this kind is not known here.
    ProxyScheme(String),
    /// The same as others, on the way to the proxy.
    OfProxy(String, Box<ConnectError>),
    /// The URL has no host.
    Url,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(_) => f.write_str("the name cannot be resolved"),
            Self::Tcp(_) => f.write_str("no connection"),
            Self::TimedOut(timeout) => write!(f, "no connection within {timeout:?}"),
            Self::Certificate(_) => f.write_str("the certificate is not trusted"),
            Self::Tls(_) => f.write_str("TLS has failed"),
            Self::ProxyAuth(status) => write!(f, "the proxy wants another name and password (status {status})"),
            Self::ProxyStatus(status) => write!(f, "the proxy refuses the connection (status {status})"),
            Self::ProxyAnswer(_) => f.write_str("the proxy does not answer as a proxy"),
            Self::ProxyScheme(scheme) => write!(f, "a {scheme} proxy cannot be used, only one of http or https"),
            Self::OfProxy(proxy, _) => write!(f, "the proxy {proxy} cannot be reached"),
            Self::Url => f.write_str("the URL has no host"),
        }
    }
}

impl StdError for ConnectError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Dns(error) | Self::Certificate(error) | Self::Tls(error) | Self::ProxyAnswer(error) => Some(error),
            Self::Tcp(error) => Some(error.as_ref()),
            Self::OfProxy(_, error) => Some(error.as_ref()),
            Self::TimedOut(_) | Self::ProxyAuth(_) | Self::ProxyStatus(_) | Self::ProxyScheme(_) | Self::Url => None,
        }
    }
}

impl Connector {
    /// Connections by way of `proxies`, each made within `timeout`.
    pub(super) fn new(tls: Option<Arc<ClientConfig>>, proxies: Arc<Proxies>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.enforce_http(false);
        Self { tcp, tls, proxies, timeout }
    }

    async fn connect(self, target: Uri) -> Result<TokioIo<Channel>, ConnectError> {
        let way = self.proxies.way_to(&target)?;
        if let Way::Proxy { uri, .. } = &way {
            tracing::debug!(host = target.host(), proxy = %uri, "connecting by way of a proxy");
        }
        // The way belongs to the message: whoever reads it has to know whom to ask.
        match timeout(self.timeout, self.connect_by(&way, target)).await {
            Ok(connected) => connected,
            Err(_) => Err(of(&way, ConnectError::TimedOut(self.timeout))),
        }
    }

    async fn connect_by(&self, way: &Way, target: Uri) -> Result<TokioIo<Channel>, ConnectError> {
        let is_secure = target.scheme() == Some(&Scheme::HTTPS);
        let stream = match way {
            Way::Direct => self.tcp(target.clone()).await?,
            Way::Proxy { uri, authorization } => {
                let mut stream = self.tcp(uri.clone()).await.map_err(|error| of(way, error))?;
                if uri.scheme() == Some(&Scheme::HTTPS) {
                    stream = self.tls(uri, stream).await.map_err(|error| of(way, error))?;
                }
                if is_secure {
                    proxy::tunnel(&mut stream, &target, authorization.as_ref()).await?;
                }
                stream
            }
        };
        let stream = if is_secure { self.tls(&target, stream).await? } else { stream };
        let is_forwarded = !is_secure && matches!(way, Way::Proxy { .. });
        Ok(TokioIo::new(Channel { stream, gauge: Gauge::default(), is_forwarded }))
    }

    async fn tcp(&self, uri: Uri) -> Result<Box<dyn Stream>, ConnectError> {
        let mut tcp = self.tcp.clone();
        let stream = tcp.call(uri).await.map_err(|error| {
            let error: Box<dyn StdError + Send + Sync> = error.into();
            match super::trouble::caused_by::<Unresolved>(error.as_ref()) {
                Some(Unresolved(kind, message)) => ConnectError::Dns(io::Error::new(*kind, message.clone())),
                None => ConnectError::Tcp(error),
            }
        })?;
        let stream = stream.into_inner();
        // Closed, it is reset, and what the system has not sent yet is thrown away. Else a request of which a part is still in
        // the socket's buffer when the process dies, or gives up waiting, would arrive whole some time after, when the stream
        // has been searched for its records. What is reset in an orderly ending is a connection that nobody uses.
        stream.set_zero_linger().map_err(|error| ConnectError::Tcp(error.into()))?;
        Ok(Box::new(stream))
    }

    async fn tls(&self, uri: &Uri, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, ConnectError> {
        let host = uri.host().ok_or(ConnectError::Url)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host).map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
        let settings = self.tls.clone().ok_or_else(|| ConnectError::Tls(io::ErrorKind::Unsupported.into()))?;
        let connected = TlsConnector::from(settings).connect(name, stream).await;
        connected.map(|stream| Box::new(stream) as Box<dyn Stream>).map_err(|error| {
            let reason = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
            match reason {
                Some(rustls::Error::InvalidCertificate(_)) => ConnectError::Certificate(error),
                _ => ConnectError::Tls(error),
            }
        })
    }
}

/// How long nothing was heard before the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(15);

fn of(way: &Way, error: ConnectError) -> ConnectError {
    match way {
        Way::Direct => error,
        Way::Proxy { uri, .. } => ConnectError::OfProxy(uri.to_string(), Box::new(error)),
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Channel>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().connect(target))
    }
}

/// The system's resolver, of which an error can be told from others.
#[derive(Clone)]
struct Resolver;

#[derive(Debug)]
struct Unresolved(io::ErrorKind, String);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.1)
    }
}

impl StdError for Unresolved {}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Unresolved;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(|error| Unresolved(error.kind(), format!("{}: {error}", name.as_str())))?;
            Ok(found.collect::<Vec<_>>().into_iter())
        })
    }
}

/// What bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection of which the written bytes are counted.
pub(super) struct Channel {
    stream: Box<dyn Stream>,
    gauge: Gauge,
    /// A proxy reads the requests: they name the whole URL.
    is_forwarded: bool,
}

impl Connection for Channel {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_forwarded).extra(self.gauge.clone())
    }
}

impl AsyncRead for Channel {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Channel {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, gauge, .. } = &mut *self;
        gauge.write(|| Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, gauge, .. } = &mut *self;
        gauge.write(|| Pin::new(stream).poll_write_vectored(context, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, gauge, .. } = &mut *self;
        gauge.flush(|| Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, gauge, .. } = &mut *self;
        gauge.flush(|| Pin::new(stream).poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Neither when it is dropped, nor at the end of the process, is a connection closed with what is left in its buffers.
    #[tokio::test]
    async fn what_is_left_of_a_request_is_not_sent_when_its_connection_is_closed() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let target: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let connector = Connector::new(None, Arc::new(Proxies::none()), Duration::from_secs(10));
        let mut connection = connector.connect(target).await.unwrap().into_inner();
        let (mut accepted, _) = listener.accept().await.unwrap();
        connection.write_all(b"POST / HTTP/1.1").await.unwrap();
        drop(connection);
        let error = accepted.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}
