//! Rotations of every kind, and what breaks other agents: every line arrives, once, whole.
//!
//! One program, so that stories that wait (some of them for half a minute) wait side by side.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod copytruncate;
mod downtime;
mod endings;
mod gzip;
mod many;
mod paths;
mod rename;
