//! Nothing: what `fuzz/run` builds here is the dependency.
