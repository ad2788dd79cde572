"""Reads a whole stream of which the records are encrypted ([flow.encryption]), and prints what is in them: an example
of a reader. Needs boto3 and aws-encryption-sdk, and credentials that may kms:Decrypt with the key.

Usage: decrypt.py STREAM KEY [NAME=VALUE...]
       decrypt.py --file FILE KEY [NAME=VALUE...]

FILE holds records one behind the other, as Firehose writes them into an object of S3.

KEY is the ARN of the key itself, not of an alias: a record tells which key was used, and no other is asked. With pairs, a
record is refused unless its encryption context has them; that binds records to where they should be from.
"""

import io
import sys

import aws_encryption_sdk
import boto3
from aws_encryption_sdk import CommitmentPolicy
from aws_encryption_sdk.caches.local import LocalCryptoMaterialsCache
from aws_encryption_sdk.key_providers.kms import StrictAwsKmsMasterKeyProvider
from aws_encryption_sdk.materials_managers.caching import CachingCryptoMaterialsManager

# How long a data key is kept here that KMS has decrypted. Many records share one: without a cache, each of them is a
# request to KMS.
DATA_KEY_SECONDS = 300.0
DATA_KEYS = 1000


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


class KeptOpen(io.BytesIO):
    """Bytes of several messages: the SDK closes what it has read one message from."""

    def close(self):
        pass


class Reader:
    """Decrypts records that one key of KMS protects."""

    def __init__(self, key_arn, context):
        self.client = aws_encryption_sdk.EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT,
            max_encrypted_data_keys=1,
        )
        self.materials = CachingCryptoMaterialsManager(
            master_key_provider=StrictAwsKmsMasterKeyProvider(key_ids=[key_arn]),
            cache=LocalCryptoMaterialsCache(DATA_KEYS),
            max_age=DATA_KEY_SECONDS,
        )
        self.context = context

    def decrypt(self, data):
        """What is in each of the messages in `data`: one in a record, any number in an object of S3. Whatever is wrong
        with a message is an exception, and nothing of it is returned.

        A plain `client.decrypt(source=data)` would return the first and say nothing of the others."""
        source = KeptOpen(data)
        while source.tell() < len(data):
            with self.client.stream(mode="d", source=source, materials_manager=self.materials) as message:
                plaintext, context = message.read(), message.header.encryption_context
            for name, value in self.context.items():
                if context.get(name) != value:
                    raise ValueError(f"the encryption context has not {name}={value}: {context}")
            yield plaintext


def data_of_stream(stream):
    client = boto3.client("kinesis")
    # Streams of more than 100 shards need ListShards.
    for shard in client.describe_stream(StreamName=stream)["StreamDescription"]["Shards"]:
        for record in records_of(client, stream, shard["ShardId"]):
            yield record["Data"]


def data_of_file(path):
    with open(path, "rb") as file:
        yield file.read()


def main(all_data, key_arn, *pairs):
    reader = Reader(key_arn, dict(pair.split("=", 1) for pair in pairs))
    for data in all_data:
        for plaintext in reader.decrypt(data):
            sys.stdout.buffer.write(plaintext if plaintext.endswith(b"\n") else plaintext + b"\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--file", path, *arguments] if arguments:
            main(data_of_file(path), *arguments)
        case [stream, *arguments] if arguments and stream != "--file":
            main(data_of_stream(stream), *arguments)
        case _:
            sys.exit(__doc__)
