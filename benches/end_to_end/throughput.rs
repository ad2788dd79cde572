//! A backlog of 1 GiB, by what is made of its lines.

use std::time::Duration;

use crate::allocations;
use crate::blackhole::{Settings, Telling};
use crate::choice::Choice;
use crate::input::Input;
use crate::run::ship;

/// What is made of lines.
struct Case {
    name: &'static str,
    flow: &'static str,
    /// Processor seconds per GiB.
    aim: Option<f64>,
    /// The same of the best other agent that was measured, see BENCHMARKS.md.
    best_peer: Option<f64>,
}

/// Enough that their limits, 1 MiB or 1,000 records a second each, hold up little.
pub(crate) const SHARDS: u32 = 1_024;

/// Peak memory, in MiB.
const PEAK_AIM: f64 = 32.0;

const CASES: [Case; 7] = [
    Case { name: "raw lines, KPL", flow: "[flow.kinesis]\nstream = \"bench\"", aim: Some(2.0), best_peer: Some(5.3) },
    Case {
        name: "raw lines, joined",
        flow: "[flow.record]\nterminator = \"\\n\"\n[flow.kinesis]\nstream = \"bench\"\naggregate = \"lines\"\nmax_record_bytes = \"1000 KiB\"",
        aim: Some(1.2),
        best_peer: Some(5.3),
    },
    Case {
        name: "raw lines, a record each",
        flow: "[flow.kinesis]\nstream = \"bench\"\naggregate = \"none\"",
        aim: Some(2.2),
        best_peer: Some(9.4),
    },
    Case {
        name: "apache_combined to JSON, KPL",
        flow: "[flow.parse]\nformat = \"apache_combined\"\n[flow.kinesis]\nstream = \"bench\"",
        aim: Some(3.2),
        best_peer: Some(16.2),
    },
    Case { name: "one-pass regex to JSON, KPL", flow: ONE_PASS, aim: Some(6.0), best_peer: Some(16.2) },
    Case { name: "usual regex to JSON, KPL", flow: USUAL, aim: None, best_peer: Some(16.2) },
    Case { name: "raw lines, Firehose", flow: "[flow.firehose]\ndelivery_stream = \"bench\"", aim: None, best_peer: None },
];

const ONE_PASS: &str = r#"[flow.parse]
regex = '^(?<host>[^ ]*) (?<ident>[^ ]*) (?<user>[^ ]*) \[(?<time>[^\]]*)\] "(?<request>[^"]*)" (?<status>[^ ]*) (?<size>[^ ]*) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$'
[flow.kinesis]
stream = "bench""#;
/// As it is found on the web: where a group ends is only known at what follows.
pub(crate) const USUAL: &str = r#"[flow.parse]
regex = '^(?<host>\S+) (?<ident>\S+) (?<user>\S+) \[(?<time>.*?)\] "(?<request>.*?)" (?<status>\d{3}) (?<size>\d+|-) "(?<referer>.*?)" "(?<agent>.*?)"$'
[flow.kinesis]
stream = "bench""#;

pub(crate) fn measure(choice: &Choice) {
    let byte_count = choice.full_or_quick(1 << 30, 256 << 10);
    let file_counts = choice.full_or_quick(&[1, 100][..], &[3]);
    let inputs: Vec<Input> = file_counts.iter().map(|file_count| Input::new(byte_count, *file_count)).collect();
    let fewer = Input::new(choice.full_or_quick(8 << 20, 16 << 10), 1);
    let more = Input::new(choice.full_or_quick(72 << 20, 128 << 10), 1);
    println!(
        "| case | files | MB/s | cpu-s/GiB | aim | best peer | VmHWM MiB | aim | requests | records a request | KiB a request | allocations a line | \
         blackhole, cpu-s/GiB |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for case in CASES.iter().filter(|case| choice.has_case(case.name)) {
        let settings = Settings { shard_count: SHARDS, latency: Duration::ZERO, telling: Telling::Nothing };
        let [allocation_count, _] = allocations::per_line(&fewer, &more, case.flow, settings);
        for input in &inputs {
            let shipped = ship(input, case.flow, settings);
            let (tally, request_count) = (shipped.tally, shipped.tally.request_count as f64);
            if case.flow.contains("\"none\"") {
                assert_eq!(tally.record_count, input.line_count, "each line is a record");
            }
            println!(
                "| {} | {} | {:.0} | {:.2} | {} | {} | {:.1} | {PEAK_AIM} | {} | {:.0} | {:.0} | {allocation_count:.2} | {:.2} |",
                case.name,
                input.file_count,
                shipped.mb_per_second(),
                shipped.per_gib(shipped.cpu),
                figure(case.aim),
                figure(case.best_peer),
                shipped.peak_mib,
                tally.request_count,
                tally.record_count as f64 / request_count,
                tally.body_bytes as f64 / 1024.0 / request_count,
                shipped.per_gib(shipped.blackhole_cpu),
            );
        }
    }
}

fn figure(known: Option<f64>) -> String {
    known.map_or_else(String::new, |figure| format!("{figure:.1}"))
}
