//! x
pub mod config;
pub mod deaggregator;
pub mod discovery;
pub mod hash_key;
pub mod health;
pub mod limits;
#[cfg(feature = "local")]
pub mod local;
pub mod metrics;
pub mod settlement;
pub mod span;
