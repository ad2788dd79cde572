//! `kinetail run`: the agent, from the configuration file to the last commit.

#[cfg(feature = "local")]
mod locally;
mod reload;
pub mod service;
mod signals;

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::OsString;
use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::prelude::*;

use self::reload::Reload;
use self::service::{Notifier, Service};
use self::signals::{Signals, TERM};
use super::{exit, offsets, with_causes};
use crate::admin::{self, OffsetsPage};
use crate::agent::{self, Ending, Reading, Setting, Way};
use crate::aws::Accesses;
use crate::config::{self, Aws, Config, Destination, Flow, Loaded, STATE_DIR_DEFAULT, one_line};
use crate::encryption::keys::KeySource;
use crate::encryption::kms::Kms;
use crate::health::Health;
use crate::limits::{BUSY_MAX, LAST_COMMIT_TIMEOUT, OVERSIGHT_INTERVAL, RESERVED_DESCRIPTORS};
use crate::metadata::{Metadata, Wanted, host_name};
use crate::metrics::Metrics;
use crate::offsets::{Offsets, OpenError, Recovered};
use crate::processor::Surroundings;
use crate::progress::Progress;
use crate::progress::overseer::{Overseen, Overseer};
use crate::sender::Target;
use crate::sender::firehose::DeliveryStream;
use crate::sender::kinesis::Stream;
use crate::tailer::Mode;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Ship what is there now and end.
    pub once: bool,
    /// Ship into an embedded Kinesis.
    pub local: bool,
}

/// `kinetail run` from the arguments to the exit code.
pub fn main(options: &Options) -> u8 {
    let mut loaded = match load_files(&options.config) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    allow_all_descriptors();
    let runtime = match runtime(loaded.config.agent.thread_count()) {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("cannot start threads: {error}"), exit::OSERR),
    };
    let code = runtime.block_on(async {
        if options.local {
            return locally(options, loaded).await;
        }
        log_to(io::stderr, LOGGED);
        let config = &mut loaded.config;
        respect_descriptor_limit(&mut config.agent, config.flows.len());
        let state_dir = config.agent.state_dir.clone().unwrap_or_else(|| STATE_DIR_DEFAULT.into());
        ship(options, loaded, &state_dir, Accesses::default(), Arc::default()).await
    });
    // After an abort a commit may still be on its way to the disk; it is not waited for.
    runtime.shutdown_background();
    code
}

#[cfg(feature = "local")]
use locally::locally;

#[cfg(not(feature = "local"))]
async fn locally(_: &Options, _: Loaded) -> u8 {
    complain("this kinetail has no embedded Kinesis for --local; build it with `--features local`", exit::USAGE)
}

/// Every tailed file takes a descriptor, and the limit that a shell or systemd gives by default is far below
/// the one that the system allows.
pub(super) fn allow_all_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // Where that is not permitted, the limit stays.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// No more files are kept open than leave descriptors for everything else.
pub(super) fn respect_descriptor_limit(agent: &mut config::Agent, flow_count: usize) {
    let limit = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let open_files_max = limit.saturating_sub(RESERVED_DESCRIPTORS).max(flow_count);
    if open_files_max < agent.max_open_files {
        tracing::warn!(
            limit,
            max_open_files = open_files_max,
            "the limit of open files of this process is low, fewer files are kept open than configured"
        );
        agent.max_open_files = open_files_max;
    }
}

fn runtime(thread_count: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(thread_count).enable_all().build()
}

/// What is logged when nothing else is said: what matters to an operator. What the SDK takes for errors of its own making is
/// told as a failure of the request.
const LOGGED: &str = "error,aws_smithy_runtime=off,aws_smithy_runtime_api=off,kinetail=info";

