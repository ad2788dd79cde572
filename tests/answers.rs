//! Whatever is answered, or not answered: every line arrives, and those that may be there twice are counted, no more and no less.
//! Where the stream may be read, none is there twice.
#![allow(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::Answer::{ByRecord, Cut, LostAfterBody, LostAfterHead, LostWithBody, Never, Refused, Results, Stored};
use common::{Agent, Answer, Fate, Place, Reading, Received, Scripted, error, line, lines, wire};
use kinetail::outcome::{Failure, Verdict};
use kinetail::readback::{Position, Reader as _, StoredRecord};
use kinetail::sender::kinesis::Stream;
use kinetail::sender::{Destination as _, Summary};
use serde_json::{Value, json};

const TO_KINESIS: &str = "[flow.kinesis]\nstream = \"s\"\naggregate = \"none\"\nmax_delay = \"20 ms\"\n";
const TO_FIREHOSE: &str = "[flow.firehose]\ndelivery_stream = \"s\"\nmax_delay = \"20 ms\"\n";

/// How many records are counted as possibly doubled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doubled {
    None,
    /// All of the first request.
    All,
    /// So many.
    Some(usize),
}

/// One story: what is answered first, and who may read; what is counted then, and whether that many are in the stream twice.
struct Story {
    answers: Vec<Answer>,
    reading: Reading,
    doubled: Doubled,
    are_doubled: bool,
}

fn story(answers: impl Into<Vec<Answer>>, doubled: Doubled, are_doubled: bool) -> Story {
    Story { answers: answers.into(), reading: Reading::Unknown, doubled, are_doubled }
}

/// The same where the stream may be read: nothing is there twice.
fn readable(answers: impl Into<Vec<Answer>>) -> Story {
    Story { reading: Reading::Allowed, ..story(answers, Doubled::None, false) }
}

fn place(service: &Scripted, destination: &str, more_aws: &str) -> Place {
    let (place, url) = (Place::new(), service.url());
    let aws = format!("endpoints.kinesis = {url:?}\nendpoints.firehose = {url:?}\n{more_aws}\n");
    // With less, large requests would be divided before they are full.
    place.configure_all(
        "settle = \"50 ms\"\nmemory_max = \"160 MiB\"",
        &aws,
        &format!("[[flow]]\nname = \"f\"\nfiles = [\"LOGS/*.log\"]\n{destination}"),
    );
    place
}

