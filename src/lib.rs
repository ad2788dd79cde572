//! kinetail ships log files to Amazon Kinesis: no line is lost, and a restart sends none twice.
//!
//! # The life of a line
//!
//! ```text
//!  files     globs, notifications
//!    |             | hints only
//!    v             v
//!  tailer <--- discovery
//!    |  ^
//!    |  '- what is settled, once, when a file is opened --------------------- offsets
//!    | Chunk: lines, each with its span                                        ^
//!    v                                                                         | commit, once a second
//!  packer: processor, aggregator or joiner, compressor, encryption,       checkpointer
//!    |     collector                   ^                                     ^ settled spans:
//!    | a request: entries, each        | stream: shards, sizes, load         | range set -> watermark
//!    v with its spans                  |                                     |
//!  sender ---> Kinesis or Firehose ----+--> delivered ------------------------'
//!                           (the tailer and the packer report what they drop)
//! ```
//!
//! [`discovery`] expands the globs and watches the folders. The [`tailer`] of a flow reads its files side by
//! side, each in turn, and cuts them into lines; every byte that it reads belongs to one [`span`], and no more
//! is read than the [`budget`] allows. The [`packer`] makes each line into a user record (the [`processor`]),
//! many user records into a Kinesis record in the format of the KPL (the [`aggregator`]) or one behind the other
//! (the [`joiner`]), compressed (the [`compressor`]) and encrypted ([`encryption`]) if that is wanted, and Kinesis
//! records into a request (the [`collector`]). The [`sender`] sends requests, at the pace of each shard and by the
//! way that [`aws`] knows, in the bytes of [`wire`], until every entry is delivered. What it learns of the [`stream`] decides where further
//! records go.
//!
//! On the way back only spans travel. The [`checkpointer`] keeps what is settled of each file ([`settlement`]):
//! the watermark is the first byte that is not. It commits that to the offset store ([`offsets`]), gives the
//! bytes back to the budget and counts them ([`metrics`]). After a restart the tailer goes on from there.
//!
//! [`agent`] draws the arrows, [`command`] is what a person calls, and [`progress`] sees whether everything goes on. `ARCHITECTURE.md` has the invariants.

// In the order in which a line meets them.
pub mod command;
pub mod config;

pub mod agent;

pub mod discovery;
pub mod tailer;

pub mod processor;

pub mod aggregator;
pub mod joiner;

pub mod compressor;
pub mod encryption;

pub mod collector;
pub mod packer;

pub mod sender;

pub mod wire;

pub mod aws;

pub mod checkpointer;
pub mod offsets;
pub mod settlement;

pub mod readback;

pub mod backoff;
pub mod budget;
pub mod delivery_token;
#[expect(unsafe_code, reason = "two calls of functions that are compiled for processors that have certain vectors")]
pub mod digest;
pub mod failpoint;
pub mod gate;
pub mod hash_key;
pub mod limits;
pub mod outcome;
pub mod progress;
pub mod service_clock;
pub mod span;
pub mod stream;
pub mod writing;

pub mod admin;
pub mod health;
pub mod metadata;
pub mod metrics;

pub mod deaggregator;
#[cfg(feature = "local")]
pub mod local;
