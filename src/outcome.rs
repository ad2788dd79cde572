//! What an answer means, or that there was none: outcomes sorted by what happens next.
//!
//! Pure. The decisions are the rows of a table ([`ROWS`]), each with its source. How an error of the SDK is looked up there is
//! the business of `sender::sdk`, what follows from a verdict that of the sender.

mod advice;
mod rows;

use std::fmt;

use crate::stream::ShardId;

pub use self::rows::{ROWS, Row, Scope, Which};

/// What became of one record of a request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordResult {
    /// The service returned a sequence number, or of Firehose a record ID.
    Delivered {
        /// The shard that has it; of Firehose none.
        shard_id: Option<ShardId>,
    },
    /// It returned an error for this record.
    Failed {
        /// `ErrorCode`
        code: String,
        /// `ErrorMessage`
        message: String,
        /// The shard that has refused it, where the message names one.
        shard_id: Option<String>,
    },
}

/// What happens next to what was not delivered. All of it is sent again; nothing is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Surely not stored: again after a short wait.
    Retry,
    /// Surely not stored, the service asks for less: of a record its shard, of a request the flow.
    SlowDown,
    /// Surely not stored, and it may be for the sake of one record: again in smaller requests.
    Split,
    /// Surely not stored, and it takes a person to change that: again after longer waits, told loudly.
    Pause,
    /// Surely not stored, because the credentials are too old or are not those of now: again with credentials that are fetched
    /// anew; if that goes on, as [`Verdict::Pause`].
    Renew,
    /// It may have been stored: sent again it may be there twice.
    Uncertain,
}

impl Verdict {
    /// The verdict on a request of which so much was sent: what has not left whole cannot have been stored, whatever was
    /// answered.
    #[must_use]
    pub fn given(self, sent: Sent) -> Self {
        match (self, sent) {
            (Self::Uncertain, Sent::Nothing | Sent::Partly) => Self::Retry,
            _ => self,
        }
    }
}

/// How much of the body of a request was handed to the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// Surely not all of it.
    Partly,
    /// Perhaps all of it.
    Perhaps,
}

/// Who has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Kinesis Data Streams
    Kinesis,
    /// Data Firehose
    Firehose,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Of Kinesis.
    PutRecords,
    /// Of Kinesis.
    ListShards,
    /// Of Kinesis.
    DescribeStreamSummary,
    /// Of Kinesis.
    GetShardIterator,
    /// Of Kinesis.
    GetRecords,
    /// Of Firehose.
    PutRecordBatch,
}

impl Operation {
    /// Whose operation it is.
    pub fn service(self) -> Service {
        match self {
            Self::PutRecords | Self::ListShards | Self::DescribeStreamSummary | Self::GetShardIterator | Self::GetRecords => {
                Service::Kinesis
            }
            Self::PutRecordBatch => Service::Firehose,
        }
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::PutRecords => "PutRecords",
            Self::ListShards => "ListShards",
            Self::DescribeStreamSummary => "DescribeStreamSummary",
            Self::GetShardIterator => "GetShardIterator",
            Self::GetRecords => "GetRecords",
            Self::PutRecordBatch => "PutRecordBatch",
        }
    }

    /// The action that a policy has to allow.
    fn permission(self) -> String {
        let service = match self.service() {
            Service::Kinesis => "kinesis",
            Service::Firehose => "firehose",
        };
        format!("{service}:{}", self.name())
    }
}

