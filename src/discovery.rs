//! Which files there are: globs expanded, folders watched. The only module that knows glob and notify.

mod scan;

pub use scan::{Found, Globs, PatternMistake, Problem, Scan};
