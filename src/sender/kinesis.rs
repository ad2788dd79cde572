//! One stream of Kinesis Data Streams: the only module of the way out that knows the AWS SDK.
//!
//! It decides how a request is made and what kind of failure an error of the SDK is. The SDK's own retries are
//! off, so that no attempt is invisible.

use std::error::Error as StdError;
use std::sync::Arc;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{AppName, Credentials, Region};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::{PutRecordsError, PutRecordsOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

use super::outcome::{self, Failure, RecordResult, Verdict};
use super::{Destination, Summary};
use crate::collector::Entry;
use crate::limits::{ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, IDLE_CONNECTION_TIMEOUT, MESSAGE_CHARS_MAX};
use crate::stream::Shard;

/// Where the service is, and as whom to speak to it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Region; without it the SDK's chain decides.
    pub region: Option<String>,
    /// URL instead of the region's endpoint.
    pub endpoint: Option<String>,
    /// Credentials; without them the SDK's chain decides.
    pub credentials: Option<Credentials>,
}

/// The service, of which all streams share the client: its credentials and its connections.
pub struct Service {
    access: Access,
    /// Made at the first attempt at which there is a region, so that one that comes late is enough.
    client: OnceCell<Client>,
}

/// A stream.
pub struct Stream {
    name: String,
    service: Arc<Service>,
}

impl Service {
    /// The service that `access` leads to; nothing is looked up before the first attempt.
    pub fn new(access: Access) -> Self {
        Self { access, client: OnceCell::new() }
    }
}

impl Stream {
    /// The stream `name`.
    pub fn new(name: String, service: Arc<Service>) -> Self {
        Self { name, service }
    }
}

impl Destination for Stream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let client = self.service.client.get_or_try_init(|| connect(&self.service.access)).await?;
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let record = PutRecordsRequestEntry::builder()
                .partition_key(&entry.partition_key)
                .set_explicit_hash_key(entry.is_hash_key_explicit.then(|| entry.hash_key.to_string()))
                .data(Blob::from_maybe_shared(entry.data.clone()))
                .build()
                .map_err(|error| Failure {
                    verdict: Verdict::Pause,
                    code: "BuildError".to_owned(),
                    message: error.to_string(),
                })?;
            records.push(record);
        }
        match client.put_records().stream_name(&self.name).set_records(Some(records)).send().await {
            Ok(output) => Ok(results(output)),
            Err(error) => Err(failure(&error, &self.service.endpoint(client))),
        }
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        Err(Failure::unsupported("ListShards"))
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        Err(Failure::unsupported("DescribeStreamSummary"))
    }
}

impl Service {
    /// Where `client` looks for the service, for people.
    fn endpoint(&self, client: &Client) -> String {
        match (&self.access.endpoint, client.config().region()) {
            (Some(url), _) => url.clone(),
            (None, Some(region)) => format!("Kinesis in {region}"),
            (None, None) => "Kinesis".to_owned(),
        }
    }
}

async fn connect(access: &Access) -> Result<Client, Failure> {
    let http_client = HttpClientBuilder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
        .build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled())
        // The attempt timeout bounds a stalled request; a slow answer is no reason to send it twice.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Ok(name) = AppName::new(env!("CARGO_PKG_NAME")) {
        loader = loader.app_name(name);
    }
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(credentials) = &access.credentials {
        loader = loader.credentials_provider(credentials.clone());
    }
    let config = loader.load().await;
    if config.region().is_none() {
        let message = "no region is configured, and neither environment, profile nor instance metadata name one".to_owned();
        return Err(Failure { verdict: Verdict::Pause, code: "Region".to_owned(), message });
    }
    let mut config = aws_sdk_kinesis::config::Builder::from(&config);
    if let Some(url) = &access.endpoint {
        // Of this service only: credentials may come from another.
        config = config.endpoint_url(url);
    }
    Ok(Client::from_conf(config.build()))
}

fn results(output: PutRecordsOutput) -> Vec<RecordResult> {
    let of_record = |record: aws_sdk_kinesis::types::PutRecordsResultEntry| match record.sequence_number {
        Some(number) if !number.is_empty() => RecordResult::Delivered { shard_id: Some(record.shard_id.unwrap_or_default()) },
        _ => RecordResult::Failed {
            code: record.error_code.unwrap_or_else(|| "NoSequenceNumber".to_owned()),
            message: record.error_message.unwrap_or_default(),
        },
    };
    output.records.into_iter().map(of_record).collect()
}

fn failure(error: &SdkError<PutRecordsError>, endpoint: &str) -> Failure {
    let (verdict, code) = match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let Some(code) = service.err().code() else { return not_of_the_service(status, endpoint) };
            let message = shortened(service.err().message().unwrap_or("no message"));
            return Failure { verdict: outcome::of_request(code, status), code: code.to_owned(), message };
        }
        SdkError::ResponseError(response) => return not_of_the_service(response.raw().status().as_u16(), endpoint),
        SdkError::TimeoutError(_) => (Verdict::Uncertain, Failure::TIMEOUT),
        _ if caused_by::<aws_credential_types::provider::error::CredentialsError>(error).is_some() => {
            (Verdict::Pause, "Credentials")
        }
        SdkError::DispatchFailure(_) if is_connect_failure(error) => (Verdict::Retry, "Connection"),
        SdkError::DispatchFailure(_) => (Verdict::Uncertain, "ConnectionLost"),
        // Not even made into a request.
        _ => (Verdict::Pause, "Client"),
    };
    Failure { verdict, code: code.to_owned(), message: format!("{endpoint}: {}", shortened(&causes(error))) }
}

/// An answer without an error of the service in it, or without anything that can be read.
fn not_of_the_service(status: u16, endpoint: &str) -> Failure {
    let code = format!("Http{status}");
    let message = format!("{endpoint}: HTTP status {status}, and not an answer of Kinesis; is there a proxy in between?");
    Failure { verdict: outcome::of_request(&code, status), code, message }
}

/// What comes from outside goes into log and health at a bounded length.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &message[..end]),
        None => message.to_owned(),
    }
}

/// What went wrong and why, from the outside in; the SDK's own way of saying it is for its developers.
fn causes(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The connection was never there, so that nothing can have been sent.
fn is_connect_failure(error: &(dyn StdError + 'static)) -> bool {
    caused_by::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect)
        || caused_by::<std::io::Error>(error).is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn caused_by<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
