//! What an answer means: failures sorted by what happens next.
//!
//! Pure. Sources: the error lists of `PutRecords` in the API reference and the common errors of AWS services.

use std::fmt;

/// What became of one record of a request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// The service returned a sequence number.
    Delivered {
        /// The shard that has it; of Firehose none.
        shard_id: Option<String>,
    },
    /// It returned an error for this record.
    Failed {
        /// `ErrorCode`
        code: String,
        /// `ErrorMessage`
        message: String,
    },
}

/// What happens next to what was not delivered. All of it is sent again; nothing is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Surely not stored: again after a short wait.
    Retry,
    /// Surely not stored, the service asks for less.
    SlowDown,
    /// Surely not stored, and it may be for the sake of one record: again in smaller requests.
    Split,
    /// Surely not stored, and it takes a person to change that: again after longer waits, told loudly.
    Pause,
    /// It may have been stored: sent again it may be there twice.
    Uncertain,
}

/// A request that was not answered record by record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happens next.
    pub verdict: Verdict,
    /// The service's name of the error, or one of ours: [`Failure::TIMEOUT`] and those below it.
    pub code: String,
    /// The service's or the client's sentence.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(hint) = hint(&self.code) {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

impl Failure {
    /// `code` of an attempt that took longer than [`crate::limits::ATTEMPT_TIMEOUT`].
    pub const TIMEOUT: &str = "Timeout";
    /// `code` where the name of the host cannot be resolved.
    pub const DNS: &str = "Dns";
    /// `code` where there is no connection: refused, unreachable.
    pub const CONNECTION: &str = "Connection";
    /// `code` of a connection that took longer than `connect_timeout`.
    pub const CONNECT_TIMEOUT: &str = "ConnectTimeout";
    /// `code` of a connection that was lost with a request on it.
    pub const CONNECTION_LOST: &str = "ConnectionLost";
    /// `code` where the other side cannot show that it is who it should be.
    pub const CERTIFICATE: &str = "Certificate";
    /// `code` of other failures of TLS.
    pub const TLS: &str = "Tls";
    /// `code` of a proxy that cannot be reached, or refuses.
    pub const PROXY: &str = "Proxy";
    /// `code` of a proxy that wants another name and password.
    pub const PROXY_AUTH: &str = "ProxyAuth";
    /// `code` where `ca_file` cannot be used.
    pub const CA_FILE: &str = "CaFile";
    /// `code` where there are no credentials.
    pub const CREDENTIALS: &str = "Credentials";
    /// `code` where there is no region.
    pub const REGION: &str = "Region";

    /// The service will not answer this, however often it is asked.
    pub fn is_refusal(&self) -> bool {
        ["AccessDenied", "Unsupported", "UnknownOperation"].iter().any(|code| self.code.starts_with(code))
    }

    /// The service, or what stands in for it, does not know `operation`.
    pub fn unsupported(operation: &str) -> Self {
        let message = format!("{operation} is not known there");
        Self { verdict: Verdict::Pause, code: "Unsupported".to_owned(), message }
    }

    /// An answer that does not have a result for each record; some may have been stored.
    pub fn wrong_result_count(expected: usize, actual: usize) -> Self {
        let message = format!("the answer has {actual} results for {expected} records");
        Self { verdict: Verdict::Uncertain, code: "WrongResultCount".to_owned(), message }
    }
}

/// The refusal of a single record is about its size.
pub fn is_too_large(failure: &Failure) -> bool {
    failure.message.contains("less than or equal to") || failure.message.contains("size exceeds")
}

/// Errors of a single record.
pub fn of_record(code: &str) -> Verdict {
    match code {
        "ProvisionedThroughputExceededException" => Verdict::SlowDown,
        // The maintainers of the KPL take any internal failure as an unknown outcome (issue 128 there).
        _ => Verdict::Uncertain,
    }
}

