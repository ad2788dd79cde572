//! The packages that `packaging/build` has written, on a Debian and, for rpm, on what passes for a system of it: installed,
//! configured, upgraded, downgraded, removed, installed again, purged. No line is lost by any of it, and none sent twice.
//!
//! Where there are no packages in `target/packages`, or what these stories need is missing, they are skipped, which is said;
//! not so in CI. `packaging/test` builds the packages first.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;

mod binary;
mod built;
mod host;
mod lint;
mod manual;
mod upgrades;
