//! x
pub mod command;
pub mod config;
pub mod discovery;
pub mod health;
pub mod limits;
pub mod metrics;
pub mod processor;
pub mod settlement;
pub mod span;
