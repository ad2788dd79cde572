//! The document of `kinetail offsets list --json` and of `/offsets`: what of each file is settled.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::effect::settled_byte_count;
use super::{for_terminals, time};
use crate::command::with_causes;
use crate::offsets::{Offsets, Peeked, Row, RunKey, Sending};
use crate::span::FileKey;
use crate::tailer::{Whereabouts, Wheres};

/// All of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Listing {
    /// Where the store is.
    pub(super) state_dir: String,
    /// An agent runs: this is as of its last commit, sizes are those that it has seen then.
    pub(super) running: bool,
    /// The store has lost its last commits, since when files may have been read further, and sent.
    pub(super) rolled_back: bool,
    /// That the store is not as it was left, and what the next start makes of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) recovered: Option<String>,
    /// Flows that have started or that files are known of, by name.
    pub(super) flows: Vec<OfFlow>,
    /// By flow and path.
    pub(super) files: Vec<OfFile>,
    /// Of runs that did not end in an orderly way.
    pub(super) unreconciled: Vec<Unreconciled>,
    /// Of all flows.
    pub(super) total: Sums,
}

/// One flow.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OfFlow {
    pub(super) flow: String,
    /// It has looked at its files before: `start_at` does not count any more.
    pub(super) started: bool,
    #[serde(flatten)]
    pub(super) sums: Sums,
}

/// Sums over files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sums {
    /// Files that are there.
    pub(super) files: u64,
    /// Bytes of these.
    pub(super) size_bytes: u64,
    /// Of these not settled.
    pub(super) lag_bytes: u64,
    /// Files that are not where they were.
    pub(super) gone_files: u64,
    /// Bytes of these that were seen and are not settled.
    pub(super) gone_lag_bytes: u64,
}

/// One life of one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OfFile {
    pub(super) flow: String,
    pub(super) path: String,
    /// 16 hexadecimal digits; what sent records are told apart by.
    pub(super) key: String,
    pub(super) state: State,
    /// Where the file is now, if it is renamed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) renamed_to: Option<String>,
    /// Why nobody knows where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// Of a file that is gone when it was seen last; of a compressed one what it holds.
    pub(super) size_bytes: u64,
    /// All before this offset is settled.
    pub(super) settled_until: u64,
    /// Bytes behind that which are settled, too.
    pub(super) settled_above_bytes: u64,
    /// Bytes that are not settled.
    pub(super) lag_bytes: u64,
    /// What these are of the size.
    pub(super) lag_percent: f64,
    /// Since when the agent knows that it is gone.
    pub(super) gone_since: Option<String>,
    /// From when on a start forgets it.
    pub(super) forgotten_at: Option<String>,
}

/// What has become of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// It is where it was; the next start goes on there.
    Tailed,
    /// It is shorter than what is settled of it: it is read from its beginning.
    Truncated,
    /// It is in the same folder under another name; the next start goes on there.
    Renamed,
    /// Another file is where it was.
    Replaced,
    /// It is not where it was, or nothing more was expected of it.
    Gone,
    /// It cannot be looked at.
    Unknown,
}

impl State {
    /// Of the file of a row that is there now.
    pub(super) fn of(row: &Row, whereabouts: &Whereabouts) -> Self {
        match whereabouts {
            Whereabouts::There(_) => Self::Tailed,
            Whereabouts::Truncated(_) => Self::Truncated,
            Whereabouts::Unknown(_) => Self::Unknown,
            Whereabouts::Renamed(..) | Whereabouts::Replaced | Whereabouts::Gone if row.gone_at.is_some() => Self::Gone,
            Whereabouts::Renamed(..) => Self::Renamed,
            Whereabouts::Replaced => Self::Replaced,
            Whereabouts::Gone => Self::Gone,
        }
    }

    pub(super) fn is_gone(self) -> bool {
        matches!(self, Self::Replaced | Self::Gone)
    }
}

/// What a run that did not end in an orderly way may have sent of which the offsets say nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Unreconciled {
    /// 32 hexadecimal digits, with which the partition keys of its records begin.
    pub(super) run: String,
    pub(super) flow: String,
    /// None for a delivery stream, which cannot be read back.
    pub(super) stream: Option<String>,
    /// When the offsets were committed last.
    pub(super) committed_at: String,
    /// Since when something was in flight then.
    pub(super) in_flight_since: Option<String>,
    pub(super) in_flight_records: u64,
}

/// How much of a file there is, and where.
struct Look {
    state: State,
    size_bytes: u64,
    renamed_to: Option<String>,
    problem: Option<String>,
}

impl Listing {
    /// Of an agent that is stopped. Looks where the files are.
    pub(super) fn of_stopped(state_dir: &Path, contents: &Peeked, forget_after: Option<Duration>) -> Self {
        let mut wheres = Wheres::default();
        Self::of(state_dir, contents, forget_after, |row| {
            let whereabouts = wheres.of(row);
            let (mut renamed_to, mut problem) = (None, None);
            let state = State::of(row, &whereabouts);
            let size_bytes = match whereabouts {
                Whereabouts::There(byte_count) | Whereabouts::Truncated(byte_count) => byte_count,
                Whereabouts::Renamed(path, byte_count) => {
                    renamed_to = Some(path.to_string_lossy().into_owned());
                    byte_count
                }
                Whereabouts::Unknown(error) => {
                    problem = Some(error.to_string());
                    row.identity.byte_count
                }
                Whereabouts::Replaced | Whereabouts::Gone => row.identity.byte_count,
            };
            Look { state, size_bytes, renamed_to, problem }
        })
    }