/// Logs what `KINETAIL_LOG` says (`debug`, `kinetail=debug,aws_config=info`), else what `otherwise` does.
pub(super) fn log_to<W: for<'w> MakeWriter<'w> + Send + Sync + 'static>(writer: W, otherwise: &str) {
    let written = std::env::var("KINETAIL_LOG").ok().and_then(|directives| directives.parse::<Targets>().ok());
    let filter = written.or_else(|| otherwise.parse().ok()).unwrap_or_default();
    let is_terminal = io::stderr().is_terminal();
    // Where the log goes there may be no room left: the subscriber's own complaint would panic.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let layer = layer.with_writer(writer).with_ansi(is_terminal).with_target(false);
    // Names of files are among the values: whoever may create a file must not be able to write lines of ours.
    let layer = layer.fmt_fields(
        debug_fn(|writer, field, value| {
            let value = one_line(&format!("{value:?}"));
            if field.name() == "message" { write!(writer, "{value}") } else { write!(writer, "{}={value}", field.name()) }
        })
        .delimited(" "),
    );
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
}

/// Says what is wrong before there is a log; returns `code`.
pub(super) fn complain(text: &str, code: u8) -> u8 {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {text}");
    code
}

/// Says what is worth a word to whoever runs a command.
pub(super) fn warn(text: &str) {
    // As above.
    let _ = writeln!(io::stderr(), "warning: {text}");
}

/// The configuration, or else what is wrong with it is said; then the exit code.
pub(super) fn load(path: &Path) -> Result<Config, u8> {
    load_files(path).map(|loaded| loaded.config)
}

/// The same with its files.
fn load_files(path: &Path) -> Result<Loaded, u8> {
    Loaded::load(path).map_err(|error| {
        // As above.
        let _ = io::stderr().write_all(error.render(io::stderr().is_terminal()).as_bytes());
        exit::CONFIG
    })
}

async fn ship(options: &Options, loaded: Loaded, state_dir: &Path, accesses: Accesses, metrics: Arc<Metrics>) -> u8 {
    let (stop, stopped) = watch::channel(false);
    let (configs, config_in_force) = watch::channel(Arc::new(loaded.config.clone()));
    let config = Arc::clone(&configs.borrow());
    let (notifier, progress, health) = (Notifier::from_environment(), Progress::default(), Health::default());
    let service = Service {
        notifier: notifier.clone(),
        progress: progress.clone(),
        metrics: Arc::clone(&metrics),
        health: health.clone(),
        configs: config_in_force.clone(),
    };
    let _overseen = match look_after(service, stopped.clone()) {
        Ok(overseen) => overseen,
        Err(error) => {
            tracing::error!(%error, "cannot start a thread");
            return exit::OSERR;
        }
    };
    if let Some(owner) = other_owner(state_dir) {
        tracing::error!(
            state_dir = %state_dir.display(),
            owner,
            "the state folder belongs to another user, whose agent could not use it any more after this run; run this as that user"
        );
        return exit::NOPERM;
    }
    // Opening the store may take a while, and who reloads meanwhile shall not end the agent.
    let hang_up = match signal(SignalKind::hangup()) {
        Ok(hang_up) => hang_up,
        Err(error) => {
            tracing::error!(%error, "cannot listen to signals");
            return exit::OSERR;
        }
    };
    let (store, stored) = match Offsets::open(state_dir).and_then(|store| Ok((store.stored()?, store))) {
        Ok((stored, store)) => (store, stored),
        Err(error) => {
            tracing::error!("{}", with_causes(&error));
            return if matches!(error, OpenError::InUse(_)) { exit::TEMPFAIL } else { exit::IOERR };
        }
    };
    if let Some(recovered) = store.recovered() {
        let Recovered { trouble, set_aside, is_rolled_back, .. } = recovered;
        tracing::error!(trouble, set_aside = %set_aside.as_deref().unwrap_or(Path::new("-")).display(), is_rolled_back, "{recovered}");
    }
    let store = Arc::new(store);
    // Every commit is on the disk when it is done. Closing sled would write to the disk once more, and panic if it
    // cannot; that is left to the end of the process.
    std::mem::forget(Arc::clone(&store));
    let surroundings = Arc::new(surroundings());
    warn_of_unset(&loaded.config, &surroundings);
    store.report_to(health.clone());
    let forget_after = {
        let config = config_in_force.clone();
        move || config.borrow().agent.forget_after
    };
    let page = offsets::page(Arc::clone(&store), state_dir.to_owned(), forget_after);
    let answers = serve_admin(config.agent.admin, Arc::clone(&metrics), health.clone(), OffsetsPage::new(page));
    let mode = if options.once { Mode::Once } else { Mode::Follow };
    tracing::info!(version = env!("CARGO_PKG_VERSION"), flows = config.flows.len(), state_dir = %state_dir.display(), ?mode, "kinetail starts");
    let setting = Setting {
        store: Arc::clone(&store),
        stored,
        metrics: Arc::clone(&metrics),
        health,
        mode,
        new_run_id: Box::new(|| u128::from_be_bytes(random_bytes())),
        seed: u64::from_be_bytes(random_bytes()),
        reading: Reading::OwnThreads,
        surroundings: Arc::clone(&surroundings),
        metadata_of: Box::new(metadata_of(&config)),
        progress,
    };
    let first_signal = Cell::new(TERM);
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot listen to signals");
            return exit::OSERR;
        }
    };
    let reloads =
        Reload { loaded, configs, metrics, notifier, announce: Box::new(move |config| warn_of_unset(config, &surroundings)) };
    let can_reload = mode == Mode::Follow && !options.local;
    tokio::select! {
        // In this order: nobody is told of an agent that does not know its flows yet or is deaf to signals.
        biased;
        ended = agent::run(config_in_force, setting, stopped, move |flow| way(flow, &accesses)) => {
            if !matches!(ended, Ok(Ending::NotCommitted)) {
                finish(store).await;
            }
            exit_code(ended, mode, first_signal.get())
        }
        signal = signals.stop_then_abort(&stop, &first_signal) => {
            tracing::warn!("aborted by a second signal; what was not committed is read again at the next start");
            exit::SIGNAL + signal
        }
        never = answers => match never {},
        never = reloads.at_each(hang_up, can_reload) => match never {},
    }
}

