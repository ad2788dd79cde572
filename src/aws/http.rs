//! The HTTP client of everything that speaks to AWS: the SDK's interface to hyper, over connections that are counted.
//!
//! The SDK brings a client of its own. This one is here because of what that cannot tell: [how much of a request was
//! sent](super::delivery).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use http::HeaderMap;
use http::header::{DATE, PROXY_AUTHORIZATION};
use http::uri::Scheme;
use http_body_util::Limited;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::Instant;

use super::connect::{ConnectError, Connector};
use super::delivery::{Delivery, Watched};
use super::proxy::{Proxies, Way};
use super::tls;
use super::trouble::caused_by;
use crate::config::Aws;
use crate::limits::{ANSWER_BYTES_MAX, CONNECT_TIMEOUT, IDLE_CONNECTION_TIMEOUT};
use crate::outcome::Failure;
use crate::service_clock::ServiceClock;

/// The client; a clone shares its connections.
#[derive(Clone)]
pub(super) struct Http(Arc<Shared>);

struct Shared {
    /// None where it cannot be had: plain HTTP goes all the same.
    tls: Option<Arc<ClientConfig>>,
    proxies: Arc<Proxies>,
    connect_timeout: Duration,
    /// Learns from answers.
    clock: Option<ServiceClock>,
    /// By longest time to connect: that of the configuration, and what the SDK thinks is right for metadata services.
    clients: Mutex<HashMap<Duration, Client<Connector, Watched>>>,
}

impl Http {
    /// A client with the settings of `aws`; `clock` learns from its answers. It reads files of certificates.
    pub(super) fn new(aws: &Aws, clock: ServiceClock) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Shared {
            tls: Some(tls::settings(aws.ca_file.as_deref())?),
            proxies: Arc::new(Proxies::new(aws)),
            connect_timeout: aws.connect_timeout(),
            clock: Some(clock),
            clients: Mutex::default(),
        })))
    }

    /// A client without a proxy, whatever the environment says, and with the system's certificates.
    pub(super) fn direct() -> Self {
        Self(Arc::new(Shared {
            tls: tls::settings(None).ok(),
            proxies: Arc::new(Proxies::none()),
            connect_timeout: CONNECT_TIMEOUT,
            clock: None,
            clients: Mutex::default(),
        }))
    }

    /// What makes requests with these timeouts; without the first, with that of the configuration.
    pub(super) fn requests(&self, connect_timeout: Option<Duration>, read_timeout: Option<Duration>) -> Requests {
        Requests {
            client: self.client(connect_timeout.unwrap_or(self.0.connect_timeout)),
            proxies: Arc::clone(&self.0.proxies),
            clock: self.0.clock.clone(),
            read_timeout,
        }
    }

    fn client(&self, connect_timeout: Duration) -> Client<Connector, Watched> {
        let shared = &self.0;
        let mut clients = shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = clients.entry(connect_timeout).or_insert_with(|| {
            let connector = Connector::new(shared.tls.clone(), Arc::clone(&shared.proxies), connect_timeout);
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
                .pool_timer(TokioTimer::new())
                .build(connector)
        });
        client.clone()
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl HttpClient for Http {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.requests(settings.connect_timeout(), settings.read_timeout()))
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

/// Makes requests with certain timeouts.
pub(super) struct Requests {
    client: Client<Connector, Watched>,
    proxies: Arc<Proxies>,
    clock: Option<ServiceClock>,
    /// From the request to the head of the answer.
    read_timeout: Option<Duration>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Requests")
    }
}

impl HttpConnector for Requests {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request.map(Watched::new),
            Err(error) => return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into()))),
        };
        self.authorize(&mut request);
        let connection = capture_connection(&mut request);
        if let Some(delivery) = request.extensions().get::<Delivery>().cloned() {
            request.body_mut().watch(delivery, connection);
        }
        let (answer, read_timeout, clock) = (self.client.request(request), self.read_timeout, self.clock.clone());
        let asked_at = Instant::now();
        HttpConnectorFuture::new(async move {
            let answer = match read_timeout {
                Some(limit) => match tokio::time::timeout(limit, answer).await {
                    Ok(answer) => answer,
                    Err(elapsed) => return Err(ConnectorError::timeout(elapsed.into())),
                },
                None => answer.await,
            };
            let answer = answer.map_err(connector_error)?;
            // Credentials may come from this host itself, whose clock it is that may be wrong.
            if let (Some(clock), Some(second)) = (clock, second_of(answer.headers()))
                && answer.headers().contains_key(REQUEST_ID)
            {
                clock.learn(second, asked_at);
            }
            HttpResponse::try_from(answer.map(|body| SdkBody::from_body_1_x(Limited::new(body, ANSWER_BYTES_MAX))))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Every answer of a service has it.
const REQUEST_ID: &str = "x-amzn-requestid";

/// When an answer was made, in seconds since 1970.
fn second_of(headers: &HeaderMap) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    Some(DateTime::from_str(date, Format::HttpDate).ok()?.secs())
}

impl Requests {
    /// A request that a proxy forwards says by itself who may use the proxy.
    fn authorize<B>(&self, request: &mut http::Request<B>) {
        if request.uri().scheme() == Some(&Scheme::HTTP)
            && let Ok(Way::Proxy { authorization: Some(authorization), .. }) = self.proxies.way_to(request.uri())
        {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
    }
}

/// The SDK wants to know whether trying again is worth while; puts are not left to it, calls for credentials are.
fn connector_error(error: Error) -> ConnectorError {
    match caused_by::<ConnectError>(&error) {
        Some(ConnectError::TimedOut(_)) => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}
