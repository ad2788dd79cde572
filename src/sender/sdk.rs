//! What an error of the AWS SDK is: an answer that [`outcome`] can look up, or that there was none.

use std::error::Error as StdError;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};

use crate::aws::trouble::{self, causes, shortened};
use crate::outcome::{self, Failure, Operation, Sent};

/// The failure of a request to `place` of whose body so much was `sent`.
pub(super) fn failure<E: ProvideErrorMetadata + StdError + 'static>(
    operation: Operation,
    error: &SdkError<E>,
    sent: Sent,
    place: &str,
) -> Failure {
    let failure = match error {
        SdkError::ServiceError(service) if service.err().code().is_some() => {
            let (code, status) = (service.err().code().unwrap_or_default(), service.raw().status().as_u16());
            let message = shortened(service.err().message().unwrap_or("no message"));
            Failure::answered(operation, code, status, &message)
        }
        _ => trouble::failure(error, sent, place),
    };
    Failure { verdict: failure.verdict.given(sent), ..failure }
}

/// The failure of a request that could not even be made.
pub(super) fn not_made(error: &(dyn StdError + 'static)) -> Failure {
    let verdict = outcome::of_client(Failure::CLIENT, Sent::Nothing);
    Failure { verdict, code: Failure::CLIENT.to_owned(), message: shortened(&causes(error)) }
}
