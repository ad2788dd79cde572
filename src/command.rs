//! The subcommands, one module each, and the exit codes that they share.

pub mod run;

/// Exit codes, after sysexits.h.
pub mod exit {
    /// Done.
    pub const OK: u8 = 0;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// The system gives no threads or signals.
    pub const OS: u8 = 71;
    /// The offset store cannot be read or written.
    pub const STORE: u8 = 74;
    /// Another agent holds the offset store.
    pub const STORE_IN_USE: u8 = 75;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
    /// Added to the number of the signal that cut a run short.
    pub const SIGNAL: u8 = 128;
}
