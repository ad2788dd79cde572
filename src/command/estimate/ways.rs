//! The ways of packing that are compared: a flow as it is configured, and as it might be.

use crate::config::{Aggregate, Compression, Destination, Flow};
use crate::hash_key::HashRange;
use crate::stream::{Shard, ShardMap, StreamFacts};

/// `flow`, packed in this way; all else stays as far as it can.
pub(super) fn packed_as(aggregate: Aggregate, flow: &Flow) -> Flow {
    let mut flow = flow.clone();
    if flow.delivery.aggregate == aggregate {
        return flow;
    }
    flow.delivery.aggregate = aggregate;
    match aggregate {
        // No reader would find the records in an aggregate that is compressed or encrypted.
        Aggregate::Kpl => {
            flow.delivery.compress = Compression::None;
            flow.encryption = None;
        }
        Aggregate::Lines if flow.record.terminator.is_empty() => "\n".clone_into(&mut flow.record.terminator),
        // The way of those who put line by line into a delivery stream.
        Aggregate::None if matches!(flow.delivery.destination, Destination::Firehose(_)) => {
            flow.delivery.compress = Compression::None;
        }
        Aggregate::Lines | Aggregate::None => {}
    }
    flow
}

/// What the service would say of `destination` were it a new stream with so many shards.
pub(super) fn facts_of_new(destination: &Destination, shard_count: u64) -> StreamFacts {
    let facts = StreamFacts::before_asking(destination);
    match destination {
        Destination::Kinesis(_) => match shards_of_new(shard_count) {
            Some(shards) => StreamFacts { shards: shards.into(), ..facts },
            None => facts,
        },
        Destination::Firehose(_) => facts,
    }
}

/// So many shards, of the same width but for the last, which has what is left.
fn shards_of_new(shard_count: u64) -> Option<ShardMap> {
    let shard_count = u128::from(shard_count.max(1));
    // 2^128 divided by the count; that itself is one more than there are numbers for.
    let width = (u128::MAX / shard_count).wrapping_add(u128::from(shard_count.is_power_of_two()));
    let shard = |index: u128| {
        let end = if index + 1 == shard_count { u128::MAX } else { (index + 1) * width - 1 };
        Shard { id: format!("shardId-{index:012}").into(), range: HashRange { start: index * width, end } }
    };
    ShardMap::of((0..shard_count).map(shard).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn flow(settings: &str) -> Flow {
        let text = format!("[[flow]]\nname = 'f'\nfiles = '/a'\n{settings}");
        Config::parse(&text, "test").unwrap_or_else(|mistakes| panic!("{mistakes}")).flows.remove(0)
    }

    #[test]
    fn each_way_is_one_that_could_be_configured() {
        let key = "[flow.encryption]\nkms_key = 'arn:aws:kms:us-east-1:111122223333:alias/logs'\n";
        let gzip = format!("[flow.kinesis]\nstream = 's'\naggregate = 'none'\ncompress = 'gzip'\n{key}");
        let joined = "[flow.kinesis]\nstream = 's'\naggregate = 'lines'\n[flow.record]\nterminator = '|'\n";
        let firehose = format!("[flow.firehose]\ndelivery_stream = 'd'\ncompress = 'zstd'\n{key}");
        for (settings, aggregate, compress, terminator, is_encrypted) in [
            ("[flow.kinesis]\nstream = 's'\n", Aggregate::Kpl, Compression::None, "", false),
            ("[flow.kinesis]\nstream = 's'\n", Aggregate::Lines, Compression::None, "\n", false),
            ("[flow.kinesis]\nstream = 's'\n", Aggregate::None, Compression::None, "", false),
            (&gzip, Aggregate::Kpl, Compression::None, "", false),
            (&gzip, Aggregate::Lines, Compression::Gzip, "\n", true),
            (&gzip, Aggregate::None, Compression::Gzip, "", true),
            (joined, Aggregate::Lines, Compression::None, "|", false),
            (joined, Aggregate::None, Compression::None, "|", false),
            (&firehose, Aggregate::Lines, Compression::Zstd, "\n", true),
            (&firehose, Aggregate::None, Compression::None, "\n", true),
        ] {
            let Flow { delivery, record, encryption, .. } = packed_as(aggregate, &flow(settings));
            assert_eq!(delivery.aggregate, aggregate);
            assert_eq!((delivery.compress, record.terminator.as_str()), (compress, terminator), "{settings}");
            assert_eq!(encryption.is_some(), is_encrypted, "{settings}");
        }
    }

    #[test]
    fn a_new_stream_has_shards_of_the_same_width() {
        let stream = Destination::Kinesis("s".to_owned());
        // The borders of three are those that the service gives a new stream.
        let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
        for (shard_count, starts) in [
            (0, vec![0]),
            (1, vec![0]),
            (2, vec![0, 1 << 127]),
            (3, vec![0, third, 2 * third]),
            (4, vec![0, 1 << 126, 1 << 127, 3 << 126]),
        ] {
            let shards = facts_of_new(&stream, shard_count).shards;
            assert_eq!(shards.ranges().iter().map(|range| range.start).collect::<Vec<_>>(), starts);
        }
        assert_eq!(facts_of_new(&stream, 1_000).shards.range_count(), 1_000);
        assert_eq!(facts_of_new(&Destination::Firehose("d".to_owned()), 7).shards.range_count(), 1);
    }
}
