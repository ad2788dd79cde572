//! x
pub mod offsets;
pub mod collector;
pub mod budget;
pub mod aggregator;
pub mod admin;
pub mod config;
pub mod deaggregator;
pub mod discovery;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod processor;
pub mod settlement;
pub mod span;
