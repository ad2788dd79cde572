//! One request for records and its answer: the request as the SDK gets it, ready, and what the SDK's result means with what was
//! read of the answer.
//!
//! What is in either is left to [`wire`](crate::wire).

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_kinesis::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};

use super::sdk;
use crate::aws::{Answer, Delivery, Ready, Request, Unwell};
use crate::outcome::{Failure, Operation, RecordResult};
use crate::wire::answer::{self, ShardIds, Unreadable, name_of_error};
use crate::wire::choice::Trial;
use crate::wire::{Wire, answer::wire_of};

/// One attempt to put records.
pub(super) struct Exchange {
    operation: Operation,
    record_count: usize,
    shard_ids: Arc<Mutex<ShardIds>>,
    told: Arc<Mutex<Told>>,
}

/// What was read of the answer.
#[derive(Default)]
struct Told {
    is_answered: bool,
    wire: Option<Wire>,
    /// It is a good one, but for its content.
    is_unreadable: bool,
    results: Vec<RecordResult>,
}

/// How an attempt has ended.
pub(super) struct Attempt {
    /// What became of each record.
    pub(super) answer: Result<Vec<RecordResult>, Failure>,
    /// What that says of CBOR, if the request was in it.
    pub(super) trial: Trial,
}

impl Attempt {
    /// One that has not even become a request.
    pub(super) fn not_made(error: &(dyn StdError + 'static)) -> Self {
        Self { answer: Err(sdk::not_made(error)), trial: Trial::Nothing }
    }
}

impl Exchange {
    /// An attempt to put so many records; names of shards are taken from `shard_ids`.
    pub(super) fn new(operation: Operation, record_count: usize, shard_ids: Arc<Mutex<ShardIds>>) -> Self {
        Self { operation, record_count, shard_ids, told: Arc::default() }
    }

    /// What makes the SDK send `request` and leaves the answer here. `output` is what the SDK then has instead of it, `error` makes
    /// its error of one that the service has answered.
    pub(super) fn ready<O, E>(&self, request: Request, output: O, error: fn(ErrorMetadata) -> E) -> Ready
    where
        O: Clone + fmt::Debug + Send + Sync + 'static,
        E: StdError + Send + Sync + 'static,
    {
        let (service, record_count) = (self.operation.service(), self.record_count);
        let (shard_ids, told) = (Arc::clone(&self.shard_ids), Arc::clone(&self.told));
        Ready::new(request, error, move |answer| {
            let mut told = lock(&told);
            *told = Told { is_answered: true, wire: wire_of(answer.body), ..Told::default() };
            if answer.is_error {
                return Err(error_in(answer));
            }
            match answer::results(service, answer.body, record_count, &mut lock(&shard_ids)) {
                Ok(results) => told.results = results,
                Err(error) => {
                    told.is_unreadable = true;
                    return Err(unreadable(error));
                }
            }
            Ok(output.clone())
        })
    }

    /// How it has ended, of a request to `place` that `delivery` has watched.
    pub(super) fn ended<O, E>(self, sent: Result<O, SdkError<E>>, delivery: &Delivery, place: &str) -> Attempt
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let mut told = lock(&self.told);
        match sent {
            Ok(_) => {
                let results = std::mem::take(&mut told.results);
                let is_whole = results.len() == self.record_count;
                Attempt { answer: Ok(results), trial: if is_whole { Trial::Accepted } else { Trial::Unclear } }
            }
            Err(error) => {
                let failure = sdk::failure(self.operation, &error, delivery.sent(), place);
                let is_broken = told.is_unreadable && told.wire == Some(Wire::Cbor);
                let trial = if is_broken { Trial::Broken } else { Trial::failed(&failure, told.is_answered, told.wire) };
                Attempt { answer: Err(failure), trial }
            }
        }
    }
}

/// The name in the head counts before that in the body, as for the SDK.
fn error_in(answer: Answer<'_>) -> Unwell {
    let said = match answer::error(answer.body) {
        Ok(said) => said,
        Err(error) => return unreadable(error),
    };
    match answer.error_type.map(|code| name_of_error(code).to_owned()).or(said.code) {
        Some(code) => Unwell::Error { code, message: said.message },
        None => unreadable(Unreadable),
    }
}

fn unreadable(error: Unreadable) -> Unwell {
    Unwell::Unreadable(error.into())
}

/// A panic while it was held leaves what is read anew for each answer.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
