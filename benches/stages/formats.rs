//! From a line to a record, format by format: finding its fields, and writing them as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use kinetail::config::Config;
use kinetail::metadata::Ec2;
use kinetail::processor::{Made, Origin, Processor, Surroundings};
use kinetail::span::FileKey;

use crate::is_quick;
use crate::lines::CASES;

/// Enough that no cache below the last has all lines, and no branch predictor.
const BYTES: usize = 8 << 20;

/// Processes different lines of one format.
#[divan::bench(args = CASES.iter().map(|case| case.name), sample_count = 10, sample_size = 1)]
fn format(bencher: Bencher<'_, '_>, name: &str) {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    let byte_count = if is_quick() { 4 << 10 } else { BYTES };
    let mut random = fastrand::Rng::with_seed(1);
    let (mut text, mut ends) = (String::new(), vec![0]);
    while text.len() < byte_count {
        (case.write)(&mut random, &mut text);
        ends.push(text.len());
    }
    let source = format!("[[flow]]\nname = \"bench\"\nfiles = [\"/a\"]\n{}\n[flow.kinesis]\nstream = \"bench\"\n", case.settings);
    let config = Config::parse(&source, name).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let surroundings = Surroundings { host_name: "host".to_owned(), environment: BTreeMap::new() };
    let mut processor = Processor::new(&config.flows[0], &surroundings);
    let ec2 = Ec2::default();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let origin = Origin { path: Path::new("/a"), file: FileKey(1), offset: 0, header: None, now, ec2: &ec2 };
    let (mut out, mut key) = (Vec::new(), String::new());
    let mut pass = || {
        let mut record_bytes = 0;
        for bounds in ends.windows(2) {
            let line = &text.as_bytes()[bounds[0]..bounds[1]];
            out.clear();
            let processed = processor.process(black_box(line), &origin, &mut out, &mut key);
            let is_sound = !processed.mismatched && processed.type_mismatches == 0;
            assert!(is_sound, "{name}: {processed:?}: {}", line.escape_ascii());
            record_bytes += if processed.made == Made::Raw { line.len() } else { black_box(&out).len() };
        }
        record_bytes
    };
    // Buffers grow, and what is made when it is first needed is made.
    pass();
    bencher.counter(BytesCount::new(text.len())).counter(ItemsCount::new(ends.len() - 1)).bench_local(pass);
}
