//! From the `write` of a line to its acknowledgement, by how many are written a second.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use crate::access::long_access;
use crate::blackhole::{Blackhole, Event, MARK, Settings, Telling, now};
use crate::choice::Choice;
use crate::common::{PATIENCE, Place};
use crate::host::pause;
use crate::run::configure;
use crate::usage::cpu_of;

/// Lines a second, and the aim for all but one in 100, in ms.
const CASES: [(u64, Option<u32>); 3] = [(1, None), (1_000, Some(130)), (50_000, None)];

const FLOW: &str = "[flow.kinesis]\nstream = \"bench\"\nmax_delay = \"100 ms\"";
/// None of them is full.
const SHARDS: u32 = 64;
/// Lines that differ in more than their number.
const DIFFERENT_LINES: usize = 1_000;
/// Least time between two writes.
const TICK: Duration = Duration::from_millis(1);

pub(crate) fn measure(choice: &Choice) {
    println!("| lines a second | lines | p50 ms | p99 ms | aim | longest ms | agent, CPU % of a core |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (rate, aim) in CASES.into_iter().filter(|(rate, _)| choice.has_case(&rate.to_string())) {
        let time = choice.full_or_quick(Duration::from_secs(if rate == 1 { 100 } else { 30 }), Duration::from_millis(200));
        // Connections are made, and what is done once is done.
        let warm_up = choice.full_or_quick(Duration::from_secs(2), Duration::ZERO);
        measure_at(rate, aim, warm_up, time);
    }
}

fn measure_at(rate: u64, aim: Option<u32>, warm_up: Duration, time: Duration) {
    let place = Place::new();
    let blackhole = Blackhole::start(Settings { shard_count: SHARDS, latency: Duration::ZERO, telling: Telling::Lines });
    let path = place.log("access.log");
    let mut file = File::options().create(true).append(true).open(&path).unwrap();
    configure(&place, &blackhole, "admin = \"127.0.0.1:0\"", path.to_str().unwrap(), FLOW);
    let mut random = fastrand::Rng::with_seed(1);
    let texts: Vec<String> = std::iter::repeat_with(|| {
        let mut text = String::new();
        long_access(&mut random, &mut text);
        text
    })
    .take(DIFFERENT_LINES)
    .collect();
    let put =
        |number: usize, buffer: &mut Vec<u8>| writeln!(buffer, "{} {MARK}{number:010}", texts[number % texts.len()]).unwrap();
    // The first line is there before the agent is, and is not counted.
    let mut buffer = Vec::new();
    put(0, &mut buffer);
    // By the number of the line.
    let mut written_at = vec![now()];
    file.write_all(&buffer).unwrap();
    let agent = place.run(&[]);
    agent.wait_settled(buffer.len());
    let (begun, cpu_before) = (now(), cpu_of(agent.id()));
    let end = begun + warm_up + time;
    while now() < end {
        let due = ((now() - begun).as_secs_f64() * rate as f64) as usize + 2;
        buffer.clear();
        for number in written_at.len()..due {
            put(number, &mut buffer);
        }
        let at = now();
        file.write_all(&buffer).unwrap();
        written_at.resize(due.max(written_at.len()), at);
        let next = begun + Duration::from_secs_f64((written_at.len() - 1) as f64 / rate as f64);
        pause(next.saturating_sub(now()).max(TICK));
    }
    let cpu_percent = (cpu_of(agent.id()) - cpu_before).as_secs_f64() / (now() - begun).as_secs_f64() * 100.0;

    let mut delays: Vec<Option<Duration>> = vec![None; written_at.len()];
    let mut missing = delays.len();
    while missing > 0 {
        let Event::Lines(at, ranges) = blackhole.events.recv_timeout(PATIENCE).unwrap() else { continue };
        for number in ranges.into_iter().flat_map(|(first, last)| first..=last) {
            let delay = &mut delays[number as usize];
            missing -= usize::from(delay.is_none());
            *delay = delay.or(Some(at - written_at[number as usize]));
        }
    }
    agent.stop();
    let is_counted = |written_at: &Duration| *written_at >= begun + warm_up;
    let counted = written_at.iter().zip(delays).filter(|(written_at, _)| is_counted(written_at));
    let mut delays: Vec<Duration> = counted.filter_map(|(_, delay)| delay).collect();
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let aim = aim.map_or_else(String::new, |aim| aim.to_string());
    let (median, most, longest) = (at(0.5), at(0.99), at(1.0));
    println!("| {rate} | {} | {median:.1} | {most:.1} | {aim} | {longest:.1} | {cpu_percent:.2} |", delays.len());
}
