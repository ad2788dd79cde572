//! What cannot be tailed is told once, and again when it comes back after it was gone.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::discovery::Problem;
use crate::metrics::FlowMetrics;

/// The problems of one flow that were told and are still there.
pub(super) struct Problems {
    told: BTreeSet<Problem>,
    metrics: FlowMetrics,
}

impl Problems {
    /// None so far.
    pub(super) fn new(metrics: FlowMetrics) -> Self {
        Self { told: BTreeSet::new(), metrics }
    }

    /// These are the problems now.
    pub(super) fn update(&mut self, problems: Vec<Problem>) {
        let told_before = std::mem::take(&mut self.told);
        for problem in problems {
            if !told_before.contains(&problem) {
                self.tell(&problem);
            }
            self.told.insert(problem);
        }
    }

    /// Everything else was read.
    pub(super) fn conclude(&self) {
        let count = self.told.len();
        if count > 0 {
            tracing::warn!(flow = self.metrics.name, count, "paths that match could not be read; they are named above");
        }
    }

    /// A file that was open cannot be read any more.
    pub(super) fn add(&mut self, problem: Problem) {
        if !self.told.contains(&problem) {
            self.tell(&problem);
        }
        self.told.insert(problem);
    }

    fn tell(&self, problem: &Problem) {
        self.metrics.file_problem(problem.reason);
        let Problem { path, reason, message } = problem;
        tracing::warn!(flow = self.metrics.name, path = %path.display(), reason, message, "cannot tail this path");
    }
}

/// The problem of a path that could not be opened or read.
pub(super) fn problem_of(path: &Path, error: &io::Error) -> Problem {
    let reason = match error.kind() {
        io::ErrorKind::PermissionDenied => "permission_denied",
        io::ErrorKind::NotFound => "vanished",
        _ => "unreadable",
    };
    Problem { path: path.to_owned(), reason, message: error.to_string() }
}
