//! `kinetail run --local`: the same agent, shipping into a Kinesis in its own process.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::{LOGGED, Options, complain, exit, log_to, ship, with_causes};
use crate::aws::Accesses;
use crate::config::{Aggregate, Aws, Config, Destination, Endpoints, Flow, Loaded, Proxy};
use crate::limits::REQUEST_BYTES_DEFAULT;
use crate::local::{Local, REGION, Route, Screen, credentials};
use crate::metrics::Metrics;

/// Ships, shows how it goes, reports what was read back; returns the exit code.
pub(super) async fn locally(options: &Options, mut loaded: Loaded) -> u8 {
    let config = &mut loaded.config;
    // Nothing goes unencrypted that is to be encrypted, and KMS would be asked with credentials that are none.
    if let Some(flow) = config.flows.iter().find(|flow| flow.encryption.is_some()) {
        let name = &flow.name;
        return complain(
            &format!("flow {name} has [flow.encryption], and there is no KMS for --local: leave it out"),
            exit::USAGE,
        );
    }
    let screen = Screen::default();
    log_to(screen.clone(), LOGGED);
    let state = match State::of(config) {
        Ok(state) => state,
        Err(error) => return complain(&format!("cannot make a throw-away state folder: {error}"), exit::IOERR),
    };
    for flow in &mut config.flows {
        // There is no Firehose in the process, but streams may have any name.
        flow.delivery.destination = Destination::Kinesis(flow.delivery.destination.stream().to_owned());
        // The embedded Kinesis has the limit that every region has.
        flow.delivery.request_bytes = flow.delivery.request_bytes.min(REQUEST_BYTES_DEFAULT);
    }
    let route = |flow: &Flow| Route {
        flow: flow.name.clone(),
        stream: flow.delivery.destination.stream().to_owned(),
        is_joined: flow.delivery.aggregate == Aggregate::Lines,
    };
    let routes = config.flows.iter().map(route).collect();
    let metrics = Arc::<Metrics>::default();
    let local = match Local::start(routes, Arc::clone(&metrics), screen).await {
        Ok(local) => local,
        Err(error) => {
            return complain(&with_causes(&error), exit::OSERR);
        }
    };
    let aws = Aws {
        region: Some(REGION.to_owned()),
        endpoints: Endpoints { kinesis: Some(local.endpoint().to_owned()), ..Endpoints::default() },
        proxy: Some(Proxy::Off),
        ..Aws::default()
    };
    for flow in &mut config.flows {
        flow.aws = aws.clone();
    }
    let accesses = Accesses::with_credentials(credentials());
    let code = ship(options, loaded, &state.path(), accesses, metrics).await;
    let report = local.finish().await;
    // A reader that has gone away has seen what it wanted.
    let _ = report.print();
    if code == exit::OK && !report.is_all_read_back() { exit::SOFTWARE } else { code }
}

/// Where offsets are kept: where the configuration says, else in a folder that goes with the process.
enum State {
    Given(PathBuf),
    ThrowAway(TempDir),
}

impl State {
    fn of(config: &Config) -> io::Result<Self> {
        Ok(match &config.agent.state_dir {
            Some(folder) => Self::Given(folder.clone()),
            None => Self::ThrowAway(tempfile::Builder::new().prefix("kinetail-").tempdir()?),
        })
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Given(folder) => folder.clone(),
            Self::ThrowAway(folder) => folder.path().to_owned(),
        }
    }
}
