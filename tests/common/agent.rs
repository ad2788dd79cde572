//! The agent as its users run it: the binary, a configuration file, signals, its log and its admin address.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tempfile::TempDir;

use super::{Kinesis, PATIENCE, wait_until, wait_until_or};

/// A host in small: a folder for logs, a state folder, a configuration. Agents come and go on it.
pub(crate) struct Place {
    folder: TempDir,
    runs: AtomicUsize,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::of(TempDir::new().unwrap())
    }

    /// In memory where there is such a file system: nothing waits for a disk.
    pub(crate) fn in_memory() -> Self {
        Self::of(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap())
    }

    fn of(folder: TempDir) -> Self {
        fs::create_dir(folder.path().join("logs")).unwrap();
        Self { folder, runs: AtomicUsize::new(0) }
    }

    /// The folder of it all.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The path `name` in the folder for logs; the folders above it are made.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("logs").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Writes `lines`, each with a newline, to the end of the log `name`.
    pub(crate) fn append(&self, name: &str, lines: &[String]) {
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        self.append_bytes(name, text.as_bytes());
    }

    /// Writes `bytes` to the end of the log `name`.
    pub(crate) fn append_bytes(&self, name: &str, bytes: &[u8]) {
        let mut file = File::options().create(true).append(true).open(self.log(name)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// Bytes in the log `name` now.
    pub(crate) fn byte_count(&self, name: &str) -> usize {
        usize::try_from(fs::metadata(self.log(name)).unwrap().len()).unwrap()
    }

    /// The configuration: state, admin address and endpoint of this place, then `flows` as it is written,
    /// in which `LOGS` stands for the folder for logs.
    pub(crate) fn configure(&self, kinesis: &Kinesis, flows: &str) {
        self.configure_agent(kinesis, "", flows);
    }

    /// As [`Place::configure`], with further settings of `[agent]`.
    pub(crate) fn configure_agent(&self, kinesis: &Kinesis, agent: &str, flows: &str) {
        self.configure_all(agent, &format!("endpoints.kinesis = {:?}\n", kinesis.url()), flows);
    }

    /// As [`Place::configure`], to where these settings of `[aws]` lead.
    pub(crate) fn configure_aws(&self, aws: &str, flows: &str) {
        self.configure_all("", aws, flows);
    }

    /// As [`Place::configure`], with further settings of `[agent]` and these of `[aws]`.
    pub(crate) fn configure_all(&self, agent: &str, aws: &str, flows: &str) {
        let state = self.state();
        let agent = format!("[agent]\nstate_dir = {state:?}\nadmin = \"127.0.0.1:0\"\n{agent}\n");
        let aws = format!("[aws]\nregion = \"us-east-1\"\n{aws}");
        self.configure_verbatim(&(agent + &aws + flows));
    }

    /// The state folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The configuration, all of it.
    pub(crate) fn configure_verbatim(&self, text: &str) {
        let logs = self.folder.path().join("logs");
        fs::write(self.config(), text.replace("LOGS", logs.to_str().unwrap())).unwrap();
    }

    /// The path of the configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }

    /// `kinetail` with these arguments and credentials that an emulator takes, and nothing of the environment
    /// of whoever runs the tests: no proxy, no profile, no metadata service.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kinetail"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("HOME", self.folder.path()).env("NO_COLOR", "1").env("RUST_BACKTRACE", "1");
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env("AWS_REGION", "us-east-1");
        command
    }

    /// Starts `kinetail run` on the configuration of this place.
    pub(crate) fn run(&self, more_arguments: &[&str]) -> Agent {
        self.run_with(more_arguments, &[])
    }

    /// The same with these variables of the environment.
    pub(crate) fn run_with(&self, more_arguments: &[&str], variables: &[(&str, &str)]) -> Agent {
        let config = self.config();
        let arguments = [&["run", "--config", config.to_str().unwrap()], more_arguments].concat();
        self.start(self.command(&arguments).envs(variables.iter().copied()))
    }

    /// Ships everything that is there now, and sees to it that the agent ends well.
    #[track_caller]
    pub(crate) fn ship_once(&self) -> Ended {
        self.run(&["--once"]).wait().well()
    }

    /// Starts `command`, keeping what it says.
    pub(crate) fn start(&self, command: &mut Command) -> Agent {
        let run = self.runs.fetch_add(1, Ordering::Relaxed);
        let stderr = self.folder.path().join(format!("stderr-{run}.log"));
        let stdout = self.folder.path().join(format!("stdout-{run}.log"));
        command.stdin(Stdio::null());
        command.stderr(File::create(&stderr).unwrap()).stdout(File::create(&stdout).unwrap());
        Agent { child: command.spawn().unwrap(), stderr, stdout, admin: OnceCell::new() }
    }
}

