//! The embedded Kinesis: ferrokinesis behind a port of the loopback, on threads of its own.
//!
//! The only module that knows ferrokinesis.

use std::collections::BTreeSet;
use std::error::Error;
use std::future::Future;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::StreamStatus;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt as _;
use ferrokinesis::store::{Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::StartError;
use crate::limits::{MIB, REQUEST_BYTES_MAX};

/// Region of the embedded Kinesis; it takes any, but its ARNs name this one.
pub const REGION: &str = "us-east-1";
/// Shards of every stream.
pub(super) const SHARDS: i32 = 4;
/// One for the requests of the agent and one for those of the consumer.
const THREADS: usize = 2;
/// Records not yet read back, in base64: beyond, `PutRecords` answers `LimitExceededException` until the
/// consumer has caught up.
const RETAINED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// A request in base64 and JSON; the emulator itself refuses more than 5 MiB of data.
const BODY_BYTES_MAX: usize = REQUEST_BYTES_MAX * 4 / 3 + MIB;
/// Iterators are used for as long as the process lives.
const ITERATOR_SECONDS: u64 = u32::MAX as u64;
/// How often a stream that is being created is looked at.
const CREATION_POLL: Duration = Duration::from_millis(5);

/// Credentials that the embedded Kinesis takes: it checks that there is a signature, not whose.
pub fn credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "kinetail --local")
}

/// A running emulator. It ends, with every task spawned on it, when this is dropped.
pub(super) struct Server {
    endpoint: String,
    store: Store,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves `streams`, each with [`SHARDS`] shards, all of them active.
    pub(super) async fn start(streams: &BTreeSet<String>) -> Result<Self, StartError> {
        let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("embedded-kinesis").enable_all().build();
        let runtime = runtime.map_err(|error| StartError::new("start its threads", error))?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        });
        let (address, listener) = listener.map_err(|error| StartError::new("bind a port of 127.0.0.1", error))?;
        let shards_of_all = streams.len().saturating_mul(usize::try_from(SHARDS).unwrap_or(usize::MAX));
        let (app, store) = {
            let _on_its_threads = runtime.enter();
            ferrokinesis::create_app(StoreOptions {
                create_stream_ms: 0,
                shard_limit: u32::try_from(shards_of_all).unwrap_or(u32::MAX),
                iterator_ttl_seconds: ITERATOR_SECONDS,
                max_retained_bytes: Some(RETAINED_BYTES_MAX),
                aws_region: REGION.to_owned(),
                ..StoreOptions::default()
            })
        };
        runtime.spawn(serve(listener, app.layer(DefaultBodyLimit::max(BODY_BYTES_MAX))));
        let server = Self { endpoint: format!("http://{address}"), store, runtime: Some(runtime) };
        let client = server.client();
        for stream in streams {
            create(&client, stream).await?;
        }
        Ok(server)
    }

    /// Where it listens.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A client of it.
    pub(super) fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(credentials())
            .http_client(crate::aws::direct_http_client())
            .build();
        Client::from_conf(config)
    }

    /// What forgets records on demand.
    pub(super) fn shredder(&self) -> Shredder {
        Shredder(self.store.clone())
    }

    /// Runs a task on the server's threads.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match &self.runtime {
            Some(runtime) => runtime.spawn(task),
            None => unreachable!("the runtime is there until the server is dropped"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which a task of another runtime must not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: std::net::TcpListener, app: Router) {
    let served = match TcpListener::from_std(listener) {
        Ok(listener) => {
            // Answers are short: waiting for more to send with them would only delay them.
            let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
            axum::serve(listener, app).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the embedded Kinesis has ended");
    }
}

async fn create(client: &Client, stream: &str) -> Result<(), StartError> {
    let created = client.create_stream().stream_name(stream).shard_count(SHARDS).send().await;
    created.map_err(|error| refused("create a stream", stream, &error))?;
    loop {
        let described = client.describe_stream_summary().stream_name(stream).send().await;
        let described = described.map_err(|error| refused("describe a stream", stream, &error))?;
        if described.stream_description_summary().is_some_and(|summary| *summary.stream_status() == StreamStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(CREATION_POLL).await;
    }
}

/// The error of a request about a stream, in the words of the emulator if it was it that refused.
pub(super) fn refused<E>(doing: &'static str, stream: &str, error: &SdkError<E>) -> StartError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let why = error.message().map_or_else(|| DisplayErrorContext(error).to_string(), str::to_owned);
    StartError::new(doing, format!("{stream}: {why}"))
}

/// Makes the emulator forget records, which it would keep in memory for a day.
#[derive(Clone)]
pub(super) struct Shredder(Store);

impl Shredder {
    /// Forgets records of one shard.
    pub(super) async fn forget(&self, stream: &str, shard_id: &str, sequence_numbers: impl Iterator<Item = &str>) {
        // The emulator's key of a record: the number of its shard in hexadecimal, and its sequence number.
        let Some(shard_index) = shard_id.strip_prefix("shardId-").and_then(|index| index.parse::<u32>().ok()) else { return };
        let keys: Vec<String> = sequence_numbers.map(|sequence_number| format!("{shard_index:08x}/{sequence_number}")).collect();
        self.0.delete_record_keys(stream, &keys).await;
    }
}
