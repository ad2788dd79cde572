//! Streams of Kinesis Data Streams: how requests are made of entries and of questions, and what the answers say.
//!
//! What an error means is decided in [`outcome`](super::outcome), by way of `sender::sdk`. The SDK's own retries are off, so
//! that no attempt is invisible.

use std::error::Error as StdError;
use std::sync::Arc;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{AppName, Credentials, Region};
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{self, PutRecordsRequestEntry, RecordDistributionStrategy, ShardFilter, ShardFilterType};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use tokio::sync::OnceCell;

use super::outcome::{Failure, Operation, RecordResult, Sent, Verdict, shard_in};
use super::sdk;
use super::{Destination, Summary};
use crate::collector::Entry;
use crate::hash_key::HashRange;
use crate::limits::{ATTEMPT_TIMEOUT, CONNECT_TIMEOUT, IDLE_CONNECTION_TIMEOUT, KIB, SHARD_PAGES_MAX, SHARDS_PER_PAGE};
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

    /// Where the service is, for people.
    fn place(&self) -> String {
        let region = self.client.get().and_then(|client| client.config().region());
        sdk::place("Kinesis", self.access.endpoint.as_deref(), region)
    }
}

impl Stream {
    /// The stream `name`.
    pub fn new(name: String, service: Arc<Service>) -> Self {
        Self { name, service }
    }

    async fn client(&self) -> Result<&Client, Failure> {
        self.service.client.get_or_try_init(|| connect(&self.service.access)).await
    }

    fn failure<E: ProvideErrorMetadata + StdError + 'static>(&self, operation: Operation, error: &SdkError<E>) -> Failure {
        sdk::failure(operation, error, Sent::Perhaps, &self.service.place())
    }
}

impl Destination for Stream {
    async fn put(&self, entries: &[Entry]) -> Result<Vec<RecordResult>, Failure> {
        let client = self.client().await?;
        let records = entries.iter().map(record).collect::<Result<_, _>>()?;
        match client.put_records().stream_name(&self.name).set_records(Some(records)).send().await {
            Ok(output) => Ok(results(output)),
            Err(error) => Err(self.failure(Operation::PutRecords, &error)),
        }
    }

    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let client = self.client().await?;
        let mut shards = Vec::new();
        let mut next_token = None;
        for _ in 0..SHARD_PAGES_MAX {
            let page = client.list_shards().max_results(SHARDS_PER_PAGE);
            // The rest of the list is of the stream that the token was given for; to name it again is an error.
            let page = match next_token {
                Some(token) => page.next_token(token),
                None => page.stream_name(&self.name).set_shard_filter(open_shards()),
            };
            let page = page
                .send()
                .await
                .map_err(|error| of_question(Operation::ListShards, self.failure(Operation::ListShards, &error)))?;
            shards.extend(page.shards.unwrap_or_default().iter().filter_map(open_shard));
            next_token = page.next_token;
            if next_token.is_none() {
                break;
            }
        }
        Ok(shards)
    }

    async fn summary(&self) -> Result<Summary, Failure> {
        let client = self.client().await?;
        let output = client.describe_stream_summary().stream_name(&self.name).send().await.map_err(|error| {
            of_question(Operation::DescribeStreamSummary, self.failure(Operation::DescribeStreamSummary, &error))
        })?;
        let summary = output.stream_description_summary();
        let size_kib = summary.and_then(types::StreamDescriptionSummary::max_record_size_in_kib);
        Ok(Summary {
            is_auto: summary.and_then(types::StreamDescriptionSummary::record_distribution_strategy)
                == Some(&RecordDistributionStrategy::Auto),
            record_bytes_max: size_kib
                .and_then(|size| usize::try_from(size).ok())
                .filter(|size| *size > 0)
                .map(|size| size * KIB),
        })
    }
}

fn record(entry: &Entry) -> Result<PutRecordsRequestEntry, Failure> {
    let record = PutRecordsRequestEntry::builder()
        .partition_key(&entry.partition_key)
        .set_explicit_hash_key(entry.is_hash_key_explicit.then(|| entry.hash_key.to_string()))
        .data(Blob::from_maybe_shared(entry.data.clone()));
    record.build().map_err(|error| sdk::not_made(&error))
}

/// Of each record a sequence number or an error, in the order of the request.
fn results(output: PutRecordsOutput) -> Vec<RecordResult> {
    let of_record = |record: types::PutRecordsResultEntry| match record.sequence_number {
        Some(number) if !number.is_empty() => RecordResult::Delivered { shard_id: record.shard_id },
        _ => {
            let message = record.error_message.unwrap_or_default();
            RecordResult::Failed {
                code: record.error_code.unwrap_or_else(|| Failure::NO_RESULT.to_owned()),
                shard_id: shard_in(&message).map(str::to_owned),
                message,
            }
        }
    };
    output.records.into_iter().map(of_record).collect()
}

/// Asks for the shards that are open now.
fn open_shards() -> Option<ShardFilter> {
    ShardFilter::builder().r#type(ShardFilterType::AtLatest).build().ok()
}

/// A shard, if it is open: emulators do not know the filter, and list those too that were split or merged.
fn open_shard(shard: &types::Shard) -> Option<Shard> {
    if shard.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_some()) {
        return None;
    }
    let range = shard.hash_key_range()?;
    let range = HashRange::parse(range.starting_hash_key(), range.ending_hash_key())?;
    Some(Shard { id: shard.shard_id().into(), range })
}

/// A question stores nothing, so that its failure is never an uncertain one; and not everything that speaks the protocol knows
/// every question.
fn of_question(operation: Operation, failure: Failure) -> Failure {
    match failure.code.as_str() {
        "UnknownOperationException" | "InvalidAction" | "Http404" | "Http501" => Failure::unsupported(operation.name()),
        _ => Failure { verdict: failure.verdict.given(Sent::Nothing), ..failure },
    }
}

/// What the clients of all services have in common.
pub(super) async fn load(access: &Access) -> Result<SdkConfig, Failure> {
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
    Ok(config)
}

async fn connect(access: &Access) -> Result<Client, Failure> {
    let mut config = aws_sdk_kinesis::config::Builder::from(&load(access).await?);
    if let Some(url) = &access.endpoint {
        // Of this service only: credentials may come from another.
        config = config.endpoint_url(url);
    }
    Ok(Client::from_conf(config.build()))
}

#[cfg(test)]
mod tests;