/// The user whom the state folder belongs to, if it is another one.
fn other_owner(state_dir: &Path) -> Option<u32> {
    let owner = std::fs::metadata(state_dir).ok()?.uid();
    (owner != rustix::process::geteuid().as_raw()).then_some(owner)
}

fn warn_of_unset(config: &Config, surroundings: &Surroundings) {
    for flow in &config.flows {
        for name in flow.environment_variables().filter(|name| !surroundings.environment.contains_key(*name)) {
            tracing::warn!(flow = flow.name, name, "an environment variable is not set, its value is null in records");
        }
    }
}

/// Asks for what is wanted at the start at once, and for more when a flow comes that wants more.
fn metadata_of(config: &Config) -> impl Fn(&Flow) -> Metadata + Send + Sync + 'static {
    let endpoint = |flow: &Flow| flow.aws.endpoints.ec2_metadata.clone();
    let wanted = Wanted::of(&config.flows);
    let asked = config.flows.first().map(|flow| (endpoint(flow), Metadata::ask(wanted.clone(), endpoint(flow).as_deref())));
    move |flow| {
        let wanted_of_flow = Wanted::of(std::slice::from_ref(flow));
        match &asked {
            _ if wanted_of_flow.is_nothing() => Metadata::nothing(),
            Some((of, metadata)) if wanted.covers(&wanted_of_flow) && *of == endpoint(flow) => metadata.clone(),
            _ => Metadata::ask(wanted_of_flow, endpoint(flow).as_deref()),
        }
    }
}

