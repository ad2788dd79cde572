//! Stories of requests without an answer, and what is in the stream then; on simulated time.

mod stream;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use self::stream::{Put, Says, Stream, Trouble};
use crate::budget::Share;
use crate::checkpointer::Event;
use crate::collector::Entry;
use crate::config::{Order, ReadBack};
use crate::gate::{Gate, InFlight};
use crate::hash_key::hash_of;
use crate::health::Health;
use crate::limits::{READ_BACK_PATIENCE, READ_BACK_REFUSED_INTERVAL, REQUEST_BYTES_DEFAULT, SETTLE_DEFAULT};
use crate::metrics::{FlowMetrics, Metrics};
use crate::sender::survey::Doubt;
use crate::sender::{Parts, Sender, Unknown};
use crate::service_clock::ServiceClock;
use crate::settlement::{Outcome, Settlement};
use crate::span::{FileKey, Span};
use crate::stream::{Load, ShardMap, StreamFacts};

/// All of a request is stored, but nobody is told.
const STORED: Put = Put { stores: |_| true, says: Says::Nothing };
/// Nothing of it is.
const LOST: Put = Put { stores: |_| false, says: Says::Nothing };
const WELL: Put = Put { stores: |_| true, says: Says::Well };

fn entry(number: u64) -> Entry {
    Entry {
        partition_key: format!("{number:04}").into(),
        hash_key: hash_of(format!("{number:04}")),
        is_hash_key_explicit: false,
        data: format!("data of {number:04}").into_bytes().into(),
        spans: [Span::new(FileKey(1), number, number + 1)].into_iter().collect(),
        user_record_count: 1,
        is_token: true,
        in_flight_since: None,
        too_long: None,
    }
}

fn entries(numbers: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    numbers.into_iter().map(entry).collect()
}

struct Story {
    stream: Stream,
    gate: Gate,
    metrics: FlowMetrics,
    health: Health,
    requests: mpsc::Sender<Vec<Entry>>,
    events: mpsc::Receiver<Event>,
    sender: JoinHandle<()>,
    begun: Instant,
}

#[derive(Clone, Copy)]
struct Setting {
    read_back: ReadBack,
    order: Order,
    held_byte_count_max: usize,
    shard_count: u32,
    is_auto: bool,
}

const SETTING: Setting = Setting {
    read_back: ReadBack::Auto,
    order: Order::Throughput,
    held_byte_count_max: 4 * REQUEST_BYTES_DEFAULT,
    shard_count: 4,
    is_auto: false,
};

impl Story {
    fn begin(puts: impl IntoIterator<Item = Put>) -> Self {
        Self::begin_in(SETTING, puts)
    }

    fn begin_in(setting: Setting, puts: impl IntoIterator<Item = Put>) -> Self {
        let Setting { read_back, order, held_byte_count_max, shard_count, is_auto } = setting;
        let clock = ServiceClock::new(1_700_000_000_000);
        let stream = Stream::new(clock.clone(), shard_count, puts);
        let shards = ShardMap::of(stream.open_shards()).unwrap();
        let facts = StreamFacts { shards: shards.into(), is_auto, record_bytes_max: 1 << 20 };
        let (metrics, health, gate) = (Metrics::default().flow("f"), Health::default(), Gate::always_open());
        let (events, events_out) = mpsc::channel(10_000);
        let (requests, requests_out) = mpsc::channel(1);
        let sender = Sender::new(Parts {
            destination: stream.clone().into(),
            facts: watch::channel(facts).1,
            load: Load::default(),
            doubt: Doubt::default(),
            gate: gate.clone(),
            clock,
            read_back,
            settle: SETTLE_DEFAULT,
            order,
            request_bytes: REQUEST_BYTES_DEFAULT,
            share: Share::new(held_byte_count_max, 1),
            events,
            metrics: metrics.clone(),
            health: health.flow("f"),
            unknown: Unknown::default(),
            random: fastrand::Rng::with_seed(1),
        });
        let sender = tokio::spawn(sender.run(requests_out));
        Self { stream, gate, metrics, health, requests, events: events_out, sender, begun: Instant::now() }
    }

    async fn send(&self, entries: Vec<Entry>) {
        self.requests.send(entries).await.unwrap();
    }

    fn counted(&self) -> Counted {
        let of = &self.metrics;
        Counted {
            delivered: of.delivered_records.get(),
            stored: of.looked_up_stored.get(),
            not_stored: of.looked_up_not_stored.get(),
            doubled: of.possibly_doubled_records.get(),
        }
    }

