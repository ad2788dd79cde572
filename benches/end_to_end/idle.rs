//! An agent that has shipped all there is, and waits.

use std::time::{Duration, Instant};

use crate::blackhole::Telling;
use crate::choice::Choice;
use crate::host::{Host, append, line_of, name_of, pause};
use crate::threads::Usage;
use crate::usage::memory_mib;

/// How many files, and how many of them have a line written to each second.
struct Case {
    file_count: usize,
    busy_count: usize,
    /// `VmRSS` in MiB and per cent of a core, as they stand in the table.
    aims: [&'static str; 2],
    /// The same of the best other agent that was measured, see BENCHMARKS.md.
    best_peers: [&'static str; 2],
}

const CASES: [Case; 4] = [
    Case { file_count: 1, busy_count: 0, aims: ["6", "0.01"], best_peers: ["12.2", "0.024"] },
    Case { file_count: 1_000, busy_count: 0, aims: ["", ""], best_peers: ["18.1", "0.33"] },
    Case { file_count: 10_000, busy_count: 0, aims: ["", ""], best_peers: ["", "9"] },
    Case { file_count: 10_000, busy_count: 100, aims: ["", ""], best_peers: ["", ""] },
];
const QUICK_CASES: [Case; 2] = [
    Case { file_count: 1, busy_count: 0, aims: ["6", "0.01"], best_peers: ["12.2", "0.024"] },
    Case { file_count: 20, busy_count: 5, aims: ["", ""], best_peers: ["", ""] },
];

pub(crate) fn measure(choice: &Choice) {
    // After the last file was shipped: connections and threads end that are not used any more.
    let rest = choice.full_or_quick(Duration::from_secs(30), Duration::ZERO);
    let watched = choice.full_or_quick(Duration::from_secs(60), Duration::from_millis(300));
    println!(
        "| files | written to | VmRSS MiB | aim | best peer | RssAnon | RssFile | VmHWM | CPU % of a core | aim | best peer | \
         wake-ups a second |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for case in choice.full_or_quick(&CASES[..], &QUICK_CASES[..]) {
        if choice.has_case(&case.file_count.to_string()) {
            watch(case, rest, watched);
        }
    }
}

fn watch(case: &Case, rest: Duration, watched: Duration) {
    let Case { file_count, busy_count, aims: [memory_aim, cpu_aim], best_peers: [memory_peer, cpu_peer] } = *case;
    let host = Host::new(file_count, "1 s", Telling::Nothing);
    let agent = host.start();
    agent.wait_settled(host.byte_count);
    let write_interval = Duration::from_secs(1) / busy_count.max(1) as u32;
    let mut written = 0;
    let mut go_on_for = |time: Duration, usage: &mut Usage| {
        let end = Instant::now() + time;
        let mut sample_at = Instant::now();
        while Instant::now() < end {
            if Instant::now() >= sample_at {
                usage.sample(&agent);
                sample_at += Duration::from_secs(1);
            }
            if busy_count > 0 {
                append(&host.place.log(&name_of(written % busy_count)), &line_of(written, file_count));
                written += 1;
            }
            pause(if busy_count > 0 { write_interval } else { Duration::from_millis(200) });
        }
        usage.sample(&agent);
    };
    go_on_for(rest, &mut Usage::default());
    let mut usage = Usage::default();
    usage.sample(&agent);
    let (before, begun) = (usage.total(), Instant::now());
    go_on_for(watched, &mut usage);
    let (after, seconds) = (usage.total(), begun.elapsed().as_secs_f64());
    let cpu_percent = (after.cpu - before.cpu).as_secs_f64() / seconds * 100.0;
    let wakeups = (after.wakeup_count - before.wakeup_count) as f64 / seconds;
    let [now, anonymous, of_files, peak] = ["VmRSS:", "RssAnon:", "RssFile:", "VmHWM:"].map(|name| memory_mib(&agent, name));
    println!(
        "| {file_count} | {busy_count} | {now:.1} | {memory_aim} | {memory_peer} | {anonymous:.1} | {of_files:.1} | {peak:.1} | {cpu_percent:.4} | \
         {cpu_aim} | {cpu_peer} | {wakeups:.1} |"
    );
}