/// Looks at the stages from now on, and tells the service manager how the agent fares.
fn look_after(service: Service, stopped: watch::Receiver<bool>) -> io::Result<Overseen> {
    let watchdog = service.notifier.watchdog().unwrap_or(BUSY_MAX);
    let overseer = Overseer {
        progress: service.progress.clone(),
        metrics: Arc::clone(&service.metrics),
        health: service.health.clone(),
        busy_max: watchdog.min(BUSY_MAX),
        interval: (watchdog / 4).min(OVERSIGHT_INTERVAL),
    };
    tokio::spawn(service.run(stopped));
    overseer.start()
}

/// Says in the store that the last commit was the last. A disk that hangs is not waited for: without it, the next start has more
/// to look at.
async fn finish(store: Arc<Offsets>) {
    let finishing = tokio::task::spawn_blocking(move || store.finish());
    if let Ok(Ok(Err(error))) = tokio::time::timeout(LAST_COMMIT_TIMEOUT, finishing).await {
        tracing::warn!(%error, "cannot write the end of this run to the state folder; offsets are committed all the same");
    }
}

/// Where the records of `flow` go, and where its data keys come from.
fn way(flow: &Flow, accesses: &Accesses) -> Way<Target> {
    let access = accesses.of(&flow.aws);
    let clock = access.clock().clone();
    let destination = match flow.delivery.destination.clone() {
        Destination::Kinesis(name) => Target::Kinesis(Stream::new(name, access)),
        Destination::Firehose(name) => Target::Firehose(DeliveryStream::new(name, access)),
    };
    let key_source = flow.encryption.as_ref().map(|rules| -> Arc<dyn KeySource> {
        // A key may be in another region than the stream.
        let settings = Aws { region: Some(rules.kms_region().to_owned()), ..flow.aws.clone() };
        Arc::new(Kms::new(rules.kms_key.clone(), rules.context.clone(), accesses.of(&settings)))
    });
    Way { destination, key_source, clock }
}

/// `signal` is the one that told it to stop, if one did.
fn exit_code(ended: io::Result<Ending>, mode: Mode, signal: u8) -> u8 {
    match ended {
        Ok(Ending::Complete) => {
            tracing::info!("kinetail ends: everything that could be read is delivered and committed");
            return exit::OK;
        }
        Ok(Ending::Drained) => tracing::info!("kinetail ends: everything that was read is delivered and committed"),
        Ok(Ending::TimedOut { uncertain_record_count }) => tracing::warn!(
            uncertain_record_count,
            "kinetail ends: the drain timeout has passed; what was not delivered is read again at the next start; records that \
             were on their way are looked up in the stream then, and may be there twice where it may not be read"
        ),
        Ok(Ending::NotCommitted) => {
            tracing::error!(
                "kinetail ends: the last offsets were not committed; what was delivered since is sent again at the next start"
            );
            return exit::IOERR;
        }
        Err(error) => {
            tracing::error!(%error, "kinetail cannot start");
            return exit::OSERR;
        }
    }
    // A script that asked for everything must learn that it did not get it.
    if mode == Mode::Once { exit::SIGNAL + signal } else { exit::OK }
}

/// Answers at `address`, if there is one and it can be had.
async fn serve_admin(address: Option<SocketAddr>, metrics: Arc<Metrics>, health: Health, offsets: OffsetsPage) -> Infallible {
    if let Some(address) = address {
        match admin::bind(address).await {
            Ok(admin) => {
                tracing::info!(address = %admin.local_addr(), "admin address serves /metrics, /health and /offsets");
                admin.serve(metrics, health, offsets, pending()).await;
            }
            Err(error) => tracing::error!(%address, %error, "cannot serve the admin address; shipping goes on without it"),
        }
    }
    pending().await
}

/// What records may say of this host.
pub(super) fn surroundings() -> Surroundings {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    Surroundings {
        host_name: host_name(),
        environment: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
    }
}

pub(super) fn random_bytes<const COUNT: usize>() -> [u8; COUNT] {
    let mut bytes = [0; COUNT];
    if getrandom::fill(&mut bytes).is_err() {
        // The kernel's generator does not fail once the machine is up; the other is seeded from clock and address.
        fastrand::fill(&mut bytes);
    }
    bytes
}
