//! An emulated KMS that this project did not write: the server of the Python package moto.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use kinetail::aws::direct_http_client;

use super::PATIENCE;

/// The server.
pub(crate) struct Moto {
    process: Child,
    url: String,
}

impl Moto {
    /// Starts it on a free port, by the Python of an environment that has it.
    pub(crate) fn start(python: &Path) -> Self {
        let mut command = Command::new(python);
        command.args(["-u", "-m", "moto.server", "--host", "127.0.0.1", "--port", "0"]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap());
        let (found, url) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            // Read to its end, so that the server never waits for room in the pipe.
            for line in log.lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("Running on ") {
                    let _ = found.try_send(url.trim().to_owned());
                }
            }
        });
        let url = url.recv_timeout(PATIENCE).expect("moto says where it is");
        Self { process, url }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client of the KMS at `url`.
pub(crate) fn kms_client(url: &str) -> Client {
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(direct_http_client())
        .retry_config(aws_sdk_kms::config::retry::RetryConfig::disabled())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(url);
    Client::from_conf(config.build())
}
