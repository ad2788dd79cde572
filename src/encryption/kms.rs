//! Data keys of AWS KMS: the only module that knows that service.
//!
//! It decides how one is asked for, and how an error of the SDK is told. When it is asked again is left to [`super::keys`];
//! credentials, region and endpoint to whoever makes the client.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;

use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::generate_data_key::GenerateDataKeyError;
use aws_sdk_kms::types::DataKeySpec;
use zeroize::Zeroizing;

use super::keys::{Generating, KeyFailure, KeySource, TIMEOUT};
use super::message::{Context, DATA_KEY_BYTES, DataKey};
use crate::limits::MESSAGE_CHARS_MAX;

/// A key of KMS that makes data keys.
pub struct Kms {
    key: String,
    context: Context,
    connect: Box<dyn Fn() -> Connecting + Send + Sync>,
}

/// A client on its way.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Client, KeyFailure>> + Send>>;

impl Kms {
    /// The key `key`, an ARN of a key or of an alias; its data keys can only be decrypted with the same `context`.
    /// `connect` is asked for a client at every attempt, so that it need not have one at the first. The client must not try
    /// again by itself, and must be one of the region that the ARN names.
    pub fn new<C, F>(key: String, context: Context, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Client, KeyFailure>> + Send + 'static,
    {
        Self { key, context, connect: Box::new(move || Box::pin(connect())) }
    }

    async fn generate(&self) -> Result<DataKey, KeyFailure> {
        let client = (self.connect)().await?;
        let context: HashMap<String, String> = self.context.clone().into_iter().collect();
        let request = client.generate_data_key().key_id(&self.key).key_spec(DataKeySpec::Aes256);
        let request = request.set_encryption_context(Some(context).filter(|context| !context.is_empty()));
        let answer = request.send().await.map_err(|error| failure(&error, &self.key))?;

        let unusable = |what: &str| KeyFailure { code: "Answer".to_owned(), message: format!("{}: {what}", self.key) };
        // The SDK's own copy is overwritten; what it was read from is not ours to overwrite.
        let plaintext = Zeroizing::new(answer.plaintext.map(aws_sdk_kms::primitives::Blob::into_inner).unwrap_or_default());
        let mut key = Zeroizing::new([0; DATA_KEY_BYTES]);
        if plaintext.len() != key.len() {
            return Err(unusable(&format!("KMS returned a data key of {} bytes", plaintext.len())));
        }
        key.copy_from_slice(&plaintext);
        let encrypted = answer.ciphertext_blob.filter(|encrypted| !encrypted.as_ref().is_empty());
        let encrypted = encrypted.ok_or_else(|| unusable("KMS returned no encrypted data key"))?;
        // Of an alias the key that it stands for now: readers have to be told that one.
        let key_arn = answer.key_id.filter(|key| key.starts_with("arn:"));
        let key_arn = key_arn.ok_or_else(|| unusable("KMS did not return the ARN of the key"))?;
        DataKey::new(key, encrypted.as_ref(), &key_arn, &self.context).map_err(|unfit| unusable(&unfit.to_string()))
    }
}

impl KeySource for Kms {
    fn generate(&self) -> Generating<'_> {
        Box::pin(self.generate())
    }
}

fn failure(error: &SdkError<GenerateDataKeyError>, key: &str) -> KeyFailure {
    let (code, message) = match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            match service.err().code() {
                Some(code) => (code.to_owned(), service.err().message().unwrap_or("no message").to_owned()),
                None => not_of_the_service(status),
            }
        }
        SdkError::ResponseError(response) => not_of_the_service(response.raw().status().as_u16()),
        SdkError::TimeoutError(_) => (TIMEOUT.to_owned(), causes(error)),
        SdkError::DispatchFailure(_) => ("Connection".to_owned(), causes(error)),
        // Not even made into a request.
        _ => ("Client".to_owned(), causes(error)),
    };
    let hint = hint(&code).map(|hint| format!(" ({hint})")).unwrap_or_default();
    KeyFailure { message: format!("{key}: {}{hint}", shortened(&message)), code }
}

/// An answer without an error of the service in it, or without anything that can be read.
fn not_of_the_service(status: u16) -> (String, String) {
    (format!("Http{status}"), "not an answer of KMS; is there a proxy in between?".to_owned())
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "AccessDeniedException" => "the credentials need kms:GenerateDataKey on the key",
        "NotFoundException" => "check `kms_key` in [flow.encryption]",
        "DisabledException" => "enable the key",
        "KMSInvalidStateException" => "look at the state of the key; its deletion may be scheduled",
        "InvalidKeyUsageException" => "the key must be a symmetric one, for encryption",
        "UnrecognizedClientException" | "InvalidSignatureException" => "check the credentials, and the clock of this host",
        "ExpiredTokenException" | "ExpiredToken" => "renew the credentials",
        _ => return None,
    })
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