/// A request that was not answered record by record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happens next.
    pub verdict: Verdict,
    /// The service's name of the error, or one of ours: [`Failure::TIMEOUT`] and those below it.
    pub code: String,
    /// The service's or the client's sentence, and what can be done, where that depends on what was asked for.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(hint) = advice::of_client(&self.code) {
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
    /// `code` of a proxy that cannot be reached, or has no way to the service.
    pub const PROXY: &str = "Proxy";
    /// `code` of a proxy that does not let requests through.
    pub const PROXY_REFUSED: &str = "ProxyRefused";
    /// `code` of a proxy that wants another name and password.
    pub const PROXY_AUTH: &str = "ProxyAuth";
    /// `code` where `ca_file` cannot be used.
    pub const CA_FILE: &str = "CaFile";
    /// `code` where there are no credentials.
    pub const CREDENTIALS: &str = "Credentials";
    /// `code` where there is no region.
    pub const REGION: &str = "Region";
    /// `code` where no request could be made.
    pub const CLIENT: &str = "Client";
    /// `code` of an answer with more or fewer results than there were records.
    pub const WRONG_RESULT_COUNT: &str = "WrongResultCount";
    /// `code` of a record that has neither a sequence number nor an error.
    pub const NO_RESULT: &str = "NoResult";
    /// `code` of a stream, or a shard, that is not there.
    pub const NO_RESOURCE: &str = "ResourceNotFoundException";
    /// `code` of an iterator that has lived for more than 5 minutes.
    pub const EXPIRED_ITERATOR: &str = "ExpiredIteratorException";
    /// `code` of shards that do not have all hash keys.
    pub const RESHARDING: &str = "Resharding";
    /// `code` of answers that lead nowhere.
    pub const NO_PROGRESS: &str = "NoProgress";
    /// `code` of an operation that is not known there.
    pub const UNSUPPORTED: &str = "Unsupported";

    /// What the service has answered to the whole of a request, by name.
    pub fn answered(operation: Operation, code: &str, status: u16, message: &str) -> Self {
        let verdict = of_request(operation.service(), code, status);
        let message = match advice::of_service(operation, code, message) {
            Some(advice) => format!("{message} ({advice})"),
            None => message.to_owned(),
        };
        Self { verdict, code: code.to_owned(), message }
    }

    /// The same failure, of a request in CBOR that is refused, or answered with what cannot be read, where the configuration asks for
    /// CBOR.
    #[must_use]
    pub fn refusing_cbor(self) -> Self {
        Self { message: format!("{} ({})", self.message, advice::OF_CBOR), ..self }
    }

    /// The service will not answer this, however often it is asked.
    pub fn is_refusal(&self) -> bool {
        self.code == Self::UNSUPPORTED || self.code.starts_with("AccessDenied")
    }

    /// A stream of which this was answered cannot be read until a person changes something.
    pub fn is_unreadable(&self) -> bool {
        const CODES: [&str; 9] = [
            "NotAuthorized",
            "OptInRequired",
            "SubscriptionRequiredException",
            Failure::NO_RESOURCE,
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "KMSOptInRequired",
        ];
        self.is_refusal() || CODES.contains(&self.code.as_str())
    }

    /// The service is out of reach, or does not know who is asking: nothing can be sent either.
    pub fn is_out_of_reach(&self) -> bool {
        const CODES: [&str; 11] = [
            Failure::DNS,
            Failure::CONNECTION,
            Failure::CONNECT_TIMEOUT,
            Failure::CERTIFICATE,
            Failure::TLS,
            Failure::PROXY,
            Failure::PROXY_REFUSED,
            Failure::PROXY_AUTH,
            Failure::CA_FILE,
            Failure::CREDENTIALS,
            Failure::REGION,
        ];
        self.verdict == Verdict::Renew || CODES.contains(&self.code.as_str())
    }

    /// There was no answer to what was sent: nothing is learned of the service, not even what time it is there.
    pub fn is_silence(&self) -> bool {
        [Self::TIMEOUT, Self::CONNECTION_LOST].contains(&self.code.as_str())
    }

    /// The service, or what stands in for it, does not know `operation`.
    pub fn unsupported(operation: &str) -> Self {
        let message = format!("{operation} is not known there");
        Self { verdict: Verdict::Pause, code: Self::UNSUPPORTED.to_owned(), message }
    }

    /// An answer that does not have a result for each record; some may have been stored.
    pub fn wrong_result_count(expected: usize, actual: usize) -> Self {
        let message = format!("the answer has {actual} results for {expected} records");
        let verdict = of_client(Self::WRONG_RESULT_COUNT, Sent::Perhaps);
        Self { verdict, code: Self::WRONG_RESULT_COUNT.to_owned(), message }
    }
}

/// Errors of a single record, by name. Those of the two services do not contradict each other.
pub fn of_record(code: &str) -> Verdict {
    look_up(Scope::Record, None, code, 0)
}

/// Errors of a whole request that `service`, or something on the way to it, has answered: by name, and by the status of the
/// answer where the name is none that is known.
pub fn of_request(service: Service, code: &str, status: u16) -> Verdict {
    look_up(Scope::Request, Some(service), code, status)
}

/// Answers to a whole request that are none of the service, by their status.
pub fn of_status(status: u16) -> Verdict {
    look_up(Scope::Request, None, "", status)
}

/// What there was instead of an answer, by one of the names in [`Failure`], of a request of which so much was sent.
pub fn of_client(code: &str, sent: Sent) -> Verdict {
    look_up(Scope::Client, None, code, 0).given(sent)
}

fn look_up(scope: Scope, service: Option<Service>, code: &str, status: u16) -> Verdict {
    let row = ROWS.iter().find(|row| row.is_of(scope, service, code, status));
    // Each scope has a row for everything else; the table's test sees to that.
    row.map_or(Verdict::Uncertain, |row| row.verdict)
}

/// The shard that has refused a record, of the message of its error: "Rate exceeded for shard shardId-000000000001 in stream x
/// under account 123456789012."
pub fn shard_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("for shard ")?;
    let name = rest.split_whitespace().next()?.trim_end_matches(['.', ',']);
    name.starts_with("shardId-").then_some(name)
}

/// Whether a refusal, of [`Verdict::Split`], is about size. Of a single record it means that the record is too large.
///
/// The texts, as far as they are known:
/// - Kinesis and kinesalite, ferrokinesis, moto: "Value at 'records.1.member.data' failed to satisfy constraint: Member must have
///   length less than or equal to 1048576" (KPL issue 680); the same of Firehose with 1024000 (osquery issue 3568);
/// - Kinesis, moto: "Records size exceeds 5 MB limit" (snowplow/enrich issue 685); Firehose: "... 4 MB limit";
/// - ferrokinesis: "Records' total data + partition key payload exceeds 5242880 bytes", "Request body is too large".
pub fn is_about_size(code: &str, message: &str) -> bool {
    // A proxy that says it without a name means its own limit.
    if matches!(code, "RequestEntityTooLargeException" | "RequestEntityTooLarge") {
        return true;
    }
    let is_refusal = matches!(code, "InvalidArgumentException" | "ValidationException" | "SerializationException");
    let text = message.to_ascii_lowercase();
    // Names of members are written as in "data", "Data" or "records.1.member.data"; keys and lists have lengths too.
    let is_data_too_long = text.contains("data'") && text.contains("length less than or equal to");
    let exceeds =
        text.contains("exceed") && ["size", "bytes", " mb", " mib", " kb", " kib"].iter().any(|unit| text.contains(unit));
    is_refusal && (is_data_too_long || exceeds || text.contains("too large"))
}

#[cfg(test)]
mod tests;
