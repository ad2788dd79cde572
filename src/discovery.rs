//! Which files there are: globs expanded, folders watched. The only module that knows glob and notify.

mod folder;
mod hints;
mod pattern;
mod scan;
mod walk;
mod watch;

pub use hints::{Hints, Noticed};
pub use pattern::PatternMistake;
pub use scan::{FolderIdentity, Found, Globs, Problem, Scan, siblings};
pub use watch::Watch;