/// How often a process is looked at.
const PACE: Duration = Duration::from_millis(2);

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    stderr: PathBuf,
    stdout: PathBuf,
    /// Known once it was asked for.
    admin: OnceCell<SocketAddr>,
}

/// How an agent ended.
pub(crate) struct Ended {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// The one that ended it.
    pub(crate) signal: Option<Signal>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Agent {
    /// What it has logged so far.
    pub(crate) fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end in an orderly way.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether SIGSTOP has stopped all of it.
    pub(crate) fn is_stopped(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which is in parentheses.
        status.rsplit_once(") ").unwrap().1.starts_with('T')
    }

    /// No file of it may grow beyond so many bytes from now on.
    pub(crate) fn limit_file_sizes(&self, byte_count: Option<u64>) {
        let limit = Rlimit { current: byte_count, maximum: None };
        prlimit(Some(Pid::from_child(&self.child)), Resource::Fsize, limit).unwrap();
    }

    /// What its descriptors lead to.
    pub(crate) fn open_paths(&self) -> Vec<PathBuf> {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        // One that is closed meanwhile leads nowhere.
        descriptors.filter_map(|descriptor| fs::read_link(descriptor.unwrap().path()).ok()).collect()
    }

    /// Most bytes of memory that it has had so far, as the kernel counts them, without the pages of the program, which are
    /// many more in a build for tests.
    pub(crate) fn peak_memory(&self) -> usize {
        self.memory_as("VmHWM:")
    }

    /// The same, now.
    pub(crate) fn memory(&self) -> usize {
        self.memory_as("VmRSS:")
    }

    fn memory_as(&self, name: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let bytes_of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
        };
        bytes_of(name) - bytes_of("RssFile:")
    }

    /// Waits until `deadline`; none when it has ended by itself before.
    pub(crate) fn run_until(mut self, deadline: Instant) -> Option<Self> {
        let has_ended = self.ends_until(deadline).is_some();
        (!has_ended).then_some(self)
    }

    /// Lets it live until `deadline` at the longest, then kills it as `kill -9` does, which is told by the second of what is
    /// returned.
    pub(crate) fn live_until(mut self, deadline: Instant) -> (Ended, bool) {
        let status = self.ends_until(deadline);
        let is_killed = status.is_none();
        if is_killed {
            self.signal(Signal::KILL);
        }
        let status = status.unwrap_or_else(|| self.child.wait().unwrap());
        (self.ended(status), is_killed)
    }

    /// Waits until it has said something; none when it has ended instead.
    pub(crate) fn run_until_it_speaks(mut self) -> Option<Self> {
        let deadline = Instant::now() + PATIENCE;
        while fs::metadata(&self.stderr).unwrap().len() == 0 {
            assert!(Instant::now() < deadline, "an agent says nothing");
            if self.ends_until(Instant::now() + PACE).is_some() {
                return None;
            }
        }
        Some(self)
    }

