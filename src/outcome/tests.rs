use super::*;

/// What the API references, the SDK and the issues that were found say, written without a look at the table.
const EXPECTED_OF_REQUESTS: &[(Service, &str, u16, Verdict)] = &[
    (Service::Kinesis, "ProvisionedThroughputExceededException", 400, Verdict::SlowDown),
    (Service::Kinesis, "ThrottlingException", 400, Verdict::SlowDown),
    (Service::Kinesis, "KMSThrottlingException", 400, Verdict::SlowDown),
    (Service::Kinesis, "LimitExceededException", 400, Verdict::SlowDown),
    (Service::Kinesis, "TooManyRequests", 429, Verdict::SlowDown),
    (Service::Kinesis, "ResourceNotFoundException", 400, Verdict::Pause),
    (Service::Kinesis, "ResourceInUseException", 400, Verdict::Retry),
    (Service::Kinesis, "ExpiredIteratorException", 400, Verdict::Retry),
    (Service::Kinesis, "AccessDeniedException", 400, Verdict::Pause),
    (Service::Kinesis, "AccessDeniedException", 403, Verdict::Pause),
    (Service::Kinesis, "KMSAccessDeniedException", 400, Verdict::Pause),
    (Service::Kinesis, "KMSDisabledException", 400, Verdict::Pause),
    (Service::Kinesis, "KMSInvalidStateException", 400, Verdict::Pause),
    (Service::Kinesis, "KMSNotFoundException", 400, Verdict::Pause),
    (Service::Kinesis, "KMSOptInRequired", 400, Verdict::Pause),
    (Service::Kinesis, "DryRunOperationException", 400, Verdict::Pause),
    (Service::Kinesis, "UnknownOperationException", 404, Verdict::Pause),
    (Service::Kinesis, "InvalidArgumentException", 400, Verdict::Split),
    (Service::Kinesis, "ValidationException", 400, Verdict::Split),
    (Service::Kinesis, "SerializationException", 400, Verdict::Split),
    (Service::Kinesis, "RequestEntityTooLargeException", 413, Verdict::Split),
    (Service::Kinesis, "Http413", 413, Verdict::Split),
    (Service::Kinesis, "ExpiredTokenException", 400, Verdict::Renew),
    (Service::Kinesis, "ExpiredToken", 403, Verdict::Renew),
    (Service::Kinesis, "UnrecognizedClientException", 400, Verdict::Renew),
    (Service::Kinesis, "InvalidClientTokenId", 403, Verdict::Renew),
    (Service::Kinesis, "RequestExpired", 400, Verdict::Renew),
    (Service::Kinesis, "InvalidSignatureException", 400, Verdict::Renew),
    (Service::Kinesis, "MissingAuthenticationToken", 403, Verdict::Pause),
    (Service::Kinesis, "InternalFailure", 500, Verdict::Uncertain),
    (Service::Kinesis, "InternalFailureException", 500, Verdict::Uncertain),
    (Service::Kinesis, "ServiceUnavailable", 503, Verdict::Uncertain),
    (Service::Kinesis, "ServiceUnavailableException", 503, Verdict::Uncertain),
    (Service::Kinesis, "RequestTimeoutException", 408, Verdict::Retry),
    (Service::Kinesis, "NeverHeardOf", 400, Verdict::Pause),
    (Service::Kinesis, "NeverHeardOf", 500, Verdict::Uncertain),
    (Service::Kinesis, "NeverHeardOf", 0, Verdict::Uncertain),
    (Service::Kinesis, "Http200", 200, Verdict::Uncertain),
    (Service::Kinesis, "Http302", 302, Verdict::Pause),
    (Service::Kinesis, "Http403", 403, Verdict::Pause),
    (Service::Kinesis, "Http407", 407, Verdict::Pause),
    (Service::Kinesis, "Http408", 408, Verdict::Retry),
    (Service::Kinesis, "Http429", 429, Verdict::SlowDown),
    (Service::Kinesis, "Http502", 502, Verdict::Uncertain),
    (Service::Kinesis, "Http503", 503, Verdict::Uncertain),
    (Service::Kinesis, "Http504", 504, Verdict::Uncertain),
    (Service::Firehose, "ServiceUnavailableException", 503, Verdict::SlowDown),
    (Service::Firehose, "ServiceUnavailable", 503, Verdict::Uncertain),
    (Service::Firehose, "ResourceNotFoundException", 400, Verdict::Pause),
    (Service::Firehose, "InvalidSourceException", 400, Verdict::Pause),
    (Service::Firehose, "InvalidKMSResourceException", 400, Verdict::Pause),
    (Service::Firehose, "InvalidArgumentException", 400, Verdict::Split),
    (Service::Firehose, "Http503", 503, Verdict::Uncertain),
];

