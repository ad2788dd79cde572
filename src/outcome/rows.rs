//! The table: what can happen to a request or a record, and what happens next.

use std::ops::RangeInclusive;

use super::Verdict::{Pause, Renew, Retry, SlowDown, Split, Uncertain};
use super::{Failure, Service, Verdict};
use Which::{Codes, Others, Status};

/// One row. The first that fits counts.
#[derive(Debug)]
pub struct Row {
    /// What it is about.
    pub scope: Scope,
    /// Whose answer it is about; none: of both, or of none.
    pub service: Option<Service>,
    /// Which errors.
    pub which: Which,
    /// What happens next.
    pub verdict: Verdict,
    /// Where that is known from.
    pub source: &'static str,
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One record of a request that was answered record by record.
    Record,
    /// A request that was answered with an error, or not as the service answers.
    Request,
    /// A request that was not answered, or not made.
    Client,
}

/// Which errors a row is about.
#[derive(Debug)]
pub enum Which {
    /// Those of these names.
    Codes(&'static [&'static str]),
    /// Those with such a status, whatever their names.
    Status(RangeInclusive<u16>),
    /// Everything else.
    Others,
}

impl Row {
    /// Whether the row is about such an error.
    pub fn is_of(&self, scope: Scope, service: Option<Service>, code: &str, status: u16) -> bool {
        let is_which = || match &self.which {
            Codes(codes) => codes.contains(&code),
            Status(range) => range.contains(&status),
            Others => true,
        };
        self.scope == scope && (self.service.is_none() || self.service == service) && is_which()
    }
}

const fn record(which: Which, verdict: Verdict, source: &'static str) -> Row {
    Row { scope: Scope::Record, service: None, which, verdict, source }
}

const fn request(which: Which, verdict: Verdict, source: &'static str) -> Row {
    Row { scope: Scope::Request, service: None, which, verdict, source }
}

const fn of_firehose(which: Which, verdict: Verdict, source: &'static str) -> Row {
    Row { scope: Scope::Request, service: Some(Service::Firehose), which, verdict, source }
}

const fn client(which: Which, verdict: Verdict, source: &'static str) -> Row {
    Row { scope: Scope::Client, service: None, which, verdict, source }
}

