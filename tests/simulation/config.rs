//! The configuration of a seed: drawn.

use std::path::{Path, PathBuf};

use kinetail::config::Config;

use crate::story::Story;

/// The folder of the logs. So long that the part of a path that fits into a partition key is the same at each run
/// of a seed.
pub(crate) fn logs_folder(folder: &Path) -> PathBuf {
    folder.join("l".repeat(255))
}

/// One or two flows over the same files.
pub(crate) fn drawn_config(folder: &Path, story: &Story, rng: &mut fastrand::Rng) -> Config {
    let state = folder.join("state");
    let flow_count = if rng.u8(..4) == 0 { 2 } else { 1 };
    let memory = flow_count * [8, 8, 64][rng.usize(..3)];
    let drain_timeout = ["0 s", "2 s", "30 s", "10 min"][rng.usize(..4)];
    // Looked up without drawing it, so that the seeds stay what they were.
    let threads = [1, 3][rng.clone().usize(..2)];
    let mut text = format!(
        "[agent]\nstate_dir = {state:?}\nadmin = \"off\"\nthreads = {threads}\nmemory_max = \"{memory} MiB\"\ndrain_timeout = \"{drain_timeout}\"\n{}",
        story.config()
    );
    for index in 0..flow_count {
        text += &drawn_flow(index, folder, rng);
    }
    Config::parse(&text, "drawn").unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

fn drawn_flow(index: usize, folder: &Path, rng: &mut fastrand::Rng) -> String {
    let files = logs_folder(folder).join("*.log*");
    let max_bytes = ["4 B", "30 B", "100 B", "1000 B", "50 KiB", ""][rng.usize(..6)];
    let max_bytes = if max_bytes.is_empty() { String::new() } else { format!("max_bytes = \"{max_bytes}\"\n") };
    let too_long = ["truncate", "split", "drop"][rng.usize(..3)];
    let strip_cr = rng.bool();
    let skip_header_lines = [0, 0, 1, 5][rng.usize(..4)];
    let on_mismatch = ["send_raw", "drop", "wrap"][rng.usize(..3)];
    let (parse, keys): (String, &[&str]) = if rng.bool() {
        let regex = r"(?s-u)^(?<key>[^ ]*) (?<rest>.*)$";
        (format!("[flow.parse]\nregex = '{regex}'\non_mismatch = \"{on_mismatch}\"\n"), &["random", "file", "${key}", "${key}"])
    } else {
        (String::new(), &["random", "file"])
    };
    let partition_key = keys[rng.usize(..keys.len())];
    let filter = ["", "[flow.filter]\ndrop = ['7']\n"][rng.usize(..2)];
    let record = ["", "", "terminator = \"\\n\"\n", "terminator = \"\\n\"\nadd = { n = 7, ok = true }\n"][rng.usize(..4)];
    let aggregate = ["kpl", "kpl", "none", "lines"][rng.usize(..4)];
    let compress = if aggregate == "kpl" { "none" } else { ["none", "gzip", "zstd"][rng.usize(..3)] };
    let max_record_bytes = ["1 KiB", "", "1 MiB"][rng.usize(..3)];
    let max_record_bytes = match max_record_bytes {
        written if aggregate == "lines" && !written.is_empty() => format!("max_record_bytes = \"{written}\"\n"),
        _ => String::new(),
    };
    let order = ["throughput", "throughput", "file"][rng.usize(..3)];
    let max_delay = ["10 ms", "1 s", "10 s"][rng.usize(..3)];
    let request_bytes = ["10 MiB", "5 MiB", "1200 KiB"][rng.usize(..3)];
    format!(
        "[[flow]]\nname = \"flow {index}\"\nfiles = [{files:?}]\n\
         [flow.line]\n{max_bytes}too_long = \"{too_long}\"\nstrip_cr = {strip_cr}\nskip_header_lines = {skip_header_lines}\n{parse}{filter}\
         [flow.record]\n{record}\
         [flow.kinesis]\nstream = \"s{index}\"\naggregate = \"{aggregate}\"\npartition_key = \"{partition_key}\"\n\
         max_delay = \"{max_delay}\"\nrequest_bytes = \"{request_bytes}\"\n\
         compress = \"{compress}\"\norder = \"{order}\"\n{max_record_bytes}"
    )
}
