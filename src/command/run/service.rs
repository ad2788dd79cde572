//! What the service manager is told, by the protocol of `sd_notify(3)`: that the agent is ready, how it fares, that it is alive, that
//! it reloads or ends.
//!
//! Without `NOTIFY_SOCKET` nothing is told, and nothing runs for it. A socket that is gone or full holds up nothing: what must not get
//! lost is told again later. The crate sd-notify (0.5.0) would block on a full socket, and takes an abstract address for a path;
//! what remains is a datagram of text.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::super::{counted, human_bytes};
use crate::config::{Config, one_line};
use crate::health::Health;
use crate::limits::{ENDING_MARGIN, START_EXTENSION, STATUS_BYTES_MAX, STATUS_INTERVAL};
use crate::metrics::Metrics;
use crate::progress::Progress;
use crate::progress::verdict::Stuck;

const READY: &str = "READY=1";
const WATCHDOG: &str = "WATCHDOG=1";
const READS_BACK: &str = "waits until its stream is read back";

/// The way to the service manager, if there is one; a clone is the same.
#[derive(Clone, Default)]
pub struct Notifier(Option<Arc<Manager>>);

struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// A manager that hears nothing for so long kills the process.
    watchdog: Option<Duration>,
    /// What could not be told yet and must not get lost.
    owed: Mutex<VecDeque<String>>,
    is_ready: AtomicBool,
}

impl Notifier {
    /// As the environment says.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let watchdog = watchdog_of(variable("WATCHDOG_USEC").as_deref(), variable("WATCHDOG_PID").as_deref(), pid);
        let Some(address) = std::env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        Self::to(&address, watchdog).unwrap_or_else(|error| {
            tracing::warn!(address = %address.to_string_lossy(), %error, "cannot reach the service manager by NOTIFY_SOCKET");
            Self::default()
        })
    }

    /// A manager that listens at `address`, a path or, after `@`, an abstract name.
    fn to(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        let (owed, is_ready) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self(Some(Arc::new(Manager { socket, address, watchdog, owed, is_ready }))))
    }

    /// How long the manager waits for a sign of life, if it does.
    pub fn watchdog(&self) -> Option<Duration> {
        self.0.as_ref()?.watchdog
    }

    /// The configuration is being read anew. To be followed by [`Notifier::ready_again`], whatever becomes of that.
    pub fn reloading(&self) {
        let Some(manager) = self.0.as_ref().filter(|manager| manager.is_ready.load(Ordering::Acquire)) else { return };
        let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
        manager.tell_surely(format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    /// The agent works by the configuration that it has now.
    pub fn ready_again(&self) {
        if let Some(manager) = self.0.as_ref().filter(|manager| manager.is_ready.load(Ordering::Acquire)) {
            manager.tell_surely(READY.to_owned());
        }
    }
}

impl Manager {
    /// What is of no use later.
    fn tell(&self, text: &str) -> bool {
        self.socket.send_to_addr(text.as_bytes(), &self.address).is_ok()
    }

    /// What the manager must hear of, if not now.
    fn tell_surely(&self, text: String) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).push_back(text);
        self.tell_owed();
    }

    fn tell_owed(&self) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        while owed.front().is_some_and(|text| self.tell(text)) {
            owed.pop_front();
        }
    }
}

/// What the manager waits for, when it is this process that it waits for.
fn watchdog_of(micros: Option<&str>, pid: Option<&str>, own_pid: i32) -> Option<Duration> {
    let is_ours = pid.is_none_or(|pid| pid.parse() == Ok(own_pid));
    let micros = micros?.parse().ok().filter(|micros| *micros > 0 && is_ours)?;
    Some(Duration::from_micros(micros))
}

