//! From the bytes of a file to its lines.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use kinetail::config::Config;
use kinetail::limits::READ_BYTES;
use kinetail::tailer::first_lines;

use crate::access_log;

/// One read of a file.
#[divan::bench(args = ["lf", "strip_cr"])]
fn lines(bencher: Bencher<'_, '_>, ends: &str) {
    let text = access_log(READ_BYTES - 1_000);
    let settings = if ends == "strip_cr" { "[flow.line]\nstrip_cr = true\n" } else { "" };
    let source = format!("[[flow]]\nname = \"bench\"\nfiles = [\"/a\"]\n{settings}[flow.kinesis]\nstream = \"bench\"\n");
    let rules = Config::parse(&source, "bench").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows[0].line;
    let line_count = text.lines().count();
    assert_eq!(first_lines(rules, text.as_bytes()).len(), line_count);
    bencher
        .counter(BytesCount::new(text.len()))
        .counter(ItemsCount::new(line_count))
        .bench_local(|| first_lines(rules, black_box(text.as_bytes())));
}