    fn ends_until(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            let status = self.child.try_wait().unwrap();
            if status.is_some() || Instant::now() >= deadline {
                return status;
            }
            // A process has no way to wake us.
            thread::park_timeout(PACE);
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(self) -> Ended {
        self.wait_and(|_| {})
    }

    /// Tells it to stop, as somebody who has lost patience, until it does.
    pub(crate) fn abort(self) -> Ended {
        self.wait_and(|child| kill_process(child, Signal::TERM).unwrap())
    }

    fn wait_and(mut self, nudge: impl Fn(Pid)) -> Ended {
        let mut status = None;
        let (child, stderr) = (&mut self.child, &self.stderr);
        let ended = || {
            nudge(Pid::from_child(child));
            status = child.try_wait().unwrap();
            status.is_some()
        };
        wait_until_or("the agent ends", ended, || read_lossy(stderr));
        let status = status.unwrap();
        self.ended(status)
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        let (code, signal) = (status.code(), status.signal().and_then(Signal::from_named_raw));
        Ended { code, signal, stdout: read_lossy(&self.stdout), stderr: self.stderr() }
    }

    /// Ends it by SIGTERM and sees to it that it ends well.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.terminate();
        self.wait().well()
    }

    /// Waits until the log has `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until_or(&format!("{text:?} is logged"), || self.stderr().contains(text), || self.stderr());
    }

    /// Where the admin address is, which the log says.
    pub(crate) fn admin(&self) -> SocketAddr {
        *self.admin.get_or_init(|| {
            self.wait_for_log("admin address");
            let stderr = self.stderr();
            let line = stderr.lines().find(|line| line.contains("admin address")).unwrap();
            let (_, address) = line.split_once("address=").unwrap_or_else(|| panic!("no address in {line:?}"));
            address.split_whitespace().next().unwrap().parse().unwrap()
        })
    }

    /// Status code and body of a page of the admin address.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The counters now.
    pub(crate) fn figures(&self) -> Figures {
        Figures(self.page("/metrics").1)
    }

    /// Waits until `read_bytes` have been read and each of them is settled, and the counters say so.
    #[track_caller]
    pub(crate) fn wait_settled(&self, read_bytes: usize) -> Figures {
        let settled = || {
            let figures = self.figures();
            figures.sum("kinetail_read_bytes_total") >= read_bytes && figures.sum("kinetail_in_flight_bytes") == 0
        };
        let state = || format!("{}\n{}", self.page("/metrics").1, self.stderr());
        wait_until_or(&format!("{read_bytes} bytes are read and settled"), settled, state);
        let figures = self.figures();
        assert_eq!(figures.sum("kinetail_read_bytes_total"), read_bytes, "more was read than was there");
        figures.assert_balanced();
        figures
    }

    /// Waits until `/health` answers with the status `code`, and returns what it says.
    pub(crate) fn wait_health(&self, code: u16) -> String {
        let mut page = (0, String::new());
        wait_until(&format!("/health says {code}"), || {
            page = self.page("/health");
            page.0 == code
        });
        page.1
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- what the agent said ---\n{}", self.stderr());
        }
    }
}

impl Ended {
    /// It ended as it should.
    #[track_caller]
    pub(crate) fn well(self) -> Self {
        assert_eq!(self.code, Some(0), "the agent did not end well:\n{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }
}

/// A page of metrics.
pub(crate) struct Figures(String);

impl Figures {
    /// The sum of all samples of `name`, whatever their labels.
    #[track_caller]
    pub(crate) fn sum(&self, name: &str) -> usize {
        self.sum_where(name, "")
    }

    /// The sum of the samples of `name` among whose labels there is `label`, written `key="value"`.
    #[track_caller]
    pub(crate) fn sum_where(&self, name: &str, label: &str) -> usize {
        let samples = self.0.lines().filter_map(|line| sample(line.strip_prefix(name)?));
        let values: Vec<usize> =
            samples.filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value.parse().unwrap()).collect();
        assert!(!values.is_empty() || !label.is_empty(), "no {name} in\n{}", self.0);
        values.iter().sum()
    }

    /// What was read is delivered, in flight, dropped, or was released by a reload.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        let of = |what: &str| self.sum(&format!("kinetail_{what}"));
        let settled = of("delivered_bytes_total") + of("dropped_bytes_total") + of("released_bytes_total");
        assert_eq!(of("read_bytes_total"), settled + of("in_flight_bytes"), "{}", self.0);
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

/// Labels and value of a sample, of which `rest` is what follows its name.
fn sample(rest: &str) -> Option<(&str, &str)> {
    match rest.strip_prefix('{') {
        Some(rest) => rest.split_once("} "),
        None => Some(("", rest.strip_prefix(' ')?)),
    }
}