#[test]
fn each_answer_has_its_verdict() {
    for (service, code, status, verdict) in EXPECTED_OF_REQUESTS {
        assert_eq!(of_request(*service, code, *status), *verdict, "{service:?} {code} {status}");
    }
    for (code, verdict) in [
        ("ProvisionedThroughputExceededException", Verdict::SlowDown),
        ("ServiceUnavailableException", Verdict::SlowDown),
        ("InternalFailure", Verdict::Uncertain),
        (Failure::NO_RESULT, Verdict::Uncertain),
        ("NeverHeardOf", Verdict::Uncertain),
    ] {
        assert_eq!(of_record(code), verdict, "{code}");
    }
}

#[test]
fn without_an_answer_what_was_sent_decides() {
    for (code, not_whole, perhaps) in [
        (Failure::TIMEOUT, Verdict::Retry, Verdict::Uncertain),
        (Failure::CONNECTION_LOST, Verdict::Retry, Verdict::Uncertain),
        ("NeverHeardOf", Verdict::Retry, Verdict::Uncertain),
        (Failure::DNS, Verdict::Retry, Verdict::Retry),
        (Failure::CONNECTION, Verdict::Retry, Verdict::Retry),
        (Failure::CONNECT_TIMEOUT, Verdict::Retry, Verdict::Retry),
        (Failure::CERTIFICATE, Verdict::Pause, Verdict::Pause),
        (Failure::CREDENTIALS, Verdict::Pause, Verdict::Pause),
        (Failure::REGION, Verdict::Pause, Verdict::Pause),
    ] {
        for (sent, verdict) in [(Sent::Nothing, not_whole), (Sent::Partly, not_whole), (Sent::Perhaps, perhaps)] {
            assert_eq!(of_client(code, sent), verdict, "{code} {sent:?}");
        }
    }
    assert_eq!(of_status(502).given(Sent::Partly), Verdict::Retry);
    assert_eq!(of_status(413).given(Sent::Partly), Verdict::Split);
}

/// No row stands behind one that is about all that it is about, so that each decides something.
#[test]
fn each_row_decides() {
    for (index, row) in ROWS.iter().enumerate() {
        let errors: Vec<(&str, u16)> = match &row.which {
            Which::Codes(codes) => codes.iter().map(|code| (*code, 0)).collect(),
            Which::Status(range) => range.clone().map(|status| ("NeverHeardOf", status)).collect(),
            Which::Others => vec![("NeverHeardOf", 0)],
        };
        let service = match row.scope {
            Scope::Request => Some(row.service.unwrap_or(Service::Kinesis)),
            Scope::Record | Scope::Client => row.service,
        };
        let decides = |(code, status): &(&str, u16)| {
            ROWS.iter().position(|row| row.is_of(row.scope, service, code, *status) && row.scope == ROWS[index].scope)
                == Some(index)
        };
        match row.which {
            Which::Codes(_) => assert!(errors.iter().all(decides), "{row:?}"),
            // Those within others have their own rows.
            Which::Status(_) | Which::Others => assert!(errors.iter().any(decides), "{row:?}"),
        }
        assert!(!row.source.is_empty(), "{row:?}");
    }
}

#[test]
fn there_is_a_row_for_everything() {
    for scope in [Scope::Record, Scope::Request, Scope::Client] {
        let last = ROWS.iter().rfind(|row| row.scope == scope).unwrap();
        assert!(matches!(last.which, Which::Others) && last.service.is_none(), "{last:?}");
        assert_eq!(last.verdict, Verdict::Uncertain, "what is not known is not taken for harmless");
    }
}

#[test]
fn a_throttle_names_its_shard() {
    for (message, shard) in [
        ("Rate exceeded for shard shardId-000000000001 in stream x under account 123456789012.", Some("shardId-000000000001")),
        ("Rate exceeded for shard shardId-000000000012.", Some("shardId-000000000012")),
        ("Rate exceeded for shard shardId-000000000001 in stream for shard shardId-2", Some("shardId-000000000001")),
        ("Rate exceeded for shard", None),
        ("Rate exceeded for shard ", None),
        ("Rate exceeded for shard of stream x", None),
        ("Slow down.", None),
        ("", None),
    ] {
        assert_eq!(shard_in(message), shard, "{message}");
    }
}

