use aws_sdk_kinesis::types::{HashKeyRange, PutRecordsResultEntry, SequenceNumberRange};

use super::*;
use crate::outcome::Verdict;

fn listed(id: &str, end: &str, ending_sequence_number: Option<&str>) -> types::Shard {
    let range = HashKeyRange::builder().starting_hash_key("0").ending_hash_key(end).build().unwrap();
    let numbers = SequenceNumberRange::builder().starting_sequence_number("1");
    let numbers = numbers.set_ending_sequence_number(ending_sequence_number.map(str::to_owned)).build().unwrap();
    types::Shard::builder().shard_id(id).hash_key_range(range).sequence_number_range(numbers).build().unwrap()
}

#[test]
fn shards_that_were_split_or_merged_are_no_shards_to_send_to() {
    let open = Shard { id: "shardId-1".into(), range: HashRange { start: 0, end: 9 } };
    for (listed, expected) in [
        (listed("shardId-1", "9", None), Some(open)),
        (listed("shardId-1", "9", Some("2")), None),
        (listed("shardId-1", "nine", None), None),
    ] {
        assert_eq!(open_shard(&listed), expected, "{listed:?}");
    }
}

#[test]
fn each_record_has_its_result() {
    let throttled = "Rate exceeded for shard shardId-000000000001 in stream s under account 1.";
    let entry = PutRecordsResultEntry::builder;
    let output = PutRecordsOutput::builder()
        .records(entry().sequence_number("1").shard_id("shardId-000000000000").build())
        .records(entry().error_code("ProvisionedThroughputExceededException").error_message(throttled).build())
        .records(entry().error_code("InternalFailure").error_message("Internal service failure.").build())
        // Neither is said: it may have been stored.
        .records(entry().build())
        .records(entry().sequence_number("").build());
    let failed = |code: &str, message: &str, shard_id: Option<&str>| RecordResult::Failed {
        code: code.to_owned(),
        message: message.to_owned(),
        shard_id: shard_id.map(str::to_owned),
    };
    let expected = [
        RecordResult::Delivered { shard_id: Some("shardId-000000000000".to_owned()) },
        failed("ProvisionedThroughputExceededException", throttled, Some("shardId-000000000001")),
        failed("InternalFailure", "Internal service failure.", None),
        failed(Failure::NO_RESULT, "", None),
        failed(Failure::NO_RESULT, "", None),
    ];
    assert_eq!(results(output.build().unwrap()), expected);
}

#[test]
fn a_question_is_never_uncertain_and_perhaps_not_known() {
    let asked = |code: &str, status| {
        let failure = Failure::answered(Operation::ListShards, code, status, "no");
        let Failure { verdict, code, .. } = of_question(Operation::ListShards, failure);
        (verdict, code)
    };
    assert_eq!(asked("InternalFailure", 500), (Verdict::Retry, "InternalFailure".to_owned()));
    assert_eq!(asked("AccessDeniedException", 400), (Verdict::Pause, "AccessDeniedException".to_owned()));
    for (code, status) in [("UnknownOperationException", 400), ("Http404", 404), ("Http501", 501)] {
        assert_eq!(asked(code, status), (Verdict::Pause, Failure::UNSUPPORTED.to_owned()), "{code}");
    }
}
