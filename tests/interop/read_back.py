"""Reads a whole stream with boto3, takes the aggregates apart with aws-kinesis-agg, and prints one JSON object
for each user record: {"shard_id", "partition_key", "data" (base64), "aggregated"}.

Usage: read_back.py ENDPOINT STREAM
"""

import base64
import json
import sys

import boto3
from aws_kinesis_agg.deaggregator import deaggregate_records


def records_of(client, stream, shard_id):
    """Everything in the shard, from the oldest record on."""
    iterator = client.get_shard_iterator(
        StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    while True:
        answer = client.get_records(ShardIterator=iterator, Limit=1000)
        yield from answer["Records"]
        iterator = answer.get("NextShardIterator")
        if iterator is None or (not answer["Records"] and answer["MillisBehindLatest"] == 0):
            return


def as_lambda_event(record):
    """The shape in which Lambda hands records out. A record without any of these fields would vanish in
    aws-kinesis-agg with no more than a word on stderr, which is why the caller counts."""
    return {
        "eventVersion": "1.0",
        "eventSource": "aws:kinesis",
        "eventName": "aws:kinesis:record",
        "eventID": record["SequenceNumber"],
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            "data": base64.b64encode(record["Data"]),
        },
    }


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def main(endpoint, stream):
    client = boto3.client("kinesis", endpoint_url=endpoint)
    description = client.describe_stream(StreamName=stream)["StreamDescription"]
    assert description["StreamStatus"] == "ACTIVE" and not description["HasMoreShards"], description
    for shard in description["Shards"]:
        shard_id = shard["ShardId"]
        for record in records_of(client, stream, shard_id):
            user_records = deaggregate_records([as_lambda_event(record)])
            assert user_records, f"{record['SequenceNumber']} came to nothing"
            for user_record in user_records:
                fields = user_record["kinesis"]
                print(json.dumps({
                    "shard_id": shard_id,
                    "partition_key": fields["partitionKey"],
                    "data": text(fields["data"]),
                    "aggregated": fields.get("aggregated", False),
                }))


if __name__ == "__main__":
    main(*sys.argv[1:])
