//! The instance metadata service, version 2, by the SDK's own client: tokens, timeouts and retries are its business.
//!
//! It decides what kind of answer an error of the client is.

use std::error::Error as StdError;

use aws_config::imds::client::Client;
use aws_config::imds::client::error::{ImdsError, TokenError};
use aws_config::provider_config::ProviderConfig;

use super::{Answer, Source};
use crate::aws::direct_http_client;

/// The service.
pub(super) struct Imds(Client);

impl Imds {
    /// The service at `endpoint`, or where the SDK's settings say; the error says why that is no address.
    pub(super) fn new(endpoint: Option<&str>) -> Result<Self, String> {
        // The client that is shared with Kinesis may have a proxy; this address is the host's own.
        let mut client = Client::builder().configure(&ProviderConfig::default().with_http_client(direct_http_client()));
        if let Some(endpoint) = endpoint {
            client = client.endpoint(endpoint).map_err(|error| format!("{endpoint}: {error}"))?;
        }
        Ok(Self(client.build()))
    }
}

impl Source for Imds {
    async fn get(&self, path: &str) -> Answer {
        match self.0.get(path).await {
            Ok(text) => Answer::Text(text.into()),
            Err(error) => answer_of(&error, path),
        }
    }
}

fn answer_of(error: &ImdsError, path: &str) -> Answer {
    let causes = || causes(error);
    match error {
        ImdsError::ErrorResponse(response) => match response.response().status().as_u16() {
            403 => Answer::Forbidden,
            404 => Answer::NotThere,
            status => Answer::Failed(format!("HTTP status {status} for {path}")),
        },
        ImdsError::FailedToLoadToken(_) => match token_error(error) {
            // The kind is private to the SDK; its words are not.
            Some(error) if error.to_string().contains("forbidden") => Answer::Forbidden,
            Some(error) => Answer::Failed(format!("who answers is no metadata service, its token cannot be used: {error}")),
            None => Answer::Nobody(causes()),
        },
        ImdsError::IoError(_) => Answer::Nobody(causes()),
        _ => Answer::Failed(causes()),
    }
}

fn token_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a TokenError> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

/// What went wrong and why, from the outside in.
fn causes(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
