//! A Kinesis that takes every record, and keeps none.

use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use bytes::Bytes;
use tokio::runtime::Runtime;

/// The service. What uses it may look at only a part.
#[allow(dead_code, reason = "each benchmark has its own use of it")]
pub(crate) struct Blackhole {
    pub(crate) url: String,
    /// When requests with records have come.
    pub(crate) arrivals: Receiver<Instant>,
    _server: Runtime,
}

#[derive(Clone)]
struct Service {
    shard_count: u128,
    /// From the last byte of a request to the first of its answer.
    latency: Duration,
    arrive: SyncSender<Instant>,
}

impl Blackhole {
    /// One with a stream of `shard_count` shards, that answers `latency` after it was asked.
    pub(crate) fn start(shard_count: u128, latency: Duration) -> Self {
        let server = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = server.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (arrive, arrivals) = sync_channel(1024);
        let service = Service { shard_count, latency, arrive };
        let router = axum::Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(service);
        server.spawn(async move { axum::serve(listener, router).await });
        Self { url, arrivals, _server: server }
    }
}

async fn answer(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> String {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    match target.split_once('.').map_or("", |(_, operation)| operation) {
        "ListShards" => shards(service.shard_count),
        "DescribeStreamSummary" => summary(service.shard_count),
        _ => {
            // When nobody waits for them there may be no room left.
            let _ = service.arrive.try_send(Instant::now());
            if !service.latency.is_zero() {
                tokio::time::sleep(service.latency).await;
            }
            put_records(&body)
        }
    }
}

fn put_records(body: &[u8]) -> String {
    // The name of the member as JSON has it, and as CBOR does.
    let name: &[u8] = if body.starts_with(b"{") { b"\"Data\":" } else { b"\x64Data" };
    let record_count = memchr::memmem::find_iter(body, name).count();
    let results = vec![r#"{"SequenceNumber":"1","ShardId":"shardId-000000000000"}"#; record_count].join(",");
    format!(r#"{{"FailedRecordCount":0,"Records":[{results}]}}"#)
}

fn shards(count: u128) -> String {
    let width = u128::MAX / count;
    let shard = |index: u128| {
        let (start, end) = (index * width, if index + 1 == count { u128::MAX } else { (index + 1) * width - 1 });
        format!(
            r#"{{"ShardId":"shardId-{index:012}","HashKeyRange":{{"StartingHashKey":"{start}","EndingHashKey":"{end}"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}"#
        )
    };
    format!(r#"{{"Shards":[{}]}}"#, (0..count).map(shard).collect::<Vec<_>>().join(","))
}

fn summary(shard_count: u128) -> String {
    format!(
        r#"{{"StreamDescriptionSummary":{{"StreamName":"bench","StreamARN":"arn:aws:kinesis:us-east-1:123456789012:stream/bench","StreamStatus":"ACTIVE","RetentionPeriodHours":24,"StreamCreationTimestamp":0,"EnhancedMonitoring":[],"OpenShardCount":{shard_count}}}}}"#
    )
}