#[test]
fn refusals_for_the_sake_of_size_are_told_from_others() {
    let too_long = "1 validation error detected: Value at 'records.1.member.data' failed to satisfy constraint: Member must have \
                    length less than or equal to 1048576";
    let of_heap = "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=2757283 cap=2757283]' at \
                   'records.97.member.data' failed to satisfy constraint: Member must have length less than or equal to 1024000";
    for (code, message) in [
        ("ValidationException", too_long),
        ("ValidationException", of_heap),
        ("InvalidArgumentException", "Records size exceeds 5 MB limit"),
        ("InvalidArgumentException", "Records size exceeds 4 MB limit"),
        ("InvalidArgumentException", "Records' total data + partition key payload exceeds 5242880 bytes"),
        ("SerializationException", "Request body is too large"),
        ("RequestEntityTooLargeException", ""),
    ] {
        assert!(is_about_size(code, message), "{code}: {message}");
    }
    for (code, message) in [
        (
            "ValidationException",
            "1 validation error detected: Value 'kkk' at 'records.1.member.partitionKey' failed to satisfy constraint: Member must \
             have length less than or equal to 256",
        ),
        (
            "ValidationException",
            "1 validation error detected: Value '[...]' at 'records' failed to satisfy constraint: Member must have length less \
             than or equal to 500",
        ),
        ("InvalidArgumentException", "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]."),
        ("SerializationException", ""),
        ("ProvisionedThroughputExceededException", "Rate exceeded, too large, size exceeds 5 MB"),
        ("Http403", "HTTP status 403"),
    ] {
        assert!(!is_about_size(code, message), "{code}: {message}");
    }
}

#[test]
fn a_failure_says_what_the_operator_can_do() {
    let said = |operation, code, message| Failure::answered(operation, code, 400, message).to_string();
    for (operation, code, message, advice) in [
        (
            Operation::PutRecords,
            "ResourceNotFoundException",
            "Stream x not found",
            "check `stream` and `region`, or create the stream",
        ),
        (
            Operation::PutRecordBatch,
            "ResourceNotFoundException",
            "Firehose x not found",
            "check `delivery_stream` and `region`, or create the delivery stream",
        ),
        (Operation::PutRecords, "AccessDeniedException", "no", "the credentials need kinesis:PutRecords on the stream"),
        (Operation::ListShards, "AccessDeniedException", "no", "the credentials need kinesis:ListShards on the stream"),
        (Operation::GetRecords, "AccessDeniedException", "no", "the credentials need kinesis:GetRecords on the stream"),
        (
            Operation::GetShardIterator,
            "AccessDeniedException",
            "no",
            "the credentials need kinesis:GetShardIterator on the stream",
        ),
        (Operation::GetRecords, "KMSAccessDeniedException", "no", "the credentials need kms:Decrypt on the key of the stream"),
        (
            Operation::PutRecordBatch,
            "AccessDeniedException",
            "no",
            "the credentials need firehose:PutRecordBatch on the delivery stream",
        ),
        (
            Operation::PutRecords,
            "AccessDeniedException",
            "because no VPC endpoint policy allows the kinesis:PutRecords action",
            "the policy of the VPC endpoint has to allow kinesis:PutRecords",
        ),
        (
            Operation::PutRecords,
            "KMSAccessDeniedException",
            "no",
            "the credentials need kms:GenerateDataKey on the key of the stream",
        ),
        (Operation::PutRecordBatch, "InvalidSourceException", "no", "the source of the delivery stream must be Direct PUT"),
    ] {
        assert_eq!(said(operation, code, message), format!("{code}: {message} ({advice})"));
    }
    assert_eq!(said(Operation::PutRecords, "ValidationException", "no"), "ValidationException: no");
    let failure = Failure { verdict: Verdict::Pause, code: Failure::REGION.to_owned(), message: "none".to_owned() };
    assert_eq!(failure.to_string(), "Region: none (set `region` in [aws], or AWS_REGION)");
}

#[test]
fn what_cannot_be_read_is_told_from_what_cannot_be_reached() {
    let failure = |code: &str| Failure::answered(Operation::GetRecords, code, 400, "no");
    for (code, is_unreadable, is_out_of_reach) in [
        ("AccessDeniedException", true, false),
        ("KMSDisabledException", true, false),
        ("ResourceNotFoundException", true, false),
        ("KMSThrottlingException", false, false),
        ("ProvisionedThroughputExceededException", false, false),
        ("InternalFailure", false, false),
        ("ExpiredTokenException", false, true),
        (Failure::DNS, false, true),
        (Failure::TIMEOUT, false, false),
        (Failure::UNSUPPORTED, true, false),
    ] {
        assert_eq!((failure(code).is_unreadable(), failure(code).is_out_of_reach()), (is_unreadable, is_out_of_reach), "{code}");
    }
}