/// The lines of all records, which in those of Firehose end with newlines.
fn lines_of(received: &[Received]) -> Vec<String> {
    received.iter().flat_map(|record| record.text().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Tells the story with `sent`, which is few enough for one request. Returns what was looked up, and the log.
fn tell(destination: &str, more_aws: &str, sent: &[String], story: Story) -> (usize, String) {
    let Story { answers, reading, doubled, are_doubled } = story;
    let name = format!("{answers:?}");
    let service = Scripted::start(answers);
    service.allow(reading);
    let place = place(&service, destination, more_aws);
    place.append("a.log", sent);
    let agent = place.run(&[]);
    let figures = agent.wait_settled(place.byte_count("a.log"));
    let log = agent.stop().stderr;
    let stored = service.take();
    let received = lines_of(&stored);
    assert_eq!(received.iter().collect::<BTreeSet<_>>(), sent.iter().collect(), "{name}");
    let doubled = match doubled {
        Doubled::None => 0,
        Doubled::All => service.requests()[0],
        Doubled::Some(count) => count,
    };
    assert_eq!(figures.sum("kinetail_possibly_doubled_records_total"), doubled, "{name}");
    assert_eq!(received.len() > sent.len(), are_doubled, "{name}");
    let delivered = figures.sum("kinetail_delivered_records_total");
    assert_eq!(stored.len() - delivered, if are_doubled { doubled } else { 0 }, "{name}");
    (figures.sum("kinetail_looked_up_records_total"), log)
}

fn tell_all(destination: &str, stories: Vec<Story>) {
    for story in stories {
        tell(destination, "", &lines("a", 10), story);
    }
}

fn html(status: u16) -> Answer {
    Refused(status, "<html><body>this is the proxy</body></html>".to_owned())
}

/// What was surely not stored is sent again, and nothing counts as doubled.
#[test]
fn what_was_surely_not_stored() {
    let refused = |code: &str, status| Refused(status, error(code, "no"));
    tell_all(
        TO_KINESIS,
        vec![
            story([], Doubled::None, false),
            story([refused("ProvisionedThroughputExceededException", 400)], Doubled::None, false),
            story([refused("ThrottlingException", 400), html(429)], Doubled::None, false),
            story([refused("ExpiredTokenException", 400)], Doubled::None, false),
            story([refused("RequestTimeoutException", 408)], Doubled::None, false),
            // Too large as a whole.
            story([html(413)], Doubled::None, false),
            story([refused("InvalidArgumentException", 400)], Doubled::None, false),
        ],
    );
}

/// What may have been stored is sent again, and counts, whether it was stored or not.
#[test]
fn what_may_have_been_stored() {
    let stored = |code: &str, status| Stored(status, error(code, "no"));
    tell_all(
        TO_KINESIS,
        vec![
            story([Stored(200, String::new())], Doubled::All, true),
            story([Results(-1)], Doubled::All, true),
            story([Results(1)], Doubled::All, true),
            story([Cut], Doubled::All, true),
            story([LostAfterBody], Doubled::All, true),
            story([stored("InternalFailure", 500)], Doubled::All, true),
            story([stored("ServiceUnavailable", 503)], Doubled::All, true),
            story([html(503)], Doubled::All, false),
            story([html(502)], Doubled::All, false),
            story([LostWithBody], Doubled::All, false),
        ],
    );
}

/// Where the stream may be read it says what was stored, and every line is there once.
#[test]
fn what_may_have_been_stored_is_looked_up() {
    let stored = |code: &str, status| Stored(status, error(code, "no"));
    for (answers, record_count) in [
        (vec![LostAfterBody], 10),
        (vec![LostWithBody], 10),
        (vec![stored("InternalFailure", 500)], 10),
        (vec![stored("ServiceUnavailable", 503)], 10),
        (vec![html(502)], 10),
        (vec![Stored(200, String::new())], 10),
        (vec![Cut], 10),
        (vec![Results(1)], 10),
        // Not stored by the first attempt, and by the second.
        (vec![LostWithBody, LostAfterBody], 20),
        (vec![ByRecord(vec![Fate::Stored, FAILED, FAILED_AND_STORED, THROTTLED, Fate::Stored])], 4),
        (vec![], 0),
    ] {
        let name = format!("{answers:?}");
        let (looked_up, _) = tell(TO_KINESIS, "", &lines("a", 10), readable(answers));
        assert_eq!(looked_up, record_count, "{name}");
    }
    let (looked_up, _) = tell(TO_KINESIS, "attempt_timeout = \"1 s\"", &lines("a", 10), readable([Never]));
    assert_eq!(looked_up, 10);
}

/// Where it may not, that is said once, and what may have been stored counts.
#[test]
fn a_stream_that_may_not_be_read() {
    let answers = [LostAfterBody, Cut, LostAfterBody];
    let denied = Story { reading: Reading::Denied, ..story(answers, Doubled::Some(30), true) };
    let (looked_up, log) = tell(TO_KINESIS, "", &lines("a", 10), denied);
    assert_eq!(looked_up, 0);
    assert_eq!(log.matches("the stream may not be read").count(), 1, "{log}");
    assert!(log.contains("kinesis:GetShardIterator on the stream"), "{log}");
}

const THROTTLED: Fate = Fate::Failed(
    "ProvisionedThroughputExceededException",
    "Rate exceeded for shard shardId-000000000000 in stream s under account 1.",
    false,
);
const FAILED: Fate = Fate::Failed("InternalFailure", "Internal service failure.", false);
const FAILED_AND_STORED: Fate = Fate::Failed("InternalFailure", "Internal service failure.", true);

/// Only the records that failed are sent again, and count by why they did.
#[test]
fn records_that_fail() {
    tell_all(
        TO_KINESIS,
        vec![
            story([ByRecord(vec![Fate::Stored, THROTTLED])], Doubled::None, false),
            story([ByRecord(vec![THROTTLED])], Doubled::None, false),
            story([ByRecord(vec![Fate::Stored, FAILED, THROTTLED, THROTTLED, THROTTLED])], Doubled::Some(2), false),
            story(
                [ByRecord(vec![Fate::Stored, Fate::Stored, Fate::Stored, Fate::Stored, FAILED_AND_STORED])],
                Doubled::Some(2),
                true,
            ),
        ],
    );
}

/// Firehose has other names for the same things.
#[test]
fn answers_of_firehose() {
    let slow_down = Fate::Failed("ServiceUnavailableException", "Slow down.", false);
    tell_all(
        TO_FIREHOSE,
        vec![
            story([], Doubled::None, false),
            story([Refused(503, error("ServiceUnavailableException", "no"))], Doubled::None, false),
            story([ByRecord(vec![slow_down])], Doubled::None, false),
            story([ByRecord(vec![FAILED_AND_STORED])], Doubled::All, true),
            story([Stored(500, error("InternalFailure", "no"))], Doubled::All, true),
            story([Stored(200, String::new())], Doubled::All, true),
            story([LostAfterBody], Doubled::All, true),
            story([Results(1)], Doubled::All, true),
            story([html(503)], Doubled::All, false),
        ],
    );
}

/// A request that has surely not left as a whole was not stored.
#[test]
fn a_connection_lost_in_the_middle_of_a_request() {
    // In the one request of these, 5.1 MB, there is more than the buffers of the system for a connection take, 4 MiB. Of each of 16
    // ranges of hash keys one may go at once.
    let sent: Vec<String> = (0..5).map(|number| line("a", number, 1_030_000)).collect();
    tell(&TO_KINESIS.replace("20 ms", "1 s"), "", &sent, story([LostAfterHead], Doubled::None, false));
}

/// Records go to Kinesis in CBOR, to Firehose in JSON, and as the configuration says.
#[test]
fn records_go_in_the_format_that_is_configured() {
    for (destination, aws, is_cbor) in [
        (TO_KINESIS, "", true),
        (TO_KINESIS, "wire = \"cbor\"", true),
        (TO_KINESIS, "wire = \"json\"", false),
        (TO_FIREHOSE, "", false),
        (TO_FIREHOSE, "wire = \"cbor\"", false),
    ] {
        let service = Scripted::start(Vec::new());
        let place = place(&service, destination, aws);
        let sent = lines("a \"quoted\" é", 10);
        place.append("a.log", &sent);
        place.ship_once();
        let request_count = service.requests().len();
        assert_eq!(service.cbor_request_count(), if is_cbor { request_count } else { 0 }, "{destination}{aws}");
        assert_eq!(lines_of(&service.take()).iter().collect::<BTreeSet<_>>(), sent.iter().collect());
    }
}

/// A service that does not know CBOR gets the same records in JSON, at once where it says that it has stored nothing; from then on
/// in JSON alone, which is said once, and nothing is doubled.
#[test]
fn a_service_that_does_not_know_cbor() {
    for (status, body) in [
        (400, error("SerializationException", "no")),
        (404, error("UnknownOperationException", "")),
        (400, error("InvalidSignatureException", "no")),
        (415, String::new()),
        (403, "<html><body>this is the firewall</body></html>".to_owned()),
    ] {
        let service = Scripted::start(Vec::new());
        service.refuse_cbor(status, body.clone());
        let place = place(&service, TO_KINESIS, "");
        let mut sent = lines("a", 10);
        place.append("a.log", &sent);
        let agent = place.run(&[]);
        agent.wait_settled(place.byte_count("a.log"));
        let more = lines("b", 10);
        place.append("a.log", &more);
        sent.extend(more);
        let figures = agent.wait_settled(place.byte_count("a.log"));
        let log = agent.stop().stderr;
        assert_eq!(service.cbor_request_count(), 1, "{body}");
        assert_eq!(log.matches("records are sent in JSON from now on").count(), 1, "{log}");
        assert_eq!(figures.sum("kinetail_possibly_doubled_records_total"), 0, "{body}");
        let mut received = lines_of(&service.take());
        received.sort_unstable();
        sent.sort_unstable();
        assert_eq!(received, sent, "{body}");
    }
}

/// One that breaks down over it gets JSON after a few tries; nothing is there twice, where that can be looked up.
#[test]
fn a_service_that_breaks_down_over_cbor() {
    let service = Scripted::start(Vec::new());
    service.refuse_cbor(500, "<html><body>Internal Server Error</body></html>".to_owned());
    service.allow(Reading::Allowed);
    let place = place(&service, TO_KINESIS, "");
    let mut sent = Vec::new();
    let agent = place.run(&[]);
    for turn in 0..6 {
        let more = lines(&format!("turn {turn}"), 10);
        place.append("a.log", &more);
        sent.extend(more);
        agent.wait_settled(place.byte_count("a.log"));
    }
    let figures = agent.figures();
    let log = agent.stop().stderr;
    assert!(service.cbor_request_count() <= 3, "{}", service.cbor_request_count());
    assert_eq!(log.matches("records are sent in JSON from now on").count(), 1, "{log}");
    assert_eq!(figures.sum("kinetail_possibly_doubled_records_total"), 0);
    let mut received = lines_of(&service.take());
    received.sort_unstable();
    sent.sort_unstable();
    assert_eq!(received, sent);
}

/// Who asks for CBOR alone is told what is wrong.
#[test]
fn a_service_that_does_not_know_the_cbor_that_it_is_to_know() {
    let service = Scripted::start(Vec::new());
    service.refuse_cbor(404, error("UnknownOperationException", ""));
    let place = place(&service, TO_KINESIS, "wire = \"cbor\"");
    place.append("a.log", &lines("a", 10));
    let agent = place.run(&[]);
    wait_paused(&agent, "the service may not know CBOR");
    agent.stop();
    assert_eq!(service.cbor_request_count(), service.requests().len());
    assert!(service.take().is_empty());
}

/// A request that is not answered in time may have been stored.
#[test]
fn a_request_that_is_not_answered() {
    let aws = "attempt_timeout = \"1 s\"";
    tell(TO_KINESIS, aws, &lines("a", 10), story([Never], Doubled::All, true));
    tell(TO_KINESIS, aws, &lines("a", 10), story([Answer::Late(Duration::from_millis(300))], Doubled::None, false));
}

fn wait_paused(agent: &Agent, reason: &str) {
    let health = agent.wait_health(503);
    assert!(health.contains("\"state\":\"paused\"") && health.contains(reason), "no {reason:?} in {health}");
}

/// What it takes a person to change is said, and the flow goes on when it was changed.
#[test]
fn what_it_takes_a_person_to_change() {
    for (destination, status, code, reason) in [
        (TO_KINESIS, 400, "AccessDeniedException", "the credentials need kinesis:PutRecords on the stream"),
        (TO_KINESIS, 400, "ResourceNotFoundException", "check `stream` and `region`, or create the stream"),
        (TO_KINESIS, 400, "KMSDisabledException", "check the KMS key of the stream"),
        (TO_KINESIS, 403, "", "HTTP status 403"),
        (TO_FIREHOSE, 400, "AccessDeniedException", "the credentials need firehose:PutRecordBatch on the delivery stream"),
        (TO_FIREHOSE, 400, "ResourceNotFoundException", "check `delivery_stream` and `region`"),
        (TO_FIREHOSE, 400, "InvalidSourceException", "Direct PUT"),
        (TO_FIREHOSE, 400, "InvalidKMSResourceException", "check the KMS key of the delivery stream"),
    ] {
        let service = Scripted::start(Vec::new());
        service.stand(if code.is_empty() { html(status) } else { Refused(status, error(code, "no")) });
        let place = place(&service, destination, "");
        let sent = lines("a", 10);
        place.append("a.log", &sent);
        let agent = place.run(&[]);
        wait_paused(&agent, reason);
        service.stand(Answer::Well);
        let figures = agent.wait_settled(place.byte_count("a.log"));
        agent.wait_health(200);
        agent.stop();
        assert_eq!(figures.sum("kinetail_possibly_doubled_records_total"), 0, "{code}");
        let mut received = lines_of(&service.take());
        received.sort_unstable();
        let mut sent = sent;
        sent.sort_unstable();
        assert_eq!(received, sent, "{code}");
    }
}

/// What `ask` gives, asked of the stream "s" of `service`.
fn asked<T>(service: &Scripted, ask: impl AsyncFnOnce(Stream) -> Result<T, Failure>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ask(wire::stream(service.url(), "s")))
}

fn shard(id: &str, start: &str, end: &str, ending_sequence_number: Option<&str>) -> Value {
    json!({
        "ShardId": id,
        "HashKeyRange": { "StartingHashKey": start, "EndingHashKey": end },
        "SequenceNumberRange": { "StartingSequenceNumber": "1", "EndingSequenceNumber": ending_sequence_number },
    })
}

/// The open shards are listed page by page, each of which is asked for as the API wants it.
#[test]
fn pages_of_shards() {
    let service = Scripted::start(Vec::new());
    service.answer(200, json!({ "Shards": [shard("a", "0", "9", Some("2")), shard("b", "0", "4", None)], "NextToken": "more" }));
    service.answer(200, json!({ "Shards": [shard("c", "5", "9", None)] }));
    let shards = asked(&service, async |stream| stream.shards().await).unwrap();
    let shards: Vec<_> = shards.iter().map(|shard| (&*shard.id, shard.range.start, shard.range.end)).collect();
    assert_eq!(shards, [("b", 0, 4), ("c", 5, 9)]);
    let questions = [
        json!({ "StreamName": "s", "MaxResults": 1_000, "ShardFilter": { "Type": "AT_LATEST" } }),
        json!({ "NextToken": "more", "MaxResults": 1_000 }),
    ];
    assert_eq!(service.asked(), questions.map(|question| ("ListShards".to_owned(), question)));
}

/// What there is to know of a stream beside its shards, of services that say more and less.
#[test]
fn summaries_of_a_stream() {
    let of = |more: Value| {
        let mut summary = json!({
            "StreamName": "s", "StreamARN": "arn", "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [], "OpenShardCount": 1,
        });
        summary.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "StreamDescriptionSummary": summary })
    };
    for (more, is_auto, record_bytes_max) in [
        (json!({}), false, None),
        (json!({ "MaxRecordSizeInKiB": 1024, "RecordDistributionStrategy": "USER_PARTITION_KEY" }), false, Some(1 << 20)),
        (json!({ "MaxRecordSizeInKiB": 10_240, "RecordDistributionStrategy": "AUTO" }), true, Some(10 << 20)),
        (json!({ "MaxRecordSizeInKiB": 0, "RecordDistributionStrategy": "NEW" }), false, None),
    ] {
        let service = Scripted::start(Vec::new());
        service.answer(200, of(more.clone()));
        let summary = asked(&service, async |stream| stream.summary().await).unwrap();
        assert_eq!(summary, Summary { is_auto, record_bytes_max }, "{more}");
    }
}

