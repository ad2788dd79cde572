//! Running a simulation for many seeds, on all processors, until one fails.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What an ordinary test run does: so many seeds, or fewer when they take too long, but never less than the least.
pub(crate) struct Extent {
    pub(crate) seeds: u64,
    pub(crate) seeds_min: u64,
    pub(crate) time: Duration,
}

/// Runs `simulate` for the seeds that `extent` or `KINETAIL_SEEDS` asks for, or as told for the one of `KINETAIL_SEED`,
/// and gives each tally to `add`. Returns whether all went well; `target` is what `cargo test --test` is told to run this again.
pub(crate) fn run_seeds<T: Send>(
    target: &str,
    extent: &Extent,
    simulate: impl Fn(u64, bool) -> T + Sync,
    add: impl FnMut(T) + Send,
) -> bool {
    let add = Mutex::new(add);
    if let Some(seed) = number("KINETAIL_SEED") {
        (add.lock().unwrap())(simulate(seed, true));
        return true;
    }
    let asked = number("KINETAIL_SEEDS");
    let seed_count = asked.unwrap_or(extent.seeds);
    let begun = Instant::now();
    let is_enough =
        |seed: u64| seed >= seed_count || asked.is_none() && seed >= extent.seeds_min && begun.elapsed() >= extent.time;
    // To see what else fails.
    let goes_on = env::var_os("KINETAIL_GO_ON").is_some();
    let (next, has_failed) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while goes_on || !has_failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if is_enough(seed) {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| simulate(seed, false))) {
                        Ok(of_seed) => (add.lock().unwrap())(of_seed),
                        Err(_) => {
                            has_failed.store(true, Ordering::Relaxed);
                            eprintln!("seed {seed} failed; again: KINETAIL_SEED={seed} cargo test --test {target}");
                        }
                    }
                }
            });
        }
    });
    !has_failed.into_inner()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}
