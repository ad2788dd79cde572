//! An agent without files: records as its packer makes them, its sender, and its account of what was delivered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kinetail::budget::{Budget, Share};
use kinetail::checkpointer::Event;
use kinetail::collector::{Collector, Entry};
use kinetail::config::{self, Order, ReadBack};
use kinetail::gate::Gate;
use kinetail::health::Health;
use kinetail::limits::{EVENTS_WAITING, PACKER_SHARE, READ_BYTES, REQUEST_BYTES_DEFAULT, REQUESTS_WAITING, SETTLE_DEFAULT};
use kinetail::metrics::Metrics;
use kinetail::sender::survey::{Doubt, Survey};
use kinetail::sender::{Parts, Sender, Unknown};
use kinetail::service_clock::ServiceClock;
use kinetail::settlement::Settlement;
use kinetail::span::{FileKey, Span};
use kinetail::stream::{Load, Soonest, StreamFacts};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use crate::service::{Connection, Service};

/// Where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Anywhere: where they are sent soonest.
    Anywhere,
    /// Where the key of each says.
    Drawn,
}

/// What programs write on the host of an agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) record_bytes: usize,
    pub(crate) bytes_a_second: u64,
    pub(crate) keys: Keys,
    /// Most bytes that are read and not delivered.
    pub(crate) memory_bytes: usize,
}

/// The agent.
pub(crate) struct Agent {
    stop: watch::Sender<bool>,
    packer: JoinHandle<u64>,
    account: JoinHandle<Settlement>,
    sender: JoinHandle<()>,
    doubled_count: Arc<Metrics>,
}

/// 2^128 divided by the golden ratio.
const GOLDEN_STEP: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
/// `max_delay`.
const MAX_DELAY: Duration = Duration::from_secs(1);

impl Agent {
    pub(crate) fn start(service: &Arc<Service>, number: usize, offer: Offer) -> Self {
        let destination = Arc::new(Connection { service: Arc::clone(service), agent: number });
        let mut random = fastrand::Rng::with_seed(number as u64);
        let (load, doubt, metrics) = (Load::default(), Doubt::default(), Arc::new(Metrics::default()));
        let (learned, facts) = watch::channel(StreamFacts::before_asking(&config::Destination::Kinesis("s".to_owned())));
        let flow_metrics = metrics.flow("f");
        let survey = Survey::new(Arc::clone(&destination), learned, doubt.clone(), flow_metrics.clone(), random.fork());
        tokio::spawn(survey.run());
        let (events, events_out) = mpsc::channel(EVENTS_WAITING);
        let (requests, requests_out) = mpsc::channel(REQUESTS_WAITING);
        let share = Share::new(offer.memory_bytes, 1);
        let sender = Sender::new(Parts {
            destination,
            facts: facts.clone(),
            load: load.clone(),
            gate: Gate::always_open(),
            doubt,
            clock: ServiceClock::new(0),
            read_back: ReadBack::Off,
            settle: SETTLE_DEFAULT,
            order: Order::Throughput,
            request_bytes: REQUEST_BYTES_DEFAULT,
            share: share.clone(),
            events,
            metrics: flow_metrics,
            health: Health::default().flow("f"),
            unknown: Unknown::default(),
            random: random.fork(),
        });
        let (stop, stopped) = watch::channel(false);
        let budget = Budget::new(share);
        let soonest = load.soonest();
        let packer =
            Packer { offer, facts, soonest, budget: budget.clone(), hash_key: random.u128(..), random, made_byte_count: 0 };
        Self {
            stop,
            account: tokio::spawn(account(events_out, budget)),
            packer: tokio::spawn(packer.run(requests, stopped)),
            sender: tokio::spawn(sender.run(requests_out)),
            doubled_count: metrics,
        }
    }

    /// Ends it in an orderly way: all that was read is delivered, and nothing was sent twice.
    pub(crate) async fn finish(self) {
        self.stop.send_replace(true);
        let made_byte_count = self.packer.await.unwrap();
        self.sender.await.unwrap();
        let settlement = self.account.await.unwrap();
        assert_eq!(settlement.watermark(), made_byte_count, "{settlement:?}");
        let doubled: u64 = self.doubled_count.flows().iter().map(|flow| flow.possibly_doubled_records.get()).sum();
        assert_eq!(doubled, 0);
    }
}

