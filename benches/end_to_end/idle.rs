//! An agent that has shipped all there is, and waits.

use std::time::{Duration, Instant};

use crate::blackhole::Telling;
use crate::choice::Choice;
use crate::host::{Host, append, line_of, name_of, pause};
use crate::threads::Usage;
use crate::usage::memory_mib;

/// Files, how many of them have a line written to each second, and the aims: `VmRSS` in MiB, per cent of a core.
const CASES: [(usize, usize, Option<[f64; 2]>); 4] =
    [(1, 0, Some([6.0, 0.01])), (1_000, 0, None), (10_000, 0, None), (10_000, 100, None)];
const QUICK_CASES: [(usize, usize, Option<[f64; 2]>); 2] = [(1, 0, Some([6.0, 0.01])), (20, 5, None)];

pub(crate) fn measure(choice: &Choice) {
    // After the last file was shipped: connections and threads end that are not used any more.
    let rest = choice.full_or_quick(Duration::from_secs(30), Duration::ZERO);
    let watched = choice.full_or_quick(Duration::from_secs(60), Duration::from_millis(300));
    println!("| files | written to | VmRSS MiB | aim | RssAnon | RssFile | VmHWM | CPU % of a core | aim | wake-ups a second |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (file_count, busy_count, aims) in choice.full_or_quick(&CASES[..], &QUICK_CASES[..]) {
        if choice.has_case(&file_count.to_string()) {
            watch(*file_count, *busy_count, *aims, rest, watched);
        }
    }
}

fn watch(file_count: usize, busy_count: usize, aims: Option<[f64; 2]>, rest: Duration, watched: Duration) {
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
    let [memory_aim, cpu_aim] = [0, 1].map(|aim| aims.map_or_else(String::new, |aims| aims[aim].to_string()));
    println!(
        "| {file_count} | {busy_count} | {now:.1} | {memory_aim} | {anonymous:.1} | {of_files:.1} | {peak:.1} | {cpu_percent:.4} | \
         {cpu_aim} | {wakeups:.1} |"
    );
}
