//! Senders on simulated time against a stream whose shards admit no more than real ones do.
//!
//! What is offered beyond that waits, in the files: throughput stays at what the shards admit, few records are sent in vain,
//! several agents share fairly, a busy shard holds up no other, and a reshard nobody.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod agents;
mod service;
#[path = "../common/shards.rs"]
mod shards;
mod story;

use std::time::Duration;

use agents::{Keys, Offer};
use service::{Listing, Setting};
use shards::Limiting;
use story::{Figures, Story};

const MIB: u64 = 1_048_576;

/// An aggregate, and a line that is sent by itself.
const LARGE: usize = 49_900;
const SMALL: usize = 500;

fn setting() -> Setting {
    Setting { shard_count: 4, limiting: Limiting::Bucket, round_trip: Duration::from_millis(20), listing: Listing::Fresh }
}

fn offer(record_bytes: usize) -> Offer {
    Offer { record_bytes, bytes_a_second: 16 * MIB, keys: Keys::Anywhere, memory_bytes: record_bytes.min(5_000) * 3_300 }
}

/// Of small records there are enough in less than a minute.
fn minute(record_bytes: usize) -> u64 {
    if record_bytes == LARGE { 60 } else { 15 }
}

/// A minute after a quarter of one in which the senders find their pace.
async fn settled_minute(story: &mut Story, record_bytes: usize) -> Figures {
    story.pass(15).await;
    story.figures(minute(record_bytes)).await
}

