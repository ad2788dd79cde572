//! x
pub mod admin;
pub mod config;
pub mod deaggregator;
pub mod discovery;
pub mod hash_key;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod settlement;
pub mod span;