/// All rows.
pub const ROWS: &[Row] = &[
    // --- One record ---
    record(
        Codes(&["ProvisionedThroughputExceededException"]),
        SlowDown,
        "API reference of PutRecords: the message names account, stream and shard",
    ),
    record(
        Codes(&["ServiceUnavailableException"]),
        SlowDown,
        "API reference of PutRecordBatch: limits may be exceeded; its message is \"Slow down.\" (boto3 issue 2804)",
    ),
    record(
        Codes(&["KMSThrottlingException", "ThrottlingException", "LimitExceededException"]),
        SlowDown,
        "not documented of records; as of requests. ferrokinesis answers LimitExceededException",
    ),
    record(
        Codes(&["InternalFailure", Failure::NO_RESULT]),
        Uncertain,
        "the maintainers of the KPL take any internal failure as an unknown outcome (issue 128 there)",
    ),
    record(Others, Uncertain, "nothing is known of it"),
    // --- A whole request, by name ---
    of_firehose(
        Codes(&["ServiceUnavailableException"]),
        SlowDown,
        "API reference of PutRecordBatch: back off; throughput limits may have been exceeded",
    ),
    request(
        Codes(&["ProvisionedThroughputExceededException", "LimitExceededException", "KMSThrottlingException"]),
        SlowDown,
        "API references of PutRecords, ListShards and GetRecords",
    ),
    request(
        Codes(&[
            "ThrottlingException",
            "Throttling",
            "ThrottledException",
            "RequestThrottledException",
            "RequestThrottled",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "TooManyRequestsException",
            "SlowDown",
        ]),
        SlowDown,
        "common errors of AWS; what the SDK takes for throttling (aws-runtime, retries/classifiers.rs)",
    ),
    request(
        Codes(&["InvalidArgumentException", "ValidationException", "ValidationError", "SerializationException"]),
        Split,
        "API references, common errors of AWS: too large, or something about one of the records; of a question its arguments",
    ),
    request(
        Codes(&["RequestEntityTooLargeException", "RequestEntityTooLarge"]),
        Split,
        "common errors of AWS, status 413: refused by its length",
    ),
    request(
        Codes(&["ExpiredTokenException", "ExpiredToken", "RequestExpired"]),
        Renew,
        "common errors of AWS: the token has expired, or the request was signed more than 15 minutes ago",
    ),
    request(
        Codes(&["UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"]),
        Renew,
        "common errors of AWS: the access key is not known, for instance because it was rotated",
    ),
    request(
        Codes(&["InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AuthFailure"]),
        Renew,
        "common errors of AWS: signed with another secret, or by a clock that is wrong",
    ),
    request(
        Codes(&["AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired", "SubscriptionRequiredException"]),
        Pause,
        "common errors of AWS, API reference of PutRecords; also of the policy of a VPC endpoint",
    ),
    request(
        Codes(&["MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature"]),
        Pause,
        "common errors of AWS: a header was changed on the way",
    ),
    request(Codes(&[Failure::NO_RESOURCE]), Pause, "API references of PutRecords, PutRecordBatch and GetRecords"),
    request(
        Codes(&[
            "KMSAccessDeniedException",
            "KMSDisabledException",
            "KMSInvalidStateException",
            "KMSNotFoundException",
            "KMSOptInRequired",
        ]),
        Pause,
        "API references of PutRecords and GetRecords: the key with which the stream is encrypted cannot be used",
    ),
    request(
        Codes(&["InvalidKMSResourceException", "InvalidSourceException"]),
        Pause,
        "API reference of PutRecordBatch: the key cannot be used; the source is not Direct PUT",
    ),
    request(
        Codes(&["DryRunOperationException", "DryRunOperation"]),
        Pause,
        "API reference of PutRecords: something on the way has made it a dry run, which stores nothing",
    ),
    request(
        Codes(&["UnknownOperationException", "InvalidAction"]),
        Pause,
        "common errors of AWS: another service, or an emulator, has answered",
    ),
    request(
        Codes(&["ResourceInUseException", "ExpiredNextTokenException"]),
        Retry,
        "API reference of ListShards: the stream is not active yet; a list took longer than 300 s",
    ),
    request(
        Codes(&[Failure::EXPIRED_ITERATOR]),
        Retry,
        "API reference of GetRecords: the iterator was made more than 5 minutes ago",
    ),
    request(
        Codes(&["RequestTimeoutException", "RequestTimeout", "MalformedHttpRequestException"]),
        Retry,
        "common errors of AWS: it could not be read to its end, or not as HTTP",
    ),
    request(
        Codes(&[
            "InternalFailure",
            "InternalFailureException",
            "InternalServerError",
            "InternalServerException",
            "InternalError",
        ]),
        Uncertain,
        "the maintainers of the KPL take any internal failure as an unknown outcome (issue 128 there)",
    ),
    request(
        Codes(&["ServiceUnavailable", "ServiceUnavailableException", "RequestAbortedException"]),
        Uncertain,
        "common errors of AWS: nothing is said of what was done until then",
    ),
    // --- A whole request, by the status of the answer ---
    request(Status(200..=299), Uncertain, "a good answer that is empty: its records were stored (aws-sdk-go issue 4149)"),
    request(Status(300..=399), Pause, "RFC 9110: not an answer of the service, which never redirects"),
    request(Status(407..=407), Pause, "RFC 9110: the proxy wants a name and a password"),
    request(Status(408..=408), Retry, "RFC 9110: the request was not complete in time"),
    request(Status(413..=413), Split, "RFC 9110: larger than a proxy, or the service, is willing to take"),
    request(Status(425..=425), Retry, "RFC 8470: not carried out, too early"),
    request(Status(429..=429), SlowDown, "RFC 6585"),
    request(Status(400..=499), Pause, "RFC 9110: refused as it stands. Firewalls answer 403 with a page of HTML"),
    request(Status(511..=511), Pause, "RFC 6585: the network wants a login"),
    request(Status(500..=599), Uncertain, "proxies answer 502, 503 and 504 also when the service did get the request"),
    request(Others, Uncertain, "nothing is known of it"),
    // --- No answer. What was sent decides where it is uncertain ---
    client(
        Codes(&[Failure::DNS, Failure::CONNECTION, Failure::CONNECT_TIMEOUT, Failure::TLS]),
        Retry,
        "without a connection nothing is sent",
    ),
    client(Codes(&[Failure::PROXY]), Retry, "without a way through the proxy nothing is sent"),
    client(
        Codes(&[Failure::CERTIFICATE, Failure::PROXY_AUTH, Failure::PROXY_REFUSED, Failure::CA_FILE]),
        Pause,
        "without a connection nothing is sent, and nobody but a person can change it",
    ),
    client(Codes(&[Failure::CREDENTIALS, Failure::REGION, Failure::CLIENT]), Pause, "without them no request is made"),
    client(
        Codes(&[Failure::TIMEOUT, Failure::CONNECTION_LOST]),
        Uncertain,
        "developer guide, \"Handling duplicate records\": a producer cannot know; unless it was not sent as a whole",
    ),
    client(Codes(&[Failure::WRONG_RESULT_COUNT]), Uncertain, "which of the results are of which records is not known"),
    client(Others, Uncertain, "nothing is known of it"),
];