/// What the checkpointer does: keeps account, and gives back room.
async fn account(mut events: mpsc::Receiver<Event>, budget: Budget) -> Settlement {
    let mut settlement = Settlement::default();
    while let Some(event) = events.recv().await {
        let Event::Settled(settled) = event else { panic!("a sender reports what is settled") };
        for span in settled.spans.iter() {
            settlement.settle(span.start, span.end);
            budget.give_back(usize::try_from(span.byte_count()).unwrap());
        }
    }
    settlement
}

struct Packer {
    offer: Offer,
    facts: watch::Receiver<StreamFacts>,
    soonest: Soonest,
    budget: Budget,
    hash_key: u128,
    random: fastrand::Rng,
    made_byte_count: u64,
}

impl Packer {
    /// Returns how many bytes it has made.
    async fn run(mut self, requests: mpsc::Sender<Vec<Entry>>, mut stop: watch::Receiver<bool>) -> u64 {
        let began = Instant::now();
        self.facts.changed().await.unwrap();
        let mut collector = Collector::new(REQUEST_BYTES_DEFAULT);
        let (mut waiting_byte_count, mut flush_at) = (0, began + MAX_DELAY);
        let data = Bytes::from(vec![b'x'; self.offer.record_bytes - 16]);
        while !*stop.borrow() {
            let written = u128::from(self.offer.bytes_a_second) * began.elapsed().as_micros() / 1_000_000;
            let unread = written.saturating_sub(self.made_byte_count.into());
            let there_is = usize::try_from(unread).unwrap().min(READ_BYTES);
            if there_is < READ_BYTES.min(self.offer.record_bytes * 20) {
                sleep(Duration::from_millis(10)).await;
            } else {
                let has_room = async {
                    tokio::select! {
                        () = self.budget.room_for(READ_BYTES) => true,
                        _ = stop.changed() => false,
                    }
                };
                if !timeout_at(flush_at, has_room).await.unwrap_or(false) {
                    self.flush(&mut collector, &requests).await;
                    (waiting_byte_count, flush_at) = (0, Instant::now() + MAX_DELAY);
                    continue;
                }
                for _ in 0..there_is / self.offer.record_bytes {
                    let entry = self.entry(&data);
                    self.budget.take(entry.byte_count());
                    waiting_byte_count += entry.byte_count();
                    if let Err(entry) = collector.try_push(entry) {
                        self.flush(&mut collector, &requests).await;
                        collector.try_push(entry).unwrap();
                    }
                }
            }
            if Instant::now() >= flush_at || waiting_byte_count >= self.offer.memory_bytes / PACKER_SHARE {
                self.flush(&mut collector, &requests).await;
                (waiting_byte_count, flush_at) = (0, Instant::now() + MAX_DELAY);
            }
        }
        self.flush(&mut collector, &requests).await;
        self.made_byte_count
    }

    async fn flush(&self, collector: &mut Collector, requests: &mpsc::Sender<Vec<Entry>>) {
        let entries = collector.take();
        if !entries.is_empty() {
            requests.send(entries).await.unwrap();
        }
    }

    fn entry(&mut self, data: &Bytes) -> Entry {
        let byte_count = self.offer.record_bytes;
        let shards = Arc::clone(&self.facts.borrow_and_update().shards);
        let hash_key = match self.offer.keys {
            Keys::Drawn => self.random.u128(..),
            Keys::Anywhere => match self.soonest.place(&shards, byte_count) {
                Some(index) => {
                    self.hash_key = self.hash_key.wrapping_add(GOLDEN_STEP);
                    shards.hash_key_in(index, self.hash_key)
                }
                None => {
                    self.hash_key = self.hash_key.wrapping_add(GOLDEN_STEP);
                    self.hash_key
                }
            },
        };
        let start = self.made_byte_count;
        self.made_byte_count += byte_count as u64;
        Entry {
            partition_key: format!("{start:016x}").into(),
            hash_key,
            is_hash_key_explicit: true,
            data: data.clone(),
            spans: [Span::new(FileKey(1), start, self.made_byte_count)].into_iter().collect(),
            user_record_count: 1,
            is_token: true,
            in_flight_since: None,
            too_long: None,
        }
    }
}