    /// Lets everything be delivered, which takes `took_at_least`: each of the first `count` entries once, and nothing is in flight.
    async fn end(mut self, count: u64, took_at_least: Duration) -> (Stream, Counted) {
        drop(self.requests);
        self.sender.await.unwrap();
        assert!(self.begun.elapsed() >= took_at_least, "{:?}", self.begun.elapsed());
        let mut settlement = Settlement::default();
        while let Some(event) = self.events.recv().await {
            let Event::Settled(settled) = event else { panic!("{event:?}") };
            assert_eq!(settled.outcome, Outcome::Delivered);
            for span in settled.spans.iter() {
                assert_eq!(settlement.settle(span.start, span.end), span.byte_count(), "{span:?} settled twice");
            }
        }
        assert_eq!(settlement.watermark(), count);
        let InFlight { since, record_count, .. } = self.gate.in_flight();
        assert_eq!((since, record_count), (None, 0));
        assert!(self.health.flows()[0].paused().is_none(), "{:?}", self.health.flows()[0].paused());
        let of = &self.metrics;
        let (stored, not_stored) = (of.looked_up_stored.get(), of.looked_up_not_stored.get());
        let (delivered, doubled) = (of.delivered_records.get(), of.possibly_doubled_records.get());
        assert_eq!((delivered, of.delivered_user_records.get()), (count, count));
        (self.stream, Counted { delivered, stored, not_stored, doubled })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    delivered: u64,
    stored: u64,
    not_stored: u64,
    doubled: u64,
}

/// Tells the story of ten entries of which the first request has this outcome. So many are found, so many are not, and each is
/// in the stream once.
async fn check(put: Put, stored: u64, not_stored: u64) {
    let story = Story::begin([put]);
    story.send(entries(0..10)).await;
    let (stream, counted) = story.end(10, SETTLE_DEFAULT).await;
    assert_eq!(counted, Counted { delivered: 10, stored, not_stored, doubled: 0 });
    let mut keys = stream.stored_keys();
    keys.sort_unstable();
    assert_eq!(keys, (0..10).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    assert_eq!(stream.readings(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_is_delivered_and_the_rest_is_sent_again() {
    check(STORED, 10, 0).await;
    check(LOST, 0, 10).await;
    check(Put { stores: |index| index % 3 == 0, says: Says::Nothing }, 4, 6).await;
    // Of an answer that is one, records that failed in a way that says nothing.
    check(Put { stores: |index| index != 1, says: Says::FailedBut(|index| index > 2) }, 2, 1).await;
    check(Put { stores: |_| true, says: Says::TooFew }, 10, 0).await;
}

/// A record by this key of other data is none of ours.
#[tokio::test(start_paused = true)]
async fn a_record_is_known_by_its_key_and_its_data() {
    let story = Story::begin([LOST]);
    for number in 0..3 {
        story.stream.store(&Entry { data: b"data of others"[..].into(), ..entry(number) });
    }
    story.send(entries(0..3)).await;
    let (_, counted) = story.end(3, SETTLE_DEFAULT).await;
    assert_eq!(counted, Counted { delivered: 3, stored: 0, not_stored: 3, doubled: 0 });
}

#[tokio::test(start_paused = true)]
async fn where_a_stream_may_not_be_read_what_may_be_stored_is_sent_again_and_counts() {
    let story = Story::begin([STORED, WELL, LOST, WELL, STORED]);
    story.stream.trouble_reading(Some(Trouble::Refused));
    story.send(entries(0..10)).await;
    sleep(SETTLE_DEFAULT * 2).await;
    assert_eq!(story.counted(), Counted { delivered: 10, stored: 0, not_stored: 0, doubled: 10 });
    // For a while nobody asks again, and nobody waits.
    story.send(entries(10..15)).await;
    sleep(SETTLE_DEFAULT / 2).await;
    assert_eq!(story.counted(), Counted { delivered: 15, stored: 0, not_stored: 0, doubled: 15 });
    assert_eq!(story.stream.readings(), 1);
    sleep(READ_BACK_REFUSED_INTERVAL).await;
    story.stream.trouble_reading(None);
    story.send(entries(15..20)).await;
    let (stream, counted) = story.end(20, READ_BACK_REFUSED_INTERVAL).await;
    assert_eq!(counted, Counted { delivered: 20, stored: 5, not_stored: 0, doubled: 15 });
    assert_eq!(stream.readings(), 2);
}

/// Those that wait when it is learned that the stream may not be read wait no longer.
#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_waiting() {
    let story = Story::begin([STORED, STORED]);
    story.stream.trouble_reading(Some(Trouble::Refused));
    story.send(entries(0..1)).await;
    sleep(SETTLE_DEFAULT - Duration::from_secs(1)).await;
    story.send(entries(1..2)).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(story.counted(), Counted { delivered: 2, stored: 0, not_stored: 0, doubled: 2 });
    story.end(2, SETTLE_DEFAULT).await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_up_is_sent_again_at_once() {
    for (read_back, is_token) in [(ReadBack::Off, true), (ReadBack::Auto, false)] {
        let story = Story::begin_in(Setting { read_back, ..SETTING }, [STORED, LOST]);
        story.send(entries(0..10).into_iter().map(|entry| Entry { is_token, ..entry }).collect()).await;
        sleep(SETTLE_DEFAULT / 2).await;
        assert_eq!(story.counted(), Counted { delivered: 10, stored: 0, not_stored: 0, doubled: 20 });
        let (stream, _) = story.end(10, Duration::ZERO).await;
        assert_eq!(stream.readings(), 0);
    }
}

/// Beside those that wait everything goes on.
#[tokio::test(start_paused = true)]
async fn others_go_on_meanwhile() {
    let story = Story::begin([LOST]);
    story.send(entries(0..10)).await;
    sleep(Duration::from_secs(1)).await;
    story.send(entries(10..200)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(story.counted(), Counted { delivered: 190, stored: 0, not_stored: 0, doubled: 0 });
    story.end(200, SETTLE_DEFAULT).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_kept_in_order_while_one_of_its_entries_waits() {
    let story = Story::begin_in(Setting { order: Order::File, ..SETTING }, [LOST, STORED, LOST]);
    let of_file = |numbers: [u64; 4], hash_key| numbers.map(|number| Entry { hash_key, ..entry(number) });
    story.send([of_file([0, 2, 4, 6], 7), of_file([1, 3, 5, 7], 1 << 127)].concat()).await;
    let (stream, counted) = story.end(8, SETTLE_DEFAULT * 2).await;
    assert_eq!((counted.stored, counted.not_stored, counted.doubled), (2, 4, 0));
    let keys = stream.stored_keys();
    for file in 0..2 {
        let of_file: Vec<_> = keys.iter().filter(|key| key.parse::<u64>().unwrap() % 2 == file).collect();
        assert!(of_file.is_sorted() && of_file.len() == 4, "{keys:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_ending_waits_for_a_lookup() {
    let story = Story::begin([STORED]);
    story.send(entries(0..10)).await;
    sleep(Duration::from_millis(100)).await;
    let (_, counted) = story.end(10, SETTLE_DEFAULT).await;
    assert_eq!(counted.stored, 10);
}

#[tokio::test(start_paused = true)]
async fn what_was_stored_before_a_shard_was_split_and_what_after_is_found() {
    let story = Story::begin_in(Setting { shard_count: 1, ..SETTING }, [Put { stores: |index| index < 5, says: Says::Nothing }]);
    story.send(entries(0..10)).await;
    sleep(Duration::from_secs(1)).await;
    story.stream.split();
    // A request that is late.
    entries(5..8).iter().for_each(|entry| story.stream.store(entry));
    let (_, counted) = story.end(10, SETTLE_DEFAULT).await;
    assert_eq!(counted, Counted { delivered: 10, stored: 8, not_stored: 2, doubled: 0 });
}

/// However many requests have no answer, one lookup at a time finds out about all that have waited.
#[tokio::test(start_paused = true)]
async fn there_is_one_lookup_at_a_time() {
    let story = Story::begin([STORED; 8]);
    for number in 0..8 {
        story.send(entries([number])).await;
        sleep(Duration::from_secs(1)).await;
    }
    let (stream, counted) = story.end(8, SETTLE_DEFAULT).await;
    assert_eq!((counted.stored, stream.readings_at_once_max()), (8, 1));
    assert!((2..8).contains(&stream.readings()), "{}", stream.readings());
}

/// Each with how many were found and how many not: those of the second request have not waited when the first are looked up.
#[tokio::test(start_paused = true)]
async fn who_has_not_waited_long_enough_is_looked_up_next_time() {
    let story = Story::begin([STORED, LOST]);
    story.send(entries(0..3)).await;
    sleep(Duration::from_secs(4)).await;
    story.send(entries(3..5)).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(story.counted(), Counted { delivered: 3, stored: 3, not_stored: 0, doubled: 0 });
    let (stream, counted) = story.end(5, SETTLE_DEFAULT + Duration::from_secs(4)).await;
    assert_eq!(counted, Counted { delivered: 5, stored: 3, not_stored: 2, doubled: 0 });
    assert_eq!(stream.readings(), 2);
}

/// Only where answers say that hash keys mean what the map says, else the record could be anywhere.
#[tokio::test(start_paused = true)]
async fn only_the_shards_of_the_hash_keys_are_read() {
    let read_shards = async |is_auto, before| {
        let story = Story::begin_in(Setting { is_auto, ..SETTING }, [Put { says: before, ..WELL }, STORED]);
        story.send(entries(0..1)).await;
        sleep(Duration::from_secs(10)).await;
        let read_before = story.stream.read_shards().len();
        story.send(entries(1..2)).await;
        let (stream, _) = story.end(2, SETTLE_DEFAULT).await;
        stream.read_shards().len() - read_before
    };
    assert_eq!(read_shards(false, Says::Well).await, 1);
    assert_eq!(read_shards(true, Says::Well).await, 4);
    assert_eq!(read_shards(false, Says::AnotherShard).await, 4);
    // Nothing was answered yet.
    assert_eq!(read_shards(false, Says::Nothing).await, 4);
}

/// A lookup that failed, though reading is allowed, says nothing of what is stored.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_looked_up_counts() {
    let story = Story::begin([STORED]);
    story.stream.trouble_reading(Some(Trouble::NoShards));
    story.send(entries(0..10)).await;
    let (_, counted) = story.end(10, READ_BACK_PATIENCE).await;
    assert_eq!(counted, Counted { delivered: 10, stored: 0, not_stored: 0, doubled: 10 });
}

/// In an outage nothing can be sent either; but what is asked for reading may be out of reach by itself.
#[tokio::test(start_paused = true)]
async fn a_lookup_goes_on_in_an_outage_and_not_where_everything_else_does() {
    let story = Story::begin([STORED]);
    story.stream.trouble_reading(Some(Trouble::OutOfReach));
    story.send(entries(0..10)).await;
    sleep(READ_BACK_PATIENCE * 3).await;
    story.stream.trouble_reading(None);
    let (_, counted) = story.end(10, READ_BACK_PATIENCE * 3).await;
    assert_eq!(counted, Counted { delivered: 10, stored: 10, not_stored: 0, doubled: 0 });

    let story = Story::begin([STORED]);
    story.stream.trouble_reading(Some(Trouble::OutOfReach));
    story.send(entries(0..10)).await;
    sleep(READ_BACK_PATIENCE / 2).await;
    story.send(entries(10..20)).await;
    let (_, counted) = story.end(20, READ_BACK_PATIENCE).await;
    assert_eq!(counted, Counted { delivered: 20, stored: 0, not_stored: 0, doubled: 10 });
}

/// It is counted what the next start sends again: each once, and what was counted before is not counted again for waiting.
#[tokio::test(start_paused = true)]
async fn what_is_open_at_an_early_end_counts_as_possibly_doubled() {
    for (read_back, put, doubled) in [(ReadBack::Auto, STORED, 10), (ReadBack::Off, LOST, 10)] {
        let story = Story::begin_in(Setting { read_back, ..SETTING }, [put; 100]);
        story.send(entries(0..10)).await;
        // The answer has come, and nothing was sent again yet.
        sleep(Duration::from_millis(15)).await;
        assert_eq!(story.stream.requests(), 1);
        story.sender.abort();
        assert!(story.sender.await.is_err());
        assert_eq!(story.metrics.possibly_doubled_records.get(), doubled, "{read_back:?}");
        assert_eq!(story.gate.in_flight().record_count, 10);
    }
}

/// The retry of an entry that was refused by itself has no answer: it is delivered, or kept apart again.
#[tokio::test(start_paused = true)]
async fn an_entry_that_was_refused_is_looked_up_too() {
    const REFUSED: Put = Put { stores: |_| false, says: Says::Refused };
    for (retry, stored, not_stored) in [(STORED, 1, 0), (LOST, 0, 1)] {
        let story = Story::begin([REFUSED, retry]);
        story.send(entries(0..1)).await;
        sleep(Duration::from_secs(1)).await;
        assert!(story.health.flows()[0].paused().is_some());
        story.send(entries(1..2)).await;
        let (_, counted) = story.end(2, SETTLE_DEFAULT).await;
        assert_eq!(counted, Counted { delivered: 2, stored, not_stored, doubled: 0 });
    }
}

/// What waits to be looked up is held in memory, and more is not taken.
#[tokio::test(start_paused = true)]
async fn what_waits_to_be_looked_up_has_a_bound() {
    const LARGE: usize = 500_000;
    let held_byte_count_max = 4 * LARGE;
    let story = Story::begin_in(Setting { held_byte_count_max, ..SETTING }, [LOST; 1_000]);
    let large = |number| Entry { data: vec![7; LARGE].into(), ..entry(number) };
    let mut taken_count = 0;
    for _ in 0..400 {
        taken_count += u64::from(story.requests.try_send(vec![large(taken_count)]).is_ok());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(story.stream.readings(), 0);
    // One more waits in the channel, and some were on their way when the bound was reached.
    assert!((4..=8).contains(&taken_count), "{taken_count} taken");
    story.sender.abort();
}
