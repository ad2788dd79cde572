//! What it costs to pack lines into records, without reading and sending them.
//!
//! `cargo bench --bench packing`, or one case of it: `-- keyed`. With `--quick` all is small, and shows only that it runs. Lines of
//! 200 bytes come as chunks of a file; the requests that are made of them go nowhere.

#![allow(clippy::print_stdout, reason = "a table is what it makes")]
#![allow(clippy::unwrap_used, reason = "what cannot be measured ends it")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kinetail::budget::Share;
use kinetail::config::Config;
use kinetail::delivery_token::DeliveryTokens;
use kinetail::limits::{CHUNKS_WAITING, EVENTS_WAITING, READ_BYTES, REQUESTS_WAITING};
use kinetail::metadata::Metadata;
use kinetail::metrics::Metrics;
use kinetail::packer::{Packer, Parts};
use kinetail::span::FileKey;
use kinetail::stream::{Load, StreamFacts};
use kinetail::tailer::{Chunk, Line};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

const LINE_BYTES: usize = 200;
const KEY_COUNT: usize = 1_000;

/// Settings of `[flow.kinesis]`, by what they are called here.
const CASES: &[(&str, &str)] = &[
    ("random", ""),
    ("keyed", "partition_key = \"${key}\""),
    ("by-file", "partition_key = \"file\""),
    ("single", "aggregate = \"none\""),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let chunk_count = if arguments.iter().any(|argument| argument == "--quick") { 20 } else { 1_000 };
    let chosen: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    println!("{:<10} {:>12} {:>12} {:>12}", "case", "lines", "ns a line", "records");
    for (name, settings) in CASES {
        if chosen.is_empty() || chosen.iter().any(|chosen| chosen == name) {
            let parse = if settings.contains("${key}") { "[flow.parse]\nregex = '^(?<key>[^ ]*) '\n" } else { "" };
            let text = format!(
                "[[flow]]\nname = 'f'\nfiles = '/a'\n{parse}[flow.record]\noutput = 'raw'\n[flow.kinesis]\nstream = 's'\n{settings}\n"
            );
            let config = Config::parse(&text, "bench").unwrap_or_else(|mistakes| panic!("{mistakes}"));
            let begun = Instant::now();
            let record_count = pack(&runtime, &config, chunk_count);
            let line_count = chunk_count * (READ_BYTES / LINE_BYTES);
            let nanoseconds = begun.elapsed().as_nanos() as f64 / line_count as f64;
            println!("{name:<10} {line_count:>12} {nanoseconds:>12.0} {record_count:>12}");
        }
    }
}

/// Packs so many chunks, and gives the number of records made.
fn pack(runtime: &Runtime, config: &Config, chunk_count: usize) -> usize {
    let (requests, mut requests_out) = mpsc::channel(REQUESTS_WAITING);
    let (events, _events_out) = mpsc::channel(EVENTS_WAITING);
    let (chunks, chunks_out) = mpsc::channel(CHUNKS_WAITING);
    let delivery = &config.flows[0].delivery;
    let packer = Packer::new(Parts {
        flow: Arc::new(config.flows[0].clone()),
        surroundings: Arc::default(),
        metadata: Metadata::nothing(),
        tokens: DeliveryTokens::new(1),
        request_bytes: delivery.request_bytes,
        thread_count: 1,
        facts: watch::channel(StreamFacts::before_asking(&delivery.destination)).1,
        load: Load::default(),
        keys: None,
        share: Share::new(64 << 20, 1),
        requests,
        events,
        metrics: Metrics::default().flow("f"),
    });
    runtime.block_on(async {
        let feed = tokio::spawn(async move {
            let path: Arc<Path> = Path::new("/a").into();
            let mut offset = 0;
            for _ in 0..chunk_count {
                let chunk = chunk(&path, offset);
                offset += chunk.bytes.len() as u64;
                chunks.send(chunk).await.unwrap();
            }
        });
        let packing = tokio::spawn(packer.run(chunks_out));
        let mut record_count = 0;
        while let Some(entries) = requests_out.recv().await {
            record_count += entries.len();
        }
        feed.await.unwrap();
        packing.await.unwrap();
        record_count
    })
}

fn chunk(path: &Arc<Path>, offset: u64) -> Chunk {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    let mut lines = Vec::new();
    for number in 0..READ_BYTES / LINE_BYTES {
        let start = bytes.len();
        bytes.extend(format!("{} GET /index.html ", number * 7 % KEY_COUNT).as_bytes());
        bytes.resize(start + LINE_BYTES - 1, b'x');
        bytes.push(b'\n');
        lines.push(Line { text: start..bytes.len() - 1, whole: start..bytes.len() });
    }
    Chunk { file: FileKey(1), path: Arc::clone(path), offset, bytes, lines, header: None, read_at: tokio::time::Instant::now() }
}
