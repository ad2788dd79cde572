use aws_sdk_kinesis::types::{HashKeyRange, SequenceNumberRange};

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
