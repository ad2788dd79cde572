//! The way to AWS: where the services are, as whom they are spoken to, and by which connections.
//!
//! There is one [`Access`] for each different `[flow.aws]` over `[aws]`; flows with the same one
//! share its credentials and its connections. Nothing is looked up before the first attempt, and what cannot be found is
//! looked for again at the next: a region or a role that comes late is enough. A [`Client`] is one of the SDK's for one
//! service, which is made anew when credentials were [renewed](Client::renew).
//!
//! Requests for records are [`Ready`] when the SDK gets them, their bodies written into [`Buffers`] that are used again.
//! All requests go through an HTTP client of our own (`http`), so that of a request that failed it is known whether it can have
//! been carried out ([`Delivery`]). What a failure without an answer means is decided in [`trouble`]. Which requests are
//! made, and what is done about failures, is left to `sender`.

mod buffers;
mod connect;
mod delivery;
mod http;
mod load;
mod proxy;
mod ready;
mod tls;
pub mod trouble;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use self::http::Http;
use crate::config::Aws;
use crate::limits::RENEWAL_INTERVAL;
use crate::outcome::{Failure, Verdict};
use crate::service_clock::ServiceClock;

pub use self::buffers::Buffers;
pub use self::delivery::Delivery;
pub use self::ready::{Answer, Ready, Request, Unwell};

/// The HTTP client of the SDK for what belongs to this host: without a proxy, whatever configuration and environment say.
pub fn direct_http_client() -> SharedHttpClient {
    SharedHttpClient::new(Http::direct())
}

/// The accesses of all flows.
#[derive(Default)]
pub struct Accesses {
    credentials: Option<Credentials>,
    made: Mutex<Vec<Arc<Access>>>,
}

impl Accesses {
    /// Accesses with these credentials instead of all others.
    pub fn with_credentials(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), made: Mutex::default() }
    }

    /// The access of a flow with these settings.
    pub fn of(&self, settings: &Aws) -> Arc<Access> {
        let mut made = lock(&self.made);
        if let Some(access) = made.iter().find(|access| access.settings == *settings) {
            return Arc::clone(access);
        }
        let access = Arc::new(Access::new(settings.clone(), self.credentials.clone()));
        made.push(Arc::clone(&access));
        access
    }
}

/// As whom, and by which way.
pub struct Access {
    settings: Aws,
    /// Instead of all others.
    credentials: Option<Credentials>,
    /// Held while something is loaded: it is loaded once for all who wait.
    state: AsyncMutex<State>,
    renewal: Mutex<Renewal>,
    clock: ServiceClock,
    buffers: Buffers,
}

#[derive(Default)]
struct State {
    http: Option<Http>,
    /// The last that was found.
    region: Option<Region>,
    /// What is loaded, and of which generation it is.
    loaded: Option<(u64, SdkConfig)>,
}

#[derive(Default)]
struct Renewal {
    /// How often credentials were renewed.
    generation: u64,
    /// The last time.
    at: Option<Instant>,
}

/// A service that clients can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Kinesis Data Streams.
    Kinesis,
    /// Firehose.
    Firehose,
    /// `CloudWatch`.
    CloudWatch,
    /// The Key Management Service.
    Kms,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kinesis => "Kinesis",
            Self::Firehose => "Firehose",
            Self::CloudWatch => "CloudWatch",
            Self::Kms => "KMS",
        })
    }
}

