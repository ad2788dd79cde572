//! Which files there are: globs expanded, folders watched. The only module that knows glob and notify.

mod pattern;
mod scan;
mod walk;
mod watch;

pub use pattern::PatternMistake;
pub use scan::{Found, Globs, Problem, Scan, siblings};
pub use watch::{Hints, Watch};