/// All shards of a time are listed, also those that are closed; where the service does not like the time, all that there are.
#[test]
fn shards_since_a_time() {
    let service = Scripted::start(Vec::new());
    service.answer(400, json!({ "__type": "ValidationException", "message": "before the stream was" }));
    service.answer(200, json!({ "Shards": [shard("a", "0", "9", Some("2")), shard("b", "0", "9", None)] }));
    let shards = asked(&service, async |stream| stream.shards_since(1_700_000_000_250).await).unwrap();
    assert_eq!(shards.iter().map(|shard| &*shard.id).collect::<Vec<_>>(), ["a", "b"]);
    let filter = json!({ "Type": "FROM_TIMESTAMP", "Timestamp": 1_700_000_000.25 });
    let questions = [
        json!({ "StreamName": "s", "MaxResults": 1_000, "ShardFilter": filter }),
        json!({ "StreamName": "s", "MaxResults": 1_000 }),
    ];
    assert_eq!(service.asked(), questions.map(|question| ("ListShards".to_owned(), question)));
}

/// Records are asked for as the API wants it, and what cannot be read says which permission is missing.
#[test]
fn records_of_a_shard() {
    let service = Scripted::start(Vec::new());
    service.answer(200, json!({ "ShardIterator": "i" }));
    service.answer(200, json!({ "ShardIterator": "j" }));
    let record =
        json!({ "SequenceNumber": "7", "ApproximateArrivalTimestamp": 1_700_000_000.5, "Data": "ZGF0YQ==", "PartitionKey": "k" });
    service.answer(200, json!({ "Records": [record], "NextShardIterator": "n", "MillisBehindLatest": 0 }));
    service.answer(200, json!({ "Records": [], "MillisBehindLatest": 0 }));
    service.answer(400, json!({ "__type": "KMSAccessDeniedException", "message": "no" }));
    service.answer(400, json!({ "__type": "ExpiredIteratorException", "message": "no" }));
    asked(&service, async |stream| {
        assert_eq!(stream.iterator("a", &Position::At(1_700_000_000_250)).await?, "i");
        assert_eq!(stream.iterator("a", &Position::Behind("6".to_owned())).await?, "j");
        let page = stream.records("j", 40).await?;
        let [StoredRecord { sequence_number, arrived_at_ms, partition_key, data }] = &page.records[..] else {
            panic!("{page:?}")
        };
        assert_eq!((&**sequence_number, *arrived_at_ms), ("7", Some(1_700_000_000_500)));
        assert_eq!((&**partition_key, &**data), ("k", &b"data"[..]));
        assert_eq!((page.next.as_deref(), page.is_at_tip), (Some("n"), false));
        let page = stream.records("n", 40).await?;
        assert_eq!((page.records.len(), page.next, page.is_at_tip), (0, None, true));
        let denied = stream.records("n", 40).await.unwrap_err();
        assert!(denied.is_unreadable() && denied.to_string().contains("kms:Decrypt on the key of the stream"), "{denied}");
        assert_eq!(stream.records("n", 40).await.unwrap_err().code, Failure::EXPIRED_ITERATOR);
        Ok(())
    })
    .unwrap();
    let at = json!({ "StreamName": "s", "ShardId": "a", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_700_000_000.25 });
    let behind = json!({
        "StreamName": "s", "ShardId": "a", "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": "6",
    });
    let records = json!({ "ShardIterator": "j", "Limit": 40 });
    let questions = [("GetShardIterator", at), ("GetShardIterator", behind), ("GetRecords", records)];
    assert_eq!(service.asked()[..3], questions.map(|(operation, question)| (operation.to_owned(), question)));
}

/// A question that is refused says which permission it needs; one that is not known is no trouble.
#[test]
fn questions_that_are_not_answered() {
    let service = Scripted::start(Vec::new());
    let unknown = asked(&service, async |stream| stream.shards().await).unwrap_err();
    assert_eq!(unknown, Failure::unsupported("ListShards"));
    for (status, code, verdict, text) in [
        (400, "AccessDeniedException", Verdict::Pause, "kinesis:DescribeStreamSummary on the stream"),
        (400, "LimitExceededException", Verdict::SlowDown, "LimitExceededException"),
        (500, "InternalFailure", Verdict::Retry, "InternalFailure"),
    ] {
        service.answer(status, json!({ "__type": code, "message": "no" }));
        let failure = asked(&service, async |stream| stream.summary().await).unwrap_err();
        assert_eq!(failure.verdict, verdict, "{failure}");
        assert!(failure.to_string().contains(text), "{failure}");
    }
}
