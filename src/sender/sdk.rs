//! What an error of the AWS SDK is: an answer that [`outcome`] can look up, or that there was none.

use std::error::Error as StdError;

use aws_sdk_kinesis::config::Region;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

use super::outcome::{self, Failure, Operation, Sent};
use crate::limits::MESSAGE_CHARS_MAX;

/// The failure of a request to `place` of whose body so much was `sent`.
pub(super) fn failure<E: ProvideErrorMetadata + StdError + 'static>(
    operation: Operation,
    error: &SdkError<E>,
    sent: Sent,
    place: &str,
) -> Failure {
    let failure = match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            match service.err().code() {
                Some(code) => {
                    let message = shortened(service.err().message().unwrap_or("no message"));
                    Failure::answered(operation, code, status, &message)
                }
                None => not_of_the_service(status, place),
            }
        }
        SdkError::ResponseError(response) => not_of_the_service(response.raw().status().as_u16(), place),
        _ => not_answered(error, sent, place),
    };
    Failure { verdict: failure.verdict.given(sent), ..failure }
}

/// The failure of a request that could not even be made.
pub(super) fn not_made(error: &(dyn StdError + 'static)) -> Failure {
    let verdict = outcome::of_client(Failure::CLIENT, Sent::Nothing);
    Failure { verdict, code: Failure::CLIENT.to_owned(), message: shortened(&causes(error)) }
}

/// Where a service is, for people.
pub(super) fn place(service: &str, endpoint: Option<&str>, region: Option<&Region>) -> String {
    match (endpoint, region) {
        (Some(url), _) => url.to_owned(),
        (None, Some(region)) => format!("{service} in {region}"),
        (None, None) => service.to_owned(),
    }
}

/// An answer without an error of the service in it, or without anything that can be read.
fn not_of_the_service(status: u16, place: &str) -> Failure {
    let code = format!("Http{status}");
    let message = format!("{place}: HTTP status {status}, and not an answer of the service; is there a proxy in between?");
    Failure { verdict: outcome::of_status(status), code, message }
}

fn not_answered<E: StdError + 'static>(error: &SdkError<E>, sent: Sent, place: &str) -> Failure {
    let code = match error {
        SdkError::TimeoutError(_) => Failure::TIMEOUT,
        _ if caused_by::<aws_credential_types::provider::error::CredentialsError>(error).is_some() => Failure::CREDENTIALS,
        SdkError::DispatchFailure(_) if is_connect_failure(error) => Failure::CONNECTION,
        SdkError::DispatchFailure(_) => Failure::CONNECTION_LOST,
        _ => Failure::CLIENT,
    };
    let message = format!("{place}: {}", shortened(&causes(error)));
    Failure { verdict: outcome::of_client(code, sent), code: code.to_owned(), message }
}

/// What comes from outside goes into log and health at a bounded length.
fn shortened(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &message[..end]),
        None => message.to_owned(),
    }
}

/// What went wrong and why, from the outside in; the SDK's own way of saying it is for its developers.
fn causes(error: &(dyn StdError + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The connection was never there, so that nothing can have been sent.
fn is_connect_failure(error: &(dyn StdError + 'static)) -> bool {
    caused_by::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect)
        || caused_by::<std::io::Error>(error).is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn caused_by<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
