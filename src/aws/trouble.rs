//! What it means that there was no answer of a service: which failure it is, and whether the request may have been carried
//! out.
//!
//! What an answer means is decided in `outcome`.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;

use super::connect::ConnectError;
use crate::limits::MESSAGE_CHARS_MAX;
use crate::outcome::{self, Failure, Sent};

/// The failure of a request to `place` of which so much was `sent`, and to which the service has not given an answer that
/// can be read. For an error that the service has answered, by name, ask [`outcome`].
pub fn failure<E: StdError + 'static>(error: &SdkError<E, HttpResponse>, sent: Sent, place: &str) -> Failure {
    if let SdkError::ResponseError(_) | SdkError::ServiceError(_) = error {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        return not_of_the_service(status, place);
    }
    let code = code_of(error, sent);
    let reason = shortened(&causes(heart(error)));
    let message = match (code, sent) {
        (Failure::TIMEOUT | Failure::CONNECTION_LOST, Sent::Nothing) => format!("{place}: {reason}; nothing was sent"),
        (Failure::TIMEOUT | Failure::CONNECTION_LOST, Sent::Partly) => format!("{place}: {reason}; only a part was sent"),
        (Failure::TIMEOUT | Failure::CONNECTION_LOST, Sent::Perhaps) => format!("{place}: {reason}; it may have arrived"),
        // It is not the service that has none.
        (Failure::CREDENTIALS, _) => reason,
        _ => format!("{place}: {reason}"),
    };
    Failure { verdict: outcome::of_client(code, sent), code: code.to_owned(), message }
}

/// Where `error` begins to be of interest: around it are the SDK's and hyper's words for how it came to them.
fn heart<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let is_heart = |error: &&(dyn StdError + 'static)| {
        error.is::<CredentialsError>() || error.is::<ConnectError>() || error.is::<hyper::Error>()
    };
    chain(error).find(is_heart).unwrap_or(error)
}

/// An answer without an error of the service in it, or without anything that can be read.
pub fn not_of_the_service(status: u16, place: &str) -> Failure {
    if status == 407 {
        let message = format!("{place}: {}", ConnectError::ProxyAuth(status));
        let code = Failure::PROXY_AUTH.to_owned();
        return Failure { verdict: outcome::of_client(&code, Sent::Nothing), code, message };
    }
    let code = format!("Http{status}");
    let message = format!("{place}: HTTP status {status}, and not an answer of the service; is there a proxy in between?");
    Failure { verdict: outcome::of_status(status), code, message }
}

fn code_of<E: StdError + 'static>(error: &SdkError<E, HttpResponse>, sent: Sent) -> &'static str {
    if caused_by::<CredentialsError>(error).is_some() {
        return Failure::CREDENTIALS;
    }
    if let Some(error) = caused_by::<ConnectError>(error) {
        return of_connecting(error);
    }
    match error {
        SdkError::TimeoutError(_) => Failure::TIMEOUT,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::TIMEOUT,
        SdkError::DispatchFailure(failure) if failure.is_io() => Failure::CONNECTION_LOST,
        // The cache of credentials has an error of its own, and private, for those that do not come in time.
        SdkError::DispatchFailure(_) if causes(error).contains("identity resolver timed out") => Failure::CREDENTIALS,
        // Not even made into a request, or nobody knows.
        _ if sent != Sent::Perhaps => Failure::CLIENT,
        _ => Failure::CONNECTION_LOST,
    }
}

fn of_connecting(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Dns(_) => Failure::DNS,
        ConnectError::Tcp(_) => Failure::CONNECTION,
        ConnectError::TimedOut(_) => Failure::CONNECT_TIMEOUT,
        ConnectError::Certificate(_) => Failure::CERTIFICATE,
        ConnectError::Tls(_) => Failure::TLS,
        ConnectError::ProxyAuth(_) => Failure::PROXY_AUTH,
        // Its way to the service is broken, or it has no time.
        ConnectError::ProxyStatus(429 | 500..) | ConnectError::ProxyAnswer(_) => Failure::PROXY,
        ConnectError::ProxyStatus(_) | ConnectError::ProxyScheme(_) => Failure::PROXY_REFUSED,
        ConnectError::OfProxy(_, error) if of_connecting(error) == Failure::CERTIFICATE => Failure::CERTIFICATE,
        ConnectError::OfProxy(..) => Failure::PROXY,
        ConnectError::Url => Failure::CLIENT,
    }
}

/// What comes from outside goes into log and health at a bounded length.
pub fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &message[..end]),
        None => message.to_owned(),
    }
}

/// What went wrong and why, from the outside in; the SDK's own way of saying it is for its developers.
pub fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    // An error that shows its cause, or is nothing but its cause, would say it twice.
    texts.dedup_by(|inner, outer| outer.contains(inner.as_str()));
    texts.join(": ")
}

/// The error of type `E` among the causes of `error`, itself included.
pub(super) fn caused_by<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// From the outside in. The source of an [`io::Error`] is that of what is in it, which would be passed over.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

#[cfg(test)]
mod tests;
