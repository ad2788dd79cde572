//! An embedded Kinesis on a port of its own, which can be taken down and brought up again with what it holds.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ferrokinesis::actions::{Operation, dispatch};
use ferrokinesis::store::{Store, StoreOptions};
use ferrokinesis::types::StreamStatus;
use kinetail::hash_key::HashRange;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Door, wait_until, wire};

/// The service.
pub(crate) struct Kinesis {
    addr: SocketAddr,
    store: Store,
    /// What its requests are signed by.
    pub(crate) door: Door,
    /// What looks into the store; no request is served on it.
    inspection: Runtime,
    /// What serves requests, while it is up.
    server: Option<Runtime>,
}

/// What one shard holds.
pub(crate) struct ShardRecords {
    pub(crate) shard_id: String,
    pub(crate) hash_range: HashRange,
    /// In the order of their sequence numbers.
    pub(crate) records: Vec<Record>,
}

/// One Kinesis record as it is stored.
pub(crate) struct Record {
    pub(crate) partition_key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) sequence_number: String,
}

impl Kinesis {
    /// A service without streams on a free port.
    pub(crate) fn start() -> Self {
        Self::start_with(StoreOptions::default())
    }

    /// A service with the stream `name` whose shards take no more than the real ones do: a MiB a second each.
    pub(crate) fn throttling(name: &str, shard_count: u32) -> Self {
        let kinesis = Self::start_with(StoreOptions { enforce_limits: true, ..StoreOptions::default() });
        kinesis.create_stream(name, shard_count);
        kinesis
    }

    fn start_with(options: StoreOptions) -> Self {
        let options = StoreOptions { create_stream_ms: 0, shard_limit: 1000, ..options };
        let inspection = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (addr, store) = ((Ipv4Addr::LOCALHOST, 0).into(), Store::new(options));
        let mut kinesis = Self { addr, store, door: Door::default(), inspection, server: None };
        kinesis.bring_up();
        kinesis
    }

    /// A service with the stream `name` of `shard_count` shards.
    pub(crate) fn with_stream(name: &str, shard_count: u32) -> Self {
        let kinesis = Self::start();
        kinesis.create_stream(name, shard_count);
        kinesis
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Creates a stream and waits until it is active.
    pub(crate) fn create_stream(&self, name: &str, shard_count: u32) {
        let request = json!({ "StreamName": name, "ShardCount": shard_count });
        self.inspection.block_on(async {
            dispatch(&self.store, Operation::CreateStream, request).await.unwrap();
        });
        wait_until("a new stream becomes active", || {
            self.inspection.block_on(async {
                // The change of its state is a task of this runtime, and needs a turn.
                tokio::task::yield_now().await;
                self.store.get_stream(name).await.unwrap().stream_status == StreamStatus::Active
            })
        });
    }

    /// Puts one record into `stream`.
    pub(crate) fn put(&self, stream: &str, partition_key: &str, data: &[u8]) {
        let request = json!({ "StreamName": stream, "PartitionKey": partition_key, "Data": BASE64.encode(data) });
        self.inspection.block_on(async {
            dispatch(&self.store, Operation::PutRecord, request).await.unwrap();
        });
    }

    /// Cuts all connections and refuses new ones.
    pub(crate) fn take_down(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_timeout(super::PATIENCE);
        }
    }

    /// Serves again what it held, on the port that it had.
    pub(crate) fn bring_up(&mut self) {
        let listener = TcpListener::bind(self.addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.addr = listener.local_addr().unwrap();
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let router = self.router().layer(axum::middleware::from_fn_with_state(self.door.clone(), Door::pass));
        server.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        self.server = Some(server);
    }

    /// What answers requests, for who serves it elsewhere too.
    pub(crate) fn router(&self) -> Router {
        // Without it the limit of axum holds, which is less than the service's.
        ferrokinesis::create_router(self.store.clone()).layer(DefaultBodyLimit::max(16 << 20))
    }

    /// Asks for `operation`, such as `SplitShard`. Status and answer.
    pub(crate) fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        wire::ask(self.addr, "kinesis", &format!("Kinesis_20131202.{operation}"), body)
    }

    /// Everything in `stream`, shard by shard.
    pub(crate) fn read_all(&self, stream: &str) -> Vec<ShardRecords> {
        self.inspection.block_on(async {
            let shards = self.store.get_stream(stream).await.unwrap().shards;
            let mut all: Vec<ShardRecords> = (shards.iter())
                .map(|shard| {
                    let range = &shard.hash_key_range;
                    ShardRecords {
                        shard_id: shard.shard_id.clone(),
                        hash_range: HashRange::parse(&range.starting_hash_key, &range.ending_hash_key).unwrap(),
                        records: Vec::new(),
                    }
                })
                .collect();
            // Keys are the index of the shard in hexadecimal, a slash, the sequence number; ordered.
            for (key, record) in self.store.get_record_store(stream).await {
                let (shard_index, sequence_number) = key.split_once('/').unwrap();
                all[usize::from_str_radix(shard_index, 16).unwrap()].records.push(Record {
                    partition_key: record.partition_key,
                    data: BASE64.decode(record.data).unwrap(),
                    sequence_number: sequence_number.to_owned(),
                });
            }
            all
        })
    }

    /// How many Kinesis records `stream` holds.
    pub(crate) fn record_count(&self, stream: &str) -> usize {
        self.inspection.block_on(self.store.get_record_store(stream)).len()
    }
}

impl Drop for Kinesis {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown_background();
        }
    }
}