/// What is told of.
pub struct Service {
    /// To whom.
    pub notifier: Notifier,
    /// What the stages do.
    pub progress: Progress,
    /// What counts.
    pub metrics: Arc<Metrics>,
    /// What is paused, and why.
    pub health: Health,
    /// Which flows there are, and how long an end may take.
    pub configs: watch::Receiver<Arc<Config>>,
}

impl Service {
    /// Tells the manager, if there is one, until the runtime ends. To be spawned on the runtime of the stages: of which all threads
    /// are blocked, that is not alive.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let Some(manager) = self.notifier.0.clone() else { return };
        let mut pings = manager.watchdog.map(|watchdog| every(watchdog / 2));
        let mut looks = every(STATUS_INTERVAL);
        let mut teller = Teller::default();
        loop {
            tokio::select! {
                biased;
                () = tick(&mut pings) => {
                    if !self.progress.is_wedged() {
                        manager.tell(WATCHDOG);
                    }
                    manager.tell_owed();
                    continue;
                }
                // A sender of `stop` that is gone means the same.
                _ = stop.wait_for(|stop| *stop), if !teller.is_stopping => teller.is_stopping = true,
                () = self.progress.has_begun(), if !teller.is_ready => {}
                _ = looks.tick() => {}
            }
            teller.tell(&self, &manager);
        }
    }

    fn look(&self, is_ready: bool, is_stopping: bool) -> Seen {
        let flows = self.metrics.flows();
        let beginning = self.progress.beginning();
        let reading_back = flows.iter().find(|flow| flow.read_back_running.get() != 0 && beginning.contains(&flow.name));
        let sum = |of: &dyn Fn(&crate::metrics::FlowCounters) -> u64| flows.iter().map(|flow| of(flow)).sum::<u64>();
        let gauge = |value: i64| u64::try_from(value).unwrap_or(0);
        let in_flight_bytes = sum(&|flow| flow.in_flight());
        let paused = self.health.flows().into_iter().filter_map(|flow| Some((flow.paused()?.reason.clone(), flow.flow)));
        Seen {
            is_stopping,
            is_open: !flows.is_empty(),
            // Once it is, flows that a reload adds do not change that.
            is_begun: is_ready || (beginning.is_empty() && self.progress.begun_count() >= self.configs.borrow().flows.len()),
            reading_back: reading_back.map(|flow| flow.name.clone()),
            beginning,
            flow_count: flows.len(),
            files: sum(&|flow| gauge(flow.tailed_files.get())),
            lag_bytes: sum(&|flow| gauge(flow.lag_bytes.get())) + in_flight_bytes,
            in_flight_bytes,
            delivered_lines: sum(&|flow| flow.delivered_user_records.get()),
            delivered_bytes: sum(&|flow| flow.delivered_bytes.get()),
            paused: paused.map(|(reason, flow)| (flow, reason)).collect(),
            commit: self.health.commit().map(|pause| pause.reason),
            stuck: self.health.found_stuck(),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn tick(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => _ = ticks.tick().await,
        None => pending().await,
    }
}

/// What was told.
#[derive(Default)]
struct Teller {
    is_ready: bool,
    is_stopping: bool,
    has_told_stopping: bool,
    status: String,
    /// How much was delivered when the last status was made.
    before: Option<(Instant, u64, u64)>,
}

impl Teller {
    fn tell(&mut self, service: &Service, manager: &Manager) {
        let (seen, now) = (service.look(self.is_ready, self.is_stopping), Instant::now());
        let rate = self.rate(&seen, now);
        let status = status(&seen, rate);
        let mut text = String::new();
        if status != self.status {
            let _ = writeln!(text, "STATUS={status}");
        }
        if seen.is_stopping {
            if !std::mem::replace(&mut self.has_told_stopping, true) {
                let ending_max = service.configs.borrow().agent.drain_timeout + ENDING_MARGIN;
                manager.tell_surely(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", ending_max.as_micros()));
            }
        } else if seen.is_begun && !self.is_ready {
            self.is_ready = true;
            manager.is_ready.store(true, Ordering::Release);
            manager.tell_surely(READY.to_owned());
        } else if !self.is_ready && !service.progress.is_wedged() {
            let _ = writeln!(text, "EXTEND_TIMEOUT_USEC={}", START_EXTENSION.as_micros());
        }
        manager.tell_owed();
        if !text.is_empty() && manager.tell(text.trim_end()) {
            self.status = status;
        }
    }

    /// Lines and bytes a second since the last look.
    fn rate(&mut self, seen: &Seen, now: Instant) -> Rate {
        let before = self.before.replace((now, seen.delivered_lines, seen.delivered_bytes));
        let Some((at, lines, bytes)) = before else { return Rate::default() };
        let nanos = now.duration_since(at).as_nanos().max(1);
        let a_second = |count: u64| u64::try_from(u128::from(count) * 1_000_000_000 / nanos).unwrap_or(u64::MAX);
        Rate {
            lines: a_second(seen.delivered_lines.saturating_sub(lines)),
            bytes: a_second(seen.delivered_bytes.saturating_sub(bytes)),
        }
    }
}

/// What is delivered in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rate {
    lines: u64,
    bytes: u64,
}

/// How the agent fares.
#[derive(Clone, Debug, Default)]
struct Seen {
    is_stopping: bool,
    /// The offset store is open.
    is_open: bool,
    /// Every flow has begun.
    is_begun: bool,
    /// The flows that have not.
    beginning: Vec<String>,
    /// The first of them of which the stream is being read back.
    reading_back: Option<String>,
    flow_count: usize,
    files: u64,
    /// What is in the files and not delivered.
    lag_bytes: u64,
    in_flight_bytes: u64,
    delivered_lines: u64,
    delivered_bytes: u64,
    /// Flows, and why.
    paused: Vec<(String, String)>,
    commit: Option<String>,
    stuck: Vec<Stuck>,
}

/// One line for a person.
fn status(seen: &Seen, rate: Rate) -> String {
    let mut text = if seen.is_stopping {
        format!("Stopping: {} still to be delivered", human_bytes(seen.in_flight_bytes))
    } else if !seen.is_open {
        "Starting: opening the offset store".to_owned()
    } else if let (false, Some(flow)) = (seen.is_begun, &seen.reading_back) {
        format!("Starting: flow {flow} {READS_BACK}")
    } else if !seen.is_begun {
        format!(
            "Starting: {} of {} to look for files: {}",
            seen.beginning.len(),
            flows(seen.flow_count),
            seen.beginning.join(", ")
        )
    } else {
        let files = counted(usize::try_from(seen.files).unwrap_or(usize::MAX), "file");
        let lag = human_bytes(seen.lag_bytes);
        format!("{files}, lag {lag}, {} lines/s, {}/s", rate.lines, human_bytes(rate.bytes))
    };
    if let (true, false, Some(flow)) = (seen.is_begun, seen.is_stopping, &seen.reading_back) {
        let _ = write!(text, "; flow {flow} {READS_BACK}");
    }
    if let Some((flow, reason)) = seen.paused.first() {
        let _ = write!(text, "; {} of {} paused: {flow}: {reason}", seen.paused.len(), flows(seen.flow_count));
    }
    if let Some(reason) = &seen.commit {
        let _ = write!(text, "; {reason}");
    }
    for stuck in &seen.stuck {
        let flow = stuck.flow.as_ref().map(|flow| format!("flow {flow}: ")).unwrap_or_default();
        let _ = write!(text, "; {flow}{stuck}");
    }
    let mut text = one_line(&text);
    text.truncate(text.floor_char_boundary(STATUS_BYTES_MAX));
    text
}

fn flows(count: usize) -> String {
    counted(count, "flow")
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::progress::Stage;
    use crate::progress::verdict::How;

    struct Listener {
        _folder: TempDir,
        socket: UnixDatagram,
        notifier: Notifier,
    }

    fn listener() -> Listener {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Listener { notifier: Notifier::to(path.as_os_str(), None).unwrap(), socket, _folder: folder }
    }

    impl Listener {
        fn manager(&self) -> &Manager {
            self.notifier.0.as_ref().unwrap()
        }

        fn heard(&self) -> Vec<String> {
            let mut buffer = [0; 4096];
            let texts = std::iter::from_fn(|| {
                let length = self.socket.recv(&mut buffer).ok()?;
                Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
            });
            texts.collect()
        }
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        for (micros, pid, expected) in [
            (Some("2000000"), None, Some(2)),
            (Some("2000000"), Some("7"), Some(2)),
            (Some("2000000"), Some("8"), None),
            (Some("2000000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("-1"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(watchdog_of(micros, pid, 7), expected.map(Duration::from_secs), "{micros:?} {pid:?}");
        }
    }

    #[test]
    fn without_a_manager_nothing_is_told() {
        let notifier = Notifier::default();
        notifier.reloading();
        notifier.ready_again();
        assert_eq!(notifier.watchdog(), None);
    }

    #[test]
    fn addresses_are_paths_or_abstract_names() {
        let name = format!("kinetail-{}", fastrand::u64(..));
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}")), None).unwrap();
        assert!(notifier.0.unwrap().tell(READY));
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], READY.as_bytes());
        assert!(Notifier::to(OsStr::new("vsock:2:1"), None).is_err() && Notifier::to(OsStr::new(""), None).is_err());
    }

    #[test]
    fn a_reload_is_told_when_it_begins_and_when_it_is_over() {
        let listener = listener();
        listener.notifier.reloading();
        listener.notifier.ready_again();
        assert!(listener.heard().is_empty(), "it was not ready before");
        listener.manager().is_ready.store(true, Ordering::Release);
        listener.notifier.clone().reloading();
        listener.notifier.ready_again();
        let heard = listener.heard();
        let (reloading, micros) = heard[0].split_once("\nMONOTONIC_USEC=").unwrap();
        assert_eq!((reloading, heard[1].as_str()), ("RELOADING=1", READY));
        assert!(micros.parse::<u64>().is_ok());
    }

    #[test]
    fn what_does_not_fit_a_full_socket_is_told_when_there_is_room_and_nothing_waits_for_that() {
        let listener = listener();
        while listener.manager().tell("STATUS=x") {}
        listener.manager().tell_surely(READY.to_owned());
        listener.manager().tell_surely("STOPPING=1".to_owned());
        assert!(!listener.heard().contains(&READY.to_owned()));
        listener.manager().tell_owed();
        assert_eq!(listener.heard(), [READY, "STOPPING=1"]);
    }

    #[test]
    fn a_manager_that_is_gone_does_no_harm() {
        let Listener { _folder, socket, notifier } = listener();
        drop(socket);
        notifier.0.as_ref().unwrap().tell_surely(READY.to_owned());
        drop(_folder);
        notifier.0.as_ref().unwrap().tell_owed();
    }

    #[test]
    fn the_status_is_a_line_for_a_person() {
        let rate = Rate { lines: 1234, bytes: 250_000 };
        let begun = Seen { is_open: true, is_begun: true, flow_count: 2, files: 3, lag_bytes: 1_500_000, ..Seen::default() };
        let check = |seen: &Seen, expected: &str| assert_eq!(status(seen, rate), expected);
        check(&begun, "3 files, lag 1.4 MiB, 1234 lines/s, 244.1 KiB/s");
        check(&Seen::default(), "Starting: opening the offset store");
        let reading_back = Some("b".to_owned());
        check(
            &Seen { reading_back, ..begun.clone() },
            "3 files, lag 1.4 MiB, 1234 lines/s, 244.1 KiB/s; flow b waits until its stream is read back",
        );
        let beginning = vec!["a".to_owned()];
        let starting = Seen { is_begun: false, beginning: beginning.clone(), ..begun.clone() };
        check(&starting, "Starting: 1 of 2 flows to look for files: a");
        let paused = vec![("a".to_owned(), "no such host\nat all".to_owned())];
        check(
            &Seen { reading_back: Some("a".to_owned()), paused: paused.clone(), ..starting },
            "Starting: flow a waits until its stream is read back; 1 of 2 flows paused: a: no such host\u{fffd}at all",
        );
        let stuck = Stuck {
            stage: Some(Stage::Tailer),
            flow: Some("b".to_owned()),
            how: How::Hanging,
            duration: Duration::from_secs(75),
        };
        check(
            &Seen { commit: Some("cannot commit offsets: full".to_owned()), stuck: vec![stuck], ..begun.clone() },
            "3 files, lag 1.4 MiB, 1234 lines/s, 244.1 KiB/s; cannot commit offsets: full; flow b: the tailer has been waiting for a \
             file system for 75 s",
        );
        check(&Seen { is_stopping: true, in_flight_bytes: 2048, ..begun.clone() }, "Stopping: 2.0 KiB still to be delivered");
        let long = Seen { commit: Some("é".repeat(STATUS_BYTES_MAX)), ..begun };
        assert!((STATUS_BYTES_MAX - 1..=STATUS_BYTES_MAX).contains(&status(&long, rate).len()));
    }

    #[tokio::test(start_paused = true)]
    async fn ready_comes_once_every_flow_watches_and_stopping_once_it_is_told_to() {
        let listener = listener();
        let (progress, metrics, health) = (Progress::default(), Arc::new(Metrics::default()), Health::default());
        let flow = |name: &str| format!("[[flow]]\nname = '{name}'\nfiles = '/x'\n[flow.kinesis]\nstream = 's'\n");
        let config = Config::parse(&(flow("a") + &flow("b")), "test").unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let (_configs, configs) = watch::channel(Arc::new(config));
        let service = Service {
            notifier: listener.notifier.clone(),
            progress: progress.clone(),
            metrics: Arc::clone(&metrics),
            health,
            configs,
        };
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(service.run(stopped));
        let settled = || tokio::time::sleep(Duration::from_millis(1));
        settled().await;
        assert_eq!(listener.heard(), ["STATUS=Starting: opening the offset store\nEXTEND_TIMEOUT_USEC=60000000"]);
        let flows = ["a", "b"].map(|name| progress.flow(metrics.flow(name), Duration::ZERO));
        flows[0].follow(Stage::Tailer, async { crate::progress::watches_files() }).await;
        settled().await;
        assert_eq!(listener.heard(), ["STATUS=Starting: 1 of 2 flows to look for files: b\nEXTEND_TIMEOUT_USEC=60000000"]);
        flows[1].follow(Stage::Tailer, async { crate::progress::watches_files() }).await;
        settled().await;
        assert_eq!(listener.heard(), [READY, "STATUS=0 files, lag 0 B, 0 lines/s, 0 B/s"]);
        tokio::time::sleep(10 * STATUS_INTERVAL).await;
        assert!(listener.heard().is_empty(), "nothing has changed");
        metrics.flows()[0].delivered_bytes.inc_by(20_480);
        metrics.flows()[0].read_bytes.inc_by(20_480);
        metrics.flows()[0].delivered_user_records.inc_by(100);
        tokio::time::sleep(STATUS_INTERVAL).await;
        assert_eq!(listener.heard(), ["STATUS=0 files, lag 0 B, 10 lines/s, 2.0 KiB/s"]);
        stop.send_replace(true);
        settled().await;
        assert_eq!(
            listener.heard()[..2],
            ["STOPPING=1\nEXTEND_TIMEOUT_USEC=55000000", "STATUS=Stopping: 0 B still to be delivered"]
        );
        running.abort();
    }
}