impl Access {
    /// The access that `settings` describe; `credentials`, where there are some, instead of all others.
    pub fn new(settings: Aws, credentials: Option<Credentials>) -> Self {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let clock = ServiceClock::new(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX));
        let (state, renewal) = (AsyncMutex::default(), Mutex::default());
        Self { settings, credentials, state, renewal, clock, buffers: Buffers::default() }
    }

    /// What time it is there, as answers tell.
    pub fn clock(&self) -> &ServiceClock {
        &self.clock
    }

    /// Buffers for the bodies of requests.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// What the access is made by.
    pub fn settings(&self) -> &Aws {
        &self.settings
    }

    /// The configuration of the SDK for a client of `service`: its endpoint, region, credentials, HTTP client, timeouts, no
    /// retries. All that are handed out until credentials are renewed share one cache of credentials.
    pub async fn config(&self, service: Service) -> Result<SdkConfig, Failure> {
        self.config_of(service).await.map(|(_, config)| config)
    }

    async fn config_of(&self, service: Service) -> Result<(u64, SdkConfig), Failure> {
        let mut state = self.state.lock().await;
        let generation = lock(&self.renewal).generation;
        let config = match &state.loaded {
            Some((of, config)) if *of == generation => config.clone(),
            _ => {
                let config = self.load(&mut state).await?;
                state.loaded = Some((generation, config.clone()));
                config
            }
        };
        Ok((generation, self.at_endpoint(service, config)))
    }

    async fn load(&self, state: &mut State) -> Result<SdkConfig, Failure> {
        let http = match &state.http {
            Some(http) => http.clone(),
            None => state.http.insert(Http::new(&self.settings, self.clock.clone())?).clone(),
        };
        let config = load::load(&self.settings, &http, state.region.clone(), self.credentials.as_ref()).await;
        if config.region().is_none() {
            let message = "no region is configured, and neither environment, profile nor instance metadata name one".to_owned();
            return Err(Failure { verdict: Verdict::Pause, code: Failure::REGION.to_owned(), message });
        }
        state.region = config.region().cloned();
        Ok(config)
    }

    fn at_endpoint(&self, service: Service, config: SdkConfig) -> SdkConfig {
        match self.endpoint(service) {
            // Of this service only: credentials may come from another. The SDK refuses to change a given address for FIPS.
            Some(url) => config.into_builder().endpoint_url(url).use_fips(false).use_dual_stack(false).build(),
            None => config,
        }
    }

    fn endpoint(&self, service: Service) -> Option<&str> {
        let endpoints = &self.settings.endpoints;
        let endpoint = match service {
            Service::Kinesis => &endpoints.kinesis,
            Service::Firehose => &endpoints.firehose,
            Service::CloudWatch => &endpoints.cloudwatch,
            Service::Kms => &endpoints.kms,
        };
        endpoint.as_deref()
    }

    /// There were no credentials: those of the next configuration are looked for anew.
    fn look_again(&self, generation: u64) {
        let mut renewal = lock(&self.renewal);
        if renewal.generation == generation {
            renewal.generation += 1;
        }
    }

    /// Forgets the credentials of `generation`, so that the next configuration has new ones, from wherever they come, files
    /// read anew. Not more often than once in [`RENEWAL_INTERVAL`]. Returns whether those of `generation` are of the past.
    fn renew(&self, generation: u64) -> bool {
        let mut renewal = lock(&self.renewal);
        if renewal.generation > generation {
            return true;
        }
        if self.credentials.is_some() || renewal.at.is_some_and(|at| at.elapsed() < RENEWAL_INTERVAL) {
            return false;
        }
        *renewal = Renewal { generation: renewal.generation + 1, at: Some(Instant::now()) };
        true
    }
}

/// A client of the SDK for one service, by one access.
pub struct Client<C> {
    access: Arc<Access>,
    service: Service,
    new: fn(&SdkConfig) -> C,
    made: Mutex<Option<Made<C>>>,
}

/// A client as it is now.
#[derive(Clone)]
pub struct Made<C> {
    /// The SDK's.
    pub client: C,
    /// Where it looks for the service, for people.
    pub place: Arc<str>,
    generation: u64,
}

impl<C: Clone> Client<C> {
    /// A client of `service` that is made by `new`, at the first attempt.
    pub fn new(access: Arc<Access>, service: Service, new: fn(&SdkConfig) -> C) -> Self {
        Self { access, service, new, made: Mutex::default() }
    }

    /// The client of now.
    pub async fn get(&self) -> Result<Made<C>, Failure> {
        let generation = lock(&self.access.renewal).generation;
        if let Some(made) = lock(&self.made).as_ref().filter(|made| made.generation == generation) {
            return Ok(made.clone());
        }
        let (generation, config) = self.access.config_of(self.service).await?;
        let place = match (self.access.endpoint(self.service), config.region()) {
            (Some(url), _) => url.to_owned(),
            (None, Some(region)) => format!("{} in {region}", self.service),
            (None, None) => self.service.to_string(),
        };
        let made = Made { client: (self.new)(&config), place: place.into(), generation };
        *lock(&self.made) = Some(made.clone());
        Ok(made)
    }

    /// Has credentials renewed when the verdict on a request by `made` is that those of it are not accepted, though they may have
    /// been: they have expired before their time, or others have taken their place. Where the next attempt is the first with
    /// new ones, the failure is one that passes; else it takes a person.
    pub fn renew(&self, made: &Made<C>, failure: Failure) -> Failure {
        if failure.code == Failure::CREDENTIALS {
            // A profile says only once what is wrong with it.
            self.access.look_again(made.generation);
            return failure;
        }
        if failure.verdict != Verdict::Renew {
            return failure;
        }
        if self.access.renew(made.generation) {
            tracing::info!(code = failure.code, "credentials are not accepted, they are loaded anew");
            return Failure { verdict: Verdict::Retry, ..failure };
        }
        Failure { verdict: Verdict::Pause, ..failure }
    }
}

/// A panic while it was held leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