#[tokio::test(start_paused = true)]
async fn four_times_what_the_shards_admit_gives_what_they_admit() {
    for limiting in [Limiting::Bucket, Limiting::Window, Limiting::Turns] {
        for record_bytes in [LARGE, 5_000, SMALL] {
            let mut story = Story::begin(Setting { limiting, ..setting() });
            story.start(offer(record_bytes));
            let figures = settled_minute(&mut story, record_bytes).await;
            figures.tell(&format!("4x on 4 shards, {record_bytes} B, {limiting:?}"));
            // Between two turns of an emulator nothing is counted until the next record comes.
            let wanted = if limiting == Limiting::Turns { 0.88 } else { 0.95 };
            assert!(figures.use_of_capacity() >= wanted, "{figures}");
            assert!(figures.throttled_part() < 0.05, "{figures}");
            story.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn agents_share_a_stream_fairly() {
    for agent_count in [2, 4] {
        for record_bytes in [LARGE, SMALL] {
            let mut story = Story::begin(setting());
            for _ in 0..agent_count {
                story.start(offer(record_bytes));
            }
            let figures = settled_minute(&mut story, record_bytes).await;
            figures.tell(&format!("{agent_count} agents on 4 shards, {record_bytes} B"));
            assert!(figures.use_of_capacity() >= 0.95, "{figures}");
            assert!(figures.throttled_part() < 0.05, "{figures}");
            for share in figures.shares() {
                assert!((0.6..1.5).contains(&share), "{:?}", figures.shares());
            }
            story.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_shard_holds_up_no_other() {
    for keys in [Keys::Anywhere, Keys::Drawn] {
        let mut story = Story::begin(setting());
        // Of records with keys of their own a quarter is for the busy shard; they fill the memory in the end.
        let rate = if keys == Keys::Anywhere { 16 * MIB } else { 16 * MIB / 10 };
        story.start(Offer { keys, bytes_a_second: rate, ..offer(LARGE) });
        story.take_part(0, 0.8, Duration::MAX);
        let figures = match keys {
            Keys::Anywhere => settled_minute(&mut story, LARGE).await,
            Keys::Drawn => {
                story.pass(5).await;
                story.figures(30).await
            }
        };
        figures.tell(&format!("another producer takes 80 % of one of 4 shards, keys {keys:?}"));
        let admitted = figures.by_shard();
        let wanted = if keys == Keys::Anywhere { 0.95 } else { 0.35 };
        for of_shard in &admitted[1..] {
            assert!(*of_shard >= wanted * MIB as f64, "{admitted:?}");
        }
        assert!(admitted[0] >= 0.15 * MIB as f64, "{admitted:?}");
        assert!(figures.throttled_part() < 0.05, "{figures}");
        story.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn deliveries_go_on_through_reshards() {
    for (listing, agent_count) in
        [(Listing::Fresh, 1), (Listing::Fresh, 4), (Listing::StaleFor(Duration::from_secs(3)), 1), (Listing::Denied, 1)]
    {
        let mut story = Story::begin(Setting { listing, ..setting() });
        for _ in 0..agent_count {
            story.start(offer(LARGE));
        }
        story.pass(15).await;
        let before = story.figures(15).await;
        before.tell(&format!("before reshards, {listing:?}, {agent_count} agents"));
        story.reshard(|shards, now| {
            for index in shards.open_now() {
                shards.split(index, now);
            }
        });
        let upset = story.figures(10).await;
        upset.tell("  10 s after 4 shards became 8");
        let split = story.figures(20).await;
        split.tell("  20 s after that");
        for _ in 0..2 {
            story.reshard(|shards, now| {
                let mut open = shards.open_now();
                open.sort_by_key(|index| shards.get(*index).range.start);
                for pair in open.chunks(2) {
                    shards.merge(pair[0], now);
                }
            });
            story.pass(1).await;
        }
        let upset_again = story.figures(10).await;
        upset_again.tell("  10 s after 8 became 2 in two steps");
        let merged = story.figures(20).await;
        merged.tell("  20 s after that");
        for figures in [&upset, &upset_again] {
            assert!(figures.longest_pause() <= Duration::from_secs(2), "{:?}", figures.longest_pause());
        }
        for figures in [before, split, merged] {
            assert!(figures.use_of_capacity() >= 0.9, "{listing:?} {agent_count} {figures}");
            assert!(figures.throttled_part() < 0.05, "{listing:?} {agent_count} {figures}");
        }
        story.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn round_trips_cost_no_throughput() {
    for record_bytes in [LARGE, SMALL] {
        let mut rates = Vec::new();
        for round_trip_ms in [0, 20, 100] {
            let round_trip = Duration::from_millis(round_trip_ms);
            let mut story = Story::begin(Setting { shard_count: 32, limiting: Limiting::Never, round_trip, ..setting() });
            story.start(Offer { bytes_a_second: 200 * MIB, memory_bytes: 16 << 20, ..offer(record_bytes) });
            story.pass(3).await;
            let figures = story.figures(5).await;
            figures.tell(&format!("32 shards, round trip {round_trip_ms} ms, {record_bytes} B"));
            rates.push(figures.use_of_capacity());
            story.finish().await;
        }
        assert!(rates[1] >= 0.9 * rates[0], "{rates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shards_that_nobody_may_list_are_found_by_their_answers() {
    for shard_count in [1, 4, 16, 40] {
        for record_bytes in [LARGE, SMALL] {
            let mut story = Story::begin(Setting { shard_count, listing: Listing::Denied, ..setting() });
            story.start(Offer { bytes_a_second: 4 * u64::from(shard_count) * MIB, ..offer(record_bytes) });
            story.pass(minute(record_bytes) / 2).await;
            let figures = story.figures(minute(record_bytes)).await;
            figures.tell(&format!("{shard_count} shards that may not be listed, {record_bytes} B"));
            assert!(figures.use_of_capacity() >= 0.9, "{shard_count} {figures}");
            assert!(figures.throttled_part() < 0.05, "{shard_count} {figures}");
            story.finish().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_herd_that_starts_at_once_calms_down() {
    for record_bytes in [LARGE, SMALL] {
        let mut story = Story::begin(Setting { shard_count: 1, ..setting() });
        for _ in 0..20 {
            story.start(offer(record_bytes));
        }
        let start = story.figures(15).await;
        start.tell(&format!("20 agents start at once on 1 shard, {record_bytes} B, first 15 s"));
        let figures = story.figures(minute(record_bytes)).await;
        figures.tell("  the minute after that");
        assert!(figures.use_of_capacity() >= 0.9, "{figures}");
        assert!(figures.throttled_part() < 0.2, "{figures}");
        story.finish().await;
    }
}
