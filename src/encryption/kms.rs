//! Data keys of AWS KMS: the only module that knows that service.
//!
//! It decides how one is asked for, and how an error of the SDK is told. When it is asked again is left to [`super::keys`];
//! how it is reached, and as whom, to `aws`.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_kms::Client;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::generate_data_key::GenerateDataKeyError;
use aws_sdk_kms::types::DataKeySpec;
use zeroize::Zeroizing;

use super::keys::{Generating, KeyFailure, KeySource};
use super::message::{Context, DATA_KEY_BYTES, DataKey};
use crate::aws::trouble::{self, shortened};
use crate::aws::{self, Access, Service};
use crate::outcome::{self, Failure, Sent};

/// A key of KMS that makes data keys.
pub struct Kms {
    key: String,
    context: Context,
    client: aws::Client<Client>,
}

impl Kms {
    /// The key `key`, an ARN of a key or of an alias; its data keys can only be decrypted with the same `context`. `access` must be
    /// one to the region that the ARN names.
    pub fn new(key: String, context: Context, access: Arc<Access>) -> Self {
        Self { key, context, client: aws::Client::new(access, Service::Kms, Client::new) }
    }

    fn told(&self, failure: Failure) -> KeyFailure {
        let advice = hint(&failure.code).map(|hint| format!(" ({hint})")).unwrap_or_default();
        KeyFailure { message: format!("{}: {}{advice}", self.key, failure.message), code: failure.code }
    }

    async fn generate(&self) -> Result<DataKey, KeyFailure> {
        let made = self.client.get().await.map_err(|failure| self.told(failure))?;
        let context: HashMap<String, String> = self.context.clone().into_iter().collect();
        let request = made.client.generate_data_key().key_id(&self.key).key_spec(DataKeySpec::Aes256);
        let request = request.set_encryption_context(Some(context).filter(|context| !context.is_empty()));
        let answer = request.send().await.map_err(|error| self.told(self.client.renew(&made, failure(&error, &made.place))))?;

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

/// What it means that there is no data key. Nothing is stored, so that nothing is uncertain.
fn failure(error: &SdkError<GenerateDataKeyError>, place: &str) -> Failure {
    match error {
        SdkError::ServiceError(service) if service.err().code().is_some() => {
            let (code, status) = (service.err().code().unwrap_or_default(), service.raw().status().as_u16());
            // Credentials are refused by all services alike; what else it means is the same for all failures.
            let verdict = outcome::of_request(outcome::Service::Kinesis, code, status);
            let message = shortened(service.err().message().unwrap_or("no message"));
            Failure { verdict, code: code.to_owned(), message }
        }
        _ => trouble::failure(error, Sent::Nothing, place),
    }
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