/// Errors of a whole request that the service has answered, by its name and the status of the answer.
pub fn of_request(code: &str, status: u16) -> Verdict {
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "KMSThrottlingException" => Verdict::SlowDown,
        "ServiceUnavailable" | "ServiceUnavailableException" | "InternalFailure" | "InternalFailureException" => {
            Verdict::Uncertain
        }
        // The stream is not active yet.
        "ResourceInUseException" => Verdict::Retry,
        // Too large, or something about one of the records.
        "InvalidArgumentException" | "ValidationException" | "SerializationException" | "RequestEntityTooLarge" => Verdict::Split,
        _ if status == 413 => Verdict::Split,
        _ if status >= 500 => Verdict::Uncertain,
        _ if status == 429 => Verdict::SlowDown,
        // ResourceNotFoundException, AccessDeniedException, KMS..., ExpiredTokenException,
        // UnrecognizedClientException, InvalidSignatureException: the service has refused the request as it stands.
        _ if (400..500).contains(&status) => Verdict::Pause,
        _ => Verdict::Uncertain,
    }
}

fn hint(code: &str) -> Option<&'static str> {
    Some(match code {
        "ResourceNotFoundException" => "check `stream` and `region`, or create the stream",
        "AccessDeniedException" => "the credentials need kinesis:PutRecords on the stream",
        "UnrecognizedClientException" | "InvalidSignatureException" | "IncompleteSignature" => {
            "check the credentials, and the clock of this host"
        }
        "ExpiredTokenException" | "ExpiredToken" => "renew the credentials",
        Failure::DNS => "check the name, `region` and the resolver of this host",
        Failure::CERTIFICATE => "if a proxy or a private authority has signed it, set `ca_file` in [aws]",
        Failure::PROXY => "check `proxy` in [aws], or HTTPS_PROXY",
        Failure::PROXY_AUTH => "write name and password in `proxy`: http://name:password@host:port",
        Failure::CA_FILE => "check `ca_file` in [aws]: a PEM file of certificates",
        Failure::CREDENTIALS => "set them by environment, profile, or the role of the instance or container",
        Failure::REGION => "set `region` in [aws], or AWS_REGION",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_verdict() {
        for (code, status, verdict) in [
            ("ProvisionedThroughputExceededException", 400, Verdict::SlowDown),
            ("ThrottlingException", 400, Verdict::SlowDown),
            ("KMSThrottlingException", 400, Verdict::SlowDown),
            ("TooManyRequests", 429, Verdict::SlowDown),
            ("ResourceNotFoundException", 400, Verdict::Pause),
            ("AccessDeniedException", 400, Verdict::Pause),
            ("ExpiredTokenException", 400, Verdict::Pause),
            ("KMSDisabledException", 400, Verdict::Pause),
            ("InvalidArgumentException", 400, Verdict::Split),
            ("ValidationException", 400, Verdict::Split),
            ("SerializationException", 400, Verdict::Split),
            ("RequestEntityTooLarge", 413, Verdict::Split),
            ("Unknown", 413, Verdict::Split),
            ("ResourceInUseException", 400, Verdict::Retry),
            ("LimitExceededException", 400, Verdict::SlowDown),
            ("InvalidSignatureException", 400, Verdict::Pause),
            ("InternalFailure", 500, Verdict::Uncertain),
            ("ServiceUnavailable", 503, Verdict::Uncertain),
            ("", 502, Verdict::Uncertain),
            ("", 200, Verdict::Uncertain),
        ] {
            assert_eq!(of_request(code, status), verdict, "{code} {status}");
        }
        assert_eq!(of_record("ProvisionedThroughputExceededException"), Verdict::SlowDown);
        assert_eq!(of_record("InternalFailure"), Verdict::Uncertain);
    }

    #[test]
    fn a_failure_says_what_the_operator_can_do() {
        let failure = Failure {
            verdict: Verdict::Pause,
            code: "ResourceNotFoundException".to_owned(),
            message: "Stream x not found".to_owned(),
        };
        assert_eq!(
            failure.to_string(),
            "ResourceNotFoundException: Stream x not found (check `stream` and `region`, or create the stream)"
        );
    }
}