    /// Of an agent that runs: files are not looked at, it does that itself.
    fn of_running(state_dir: &Path, contents: &Peeked, forget_after: Duration) -> Self {
        let listing = Self::of(state_dir, contents, Some(forget_after), |row| {
            let state = if row.gone_at.is_some() { State::Gone } else { State::Tailed };
            Look { state, size_bytes: row.identity.byte_count, renamed_to: None, problem: None }
        });
        Self { running: true, ..listing }
    }

    fn of(state_dir: &Path, contents: &Peeked, forget_after: Option<Duration>, mut look_at: impl FnMut(&Row) -> Look) -> Self {
        let Peeked { rows, started_flows, sendings, recovered, is_rolled_back } = contents;
        let mut files: Vec<OfFile> = rows.iter().map(|(key, row)| OfFile::new(*key, row, look_at(row), forget_after)).collect();
        files.sort_by(|a, b| (&a.flow, &a.path, &a.key).cmp(&(&b.flow, &b.path, &b.key)));
        let mut flows: BTreeMap<&str, Sums> = started_flows.iter().map(|flow| (flow.as_str(), Sums::default())).collect();
        for file in &files {
            flows.entry(&file.flow).or_default().add(file);
        }
        let of_flow = |(flow, sums): (&str, Sums)| OfFlow { flow: flow.to_owned(), started: started_flows.contains(flow), sums };
        let mut listing = Self {
            state_dir: state_dir.to_string_lossy().into_owned(),
            running: false,
            rolled_back: *is_rolled_back,
            recovered: recovered.as_ref().map(|recovered| format!("{recovered} ({})", recovered.trouble)),
            flows: flows.into_iter().map(of_flow).collect(),
            unreconciled: sendings.iter().map(Unreconciled::new).collect(),
            total: Sums::default(),
            files,
        };
        listing.sum_up();
        listing
    }

    /// Leaves what is of this flow.
    pub(super) fn keep(&mut self, flow: &str) {
        self.flows.retain(|of| of.flow == flow);
        self.files.retain(|of| of.flow == flow);
        self.unreconciled.retain(|of| of.flow == flow);
        self.sum_up();
    }

    fn sum_up(&mut self) {
        self.total = Sums::default();
        self.files.iter().for_each(|file| self.total.add(file));
    }

    /// As one JSON document, with a newline.
    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(for_terminals(&serde_json::to_string_pretty(self)?) + "\n")
    }
}

impl Sums {
    fn add(&mut self, file: &OfFile) {
        if file.state.is_gone() {
            self.gone_files += 1;
            self.gone_lag_bytes = self.gone_lag_bytes.saturating_add(file.lag_bytes);
        } else {
            self.files += 1;
            self.size_bytes = self.size_bytes.saturating_add(file.size_bytes);
            self.lag_bytes = self.lag_bytes.saturating_add(file.lag_bytes);
        }
    }
}

impl OfFile {
    fn new(FileKey(key): FileKey, row: &Row, look: Look, forget_after: Option<Duration>) -> Self {
        let Look { state, size_bytes, renamed_to, problem } = look;
        let lag_bytes = match state {
            State::Truncated => size_bytes,
            _ => size_bytes - settled_byte_count(row, size_bytes),
        };
        // The file may be back.
        let gone_at = row.gone_at.filter(|_| state.is_gone());
        let forgotten_at = gone_at.zip(forget_after).map(|(gone_at, after)| gone_at.saturating_add(after.as_secs()));
        Self {
            flow: row.flow.clone(),
            path: row.path.clone(),
            key: format!("{key:016x}"),
            state,
            renamed_to,
            problem,
            size_bytes,
            settled_until: row.watermark,
            settled_above_bytes: row.settled_above.iter().map(|(start, end)| end.saturating_sub(*start)).sum(),
            lag_bytes,
            lag_percent: per_cent(lag_bytes, size_bytes),
            gone_since: gone_at.map(time),
            forgotten_at: forgotten_at.map(time),
        }
    }
}

/// With one decimal; of something that is not 0 never 0.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn per_cent(part: u64, whole: u64) -> f64 {
    if part == 0 || whole == 0 {
        return 0.0;
    }
    let tenths = (part as f64 * 1000.0 / whole as f64).round().max(1.0);
    // What is not all of it is not shown as if it were.
    (if part < whole { tenths.min(999.0) } else { tenths }) / 10.0
}

impl Unreconciled {
    fn new((RunKey { run_id, flow }, sending): &(RunKey, Sending)) -> Self {
        let at = |ms: i64| time(u64::try_from(ms / 1000).unwrap_or(0));
        Self {
            run: format!("{run_id:032x}"),
            flow: flow.clone(),
            stream: sending.stream.clone(),
            committed_at: at(sending.marked_at_ms),
            in_flight_since: sending.in_flight_since_ms.map(at),
            in_flight_records: sending.in_flight_record_count,
        }
    }
}

/// What the admin address answers, made of what is committed: it waits for the disk.
pub fn page(
    store: Arc<Offsets>,
    state_dir: PathBuf,
    forget_after: impl Fn() -> Duration + Send + Sync + 'static,
) -> impl Fn() -> Result<String, String> + Send + Sync + 'static {
    move || {
        let peek = || {
            let mut sendings = store.sendings()?;
            // What it may have sent itself, it knows.
            sendings.retain(|(run, _)| !store.has_begun(run));
            Ok(Peeked {
                rows: store.load()?,
                started_flows: store.started_flows()?,
                sendings,
                recovered: None,
                is_rolled_back: store.is_rolled_back()?,
            })
        };
        let contents = peek().map_err(|error: crate::offsets::OpenError| with_causes(&error))?;
        Listing::of_running(&state_dir, &contents, forget_after()).to_json().map_err(|error| error.to_string())
    }
}
