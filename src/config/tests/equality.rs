//! Two configurations are equal if they do the same: by that a reload knows what has changed.

use std::collections::BTreeSet;

use super::*;

/// Each key with the heading of its table, what is written with `@` for a value, and two values that mean different things.
const CHANGES: &[(&str, &str, &str, [&str; 2])] = &[
    ("agent", "state_dir", "[agent]\nstate_dir = @", ["'/a'", "'/b'"]),
    ("agent", "memory_max", "[agent]\nmemory_max = @", ["'4 MiB'", "'5 MiB'"]),
    ("agent", "admin", "[agent]\nadmin = @", ["'off'", "'127.0.0.1:1'"]),
    ("agent", "drain_timeout", "[agent]\ndrain_timeout = @", ["'1 s'", "'2 s'"]),
    ("agent", "read_back", "[agent]\nread_back = @", ["'auto'", "'off'"]),
    ("agent", "settle", "[agent]\nsettle = @", ["'1 s'", "'2 s'"]),
    ("agent", "forget_after", "[agent]\nforget_after = @", ["'1 d'", "'2 d'"]),
    ("agent", "max_open_files", "[agent]\nmax_open_files = @", ["100", "200"]),
    ("agent", "threads", "[agent]\nthreads = @", ["1", "2"]),
    ("prices", "shard_hour", "[prices]\nshard_hour = @", ["1", "2"]),
    ("prices", "put_units_million", "[prices]\nput_units_million = @", ["1", "2"]),
    ("prices", "on_demand_stream_hour", "[prices]\non_demand_stream_hour = @", ["1", "2"]),
    ("prices", "on_demand_gib_in", "[prices]\non_demand_gib_in = @", ["1", "2"]),
    ("prices", "on_demand_gib_out", "[prices]\non_demand_gib_out = @", ["1", "2"]),
    ("prices", "firehose_gib_in", "[prices]\nfirehose_gib_in = @", ["1", "2"]),
    ("flow", "name", "[[flow]]\nname = @\nfiles = '/a'", ["'a'", "'b'"]),
    ("flow", "files", "[[flow]]\nname = 'a'\nfiles = @", ["'/a'", "['/a', '/b']"]),
    ("flow", "exclude", "exclude = @", ["'a'", "'b'"]),
    ("flow", "start_at", "start_at = @", ["'beginning'", "'end'"]),
    ("flow", "ignore_older", "ignore_older = @", ["'1 d'", "'2 d'"]),
    ("flow", "compressed", "compressed = @", ["'ignore'", "'read'"]),
    ("flow", "rescan", "rescan = @", ["'10 s'", "'20 s'"]),
    ("flow", "poll", "poll = @", ["false", "true"]),
    ("flow.line", "encoding", "[flow.line]\nmax_bytes = '1 KiB'\nencoding = @", ["'utf-16le'", "'utf-16be'"]),
    ("flow.line", "skip_header_lines", "[flow.line]\nskip_header_lines = @", ["0", "1"]),
    ("flow.line", "max_bytes", "[flow.line]\nmax_bytes = @", ["'1 KiB'", "'2 KiB'"]),
    ("flow.line", "too_long", "[flow.line]\ntoo_long = @", ["'truncate'", "'split'"]),
    ("flow.line", "strip_cr", "[flow.line]\nstrip_cr = @", ["false", "true"]),
    ("flow.multiline", "preset", "[flow.multiline]\npreset = @", ["'java'", "'go'"]),
    ("flow.multiline", "start", "[flow.multiline]\nstart = @", ["'a'", "'(?i)a'"]),
    ("flow.multiline", "continue", "[flow.multiline]\ncontinue = @", ["'a'", "'b'"]),
    ("flow.multiline", "end", "[flow.multiline]\nend = @", ["'a'", "'b'"]),
    ("flow.multiline", "timeout", "[flow.multiline]\npreset = 'go'\ntimeout = @", ["'1 s'", "'2 s'"]),
    ("flow.multiline", "max_lines", "[flow.multiline]\npreset = 'go'\nmax_lines = @", ["100", "200"]),
    ("flow.parse", "regex", "[flow.parse]\nregex = @", ["'(?<a>.)'", "['(?<a>.)', '(?<b>.)']"]),
    ("flow.parse", "format", "[flow.parse]\nformat = @", ["'json'", "'logfmt'"]),
    ("flow.parse", "format", "[flow.parse]\nformat = @", ["'docker_json'", "'cri'"]),
    ("flow.parse", "columns", "[flow.parse]\nformat = 'csv'\ncolumns = @", ["['a']", "['b']"]),
    ("flow.parse", "header", "[flow.parse]\nformat = 'aws_vpc_flow'\nheader = @", ["false", "true"]),
    ("flow.parse", "delimiter", "[flow.parse]\nformat = 'csv'\ncolumns = ['a']\ndelimiter = @", ["';'", "\"\\t\""]),
    ("flow.parse", "on_mismatch", "[flow.parse]\nformat = 'json'\non_mismatch = @", ["'send_raw'", "'wrap'"]),
    ("flow.parse", "types", "[flow.parse]\nformat = 'json'\ntypes = @", ["{ a = 'integer' }", "{ a = 'float' }"]),
    ("flow.parse.types.a", "type", "[flow.parse]\nformat = 'json'\ntypes.a.type = @", ["'integer'", "'timestamp'"]),
    (
        "flow.parse.types.a",
        "format",
        "[flow.parse]\nformat = 'json'\ntypes.a = { type = 'timestamp', format = @ }",
        ["'epoch'", "'%Y-%m-%d %H:%M:%S'"],
    ),
    (
        "flow.parse.types.a",
        "zone",
        "[flow.parse]\nformat = 'json'\ntypes.a = { type = 'timestamp', zone = @ }",
        ["'+01:00'", "'+02:00'"],
    ),
    (
        "flow.parse.types.a",
        "output",
        "[flow.parse]\nformat = 'json'\ntypes.a = { type = 'timestamp', output = @ }",
        ["'rfc3339'", "'epoch_ms'"],
    ),
    ("flow.filter", "keep", "[flow.filter]\nkeep = @", ["['a']", "['b']"]),
    ("flow.filter", "drop", "[flow.filter]\ndrop = @", ["['a']", "['b']"]),
    ("flow.filter", "sample", "[flow.filter]\nsample = @", ["0.1", "0.2"]),
    ("flow.filter.keep", "line", "[flow.filter]\nkeep = [{ line = @ }]", ["'a'", "'b'"]),
    ("flow.filter.keep", "field", "[flow.filter]\nkeep = [{ field = @, is = 'a' }]", ["'a'", "'b'"]),
    ("flow.filter.keep", "matches", "[flow.filter]\nkeep = [{ field = 'a', matches = @ }]", ["'a'", "'b'"]),
    ("flow.filter.keep", "is", "[flow.filter]\nkeep = [{ field = 'a', is = @ }]", ["'a'", "'b'"]),
    ("flow.filter.keep", "is_not", "[flow.filter]\nkeep = [{ field = 'a', is_not = @ }]", ["'a'", "'b'"]),
    ("flow.filter.keep", "above", "[flow.filter]\nkeep = [{ field = 'a', above = @ }]", ["1", "1.5"]),
    ("flow.filter.keep", "at_least", "[flow.filter]\nkeep = [{ field = 'a', at_least = @ }]", ["1", "1.5"]),
    ("flow.filter.keep", "below", "[flow.filter]\nkeep = [{ field = 'a', below = @ }]", ["1", "1.5"]),
    ("flow.filter.keep", "at_most", "[flow.filter]\nkeep = [{ field = 'a', at_most = @ }]", ["1", "1.5"]),
    ("flow.filter.keep", "exists", "[flow.filter]\nkeep = [{ field = 'a', exists = @ }]", ["true", "false"]),
    ("flow.filter.sample", "rate", "[flow.filter]\nsample = { rate = @ }", ["0.1", "0.2"]),
    ("flow.filter.sample", "key", "[flow.filter]\nsample = { rate = 0.1, key = @ }", ["'${a}'", "'${b}'"]),
    ("flow.record", "output", "[flow.record]\noutput = @", ["'raw'", "'json'"]),
    ("flow.record", "template", "[flow.record]\ntemplate = @", ["'${a}'", "'${host.name}'"]),
    ("flow.record", "add", "[flow.record]\nadd = @", ["{ x = 1 }", "{ x = 1.0 }"]),
    ("flow.record", "keep_only", "[flow.record]\nkeep_only = @", ["'a'", "'b'"]),
    ("flow.record", "remove", "[flow.record]\nremove = @", ["'a'", "'b'"]),
    ("flow.record", "rename", "[flow.record]\nrename = @", ["{ a = 'x' }", "{ a = 'y' }"]),
    ("flow.record", "terminator", "[flow.record]\nterminator = @", ["''", "\"\\n\""]),
    ("flow.record", "mask", "[flow.record]\nmask = @", ["['email']", "['card']"]),
    ("flow.record.mask", "preset", "[flow.record]\nmask = [{ preset = @ }]", ["'email'", "'card'"]),
    ("flow.record.mask", "pattern", "[flow.record]\nmask = [{ pattern = @ }]", ["'a'", "'b'"]),
    ("flow.record.mask", "with", "[flow.record]\nmask = [{ preset = 'email', with = @ }]", ["'***'", "'-'"]),
    ("flow.record.mask", "fields", "[flow.record]\nmask = [{ preset = 'email', fields = @ }]", ["'a'", "'b'"]),
    ("flow.kinesis", "stream", "[flow.kinesis]\nstream = @", ["'s'", "'t'"]),
    ("flow.kinesis", "aggregate", "[flow.kinesis]\nstream = 's'\naggregate = @", ["'kpl'", "'none'"]),
    ("flow.kinesis", "max_record_bytes", "[flow.kinesis]\nstream = 's'\nmax_record_bytes = @", ["'10 KiB'", "'20 KiB'"]),
    ("flow.kinesis", "compress", "[flow.kinesis]\nstream = 's'\naggregate = 'lines'\ncompress = @", ["'none'", "'gzip'"]),
    ("flow.kinesis", "partition_key", "[flow.kinesis]\nstream = 's'\npartition_key = @", ["'random'", "'fixed:a'"]),
    ("flow.kinesis", "max_delay", "[flow.kinesis]\nstream = 's'\nmax_delay = @", ["'1 s'", "'2 s'"]),
    ("flow.kinesis", "request_bytes", "[flow.kinesis]\nstream = 's'\nrequest_bytes = @", ["'4 MiB'", "'5 MiB'"]),
    ("flow.kinesis", "order", "[flow.kinesis]\nstream = 's'\norder = @", ["'throughput'", "'file'"]),
    ("flow.firehose", "delivery_stream", "[flow.firehose]\ndelivery_stream = @", ["'s'", "'t'"]),
    ("flow.firehose", "record_bytes", "[flow.firehose]\ndelivery_stream = 's'\nrecord_bytes = @", ["'5 KiB'", "'10 KiB'"]),
    ("flow.firehose", "compress", "[flow.firehose]\ndelivery_stream = 's'\ncompress = @", ["'none'", "'zstd'"]),
    ("flow.firehose", "max_delay", "[flow.firehose]\ndelivery_stream = 's'\nmax_delay = @", ["'1 s'", "'2 s'"]),
    (
        "flow.encryption",
        "kms_key",
        "[flow.firehose]\ndelivery_stream = 's'\n[flow.encryption]\nkms_key = @",
        ["'arn:aws:kms:us-east-1:111122223333:alias/a'", "'arn:aws:kms:us-east-1:111122223333:alias/b'"],
    ),
    ("flow.encryption", "context", "ENCRYPTED\ncontext = @", ["{ a = 'b' }", "{ a = 'c' }"]),
    ("flow.encryption", "max_age", "ENCRYPTED\nmax_age = @", ["'1 min'", "'2 min'"]),
    ("flow.encryption", "max_messages", "ENCRYPTED\nmax_messages = @", ["100", "200"]),
    ("flow.encryption", "max_bytes", "ENCRYPTED\nmax_bytes = @", ["'100 MiB'", "'200 MiB'"]),
];

/// The same of `[aws]` and `[flow.aws]`, which stands for `AWS`.
const AWS_CHANGES: &[(&str, &str, &str, [&str; 2])] = &[
    ("AWS", "region", "[AWS]\nregion = @", ["'us-east-1'", "'eu-west-1'"]),
    ("AWS", "profile", "[AWS]\nprofile = @", ["'a'", "'b'"]),
    ("AWS", "use_fips", "[AWS]\nuse_fips = @", ["false", "true"]),
    ("AWS", "use_dualstack", "[AWS]\nuse_dualstack = @", ["false", "true"]),
    ("AWS", "account_id_endpoint_mode", "[AWS]\naccount_id_endpoint_mode = @", ["'preferred'", "'required'"]),
    ("AWS", "proxy", "[AWS]\nproxy = @", ["'off'", "'http://a:1'"]),
    ("AWS", "proxy", "[AWS]\nproxy = @", ["'http://name:one@a:1'", "'http://name:two@a:1'"]),
    ("AWS", "no_proxy", "[AWS]\nno_proxy = @", ["'a'", "'b'"]),
    ("AWS", "ca_file", "[AWS]\nca_file = @", ["'/a'", "'/b'"]),
    ("AWS", "connect_timeout", "[AWS]\nconnect_timeout = @", ["'1 s'", "'2 s'"]),
    ("AWS", "attempt_timeout", "[AWS]\nattempt_timeout = @", ["'1 s'", "'2 s'"]),
    ("AWS", "wire", "[AWS]\nwire = @", ["'auto'", "'json'"]),
    (
        "AWS.assume_role",
        "arn",
        "[AWS.assume_role]\narn = @",
        ["'arn:aws:iam::123456789012:role/a'", "'arn:aws:iam::123456789012:role/b'"],
    ),
    ("AWS.assume_role", "external_id", "ROLE\nexternal_id = @", ["'aa'", "'bb'"]),
    ("AWS.assume_role", "session_name", "ROLE\nsession_name = @", ["'aa'", "'bb'"]),
    ("AWS.endpoints", "kinesis", "[AWS.endpoints]\nkinesis = @", ["'http://a'", "'http://b'"]),
    ("AWS.endpoints", "firehose", "[AWS.endpoints]\nfirehose = @", ["'http://a'", "'http://b'"]),
    ("AWS.endpoints", "sts", "[AWS.endpoints]\nsts = @", ["'http://a'", "'http://b'"]),
    ("AWS.endpoints", "cloudwatch", "[AWS.endpoints]\ncloudwatch = @", ["'http://a'", "'http://b'"]),
    ("AWS.endpoints", "kms", "[AWS.endpoints]\nkms = @", ["'http://a'", "'http://b'"]),
    ("AWS.endpoints", "ec2_metadata", "[AWS.endpoints]\nec2_metadata = @", ["'http://a'", "'http://b'"]),
];

/// A whole configuration with these lines.
fn whole(lines: &str) -> String {
    const ENCRYPTED: &str =
        "[flow.firehose]\ndelivery_stream = 's'\n[flow.encryption]\nkms_key = 'arn:aws:kms:us-east-1:111122223333:alias/a'";
    let lines = lines.replace("ENCRYPTED", ENCRYPTED);
    let stream = if lines.contains("stream =") { "" } else { "[flow.kinesis]\nstream = 's'\n" };
    // All fields that are named here are known.
    let parse = if lines.contains("[flow.filter]") || lines.contains("[flow.record]") {
        "[flow.parse]\nregex = '(?<a>.)(?<b>.)'\n"
    } else {
        ""
    };
    let flow = "[[flow]]\nname = 'a'\nfiles = '/a'\n";
    if lines.starts_with("[[flow]]") || ["[agent", "[aws", "[prices"].iter().any(|top| lines.starts_with(top)) {
        let flow = if lines.contains("[[flow]]") { "" } else { flow };
        return format!("{lines}\n{flow}{stream}");
    }
    format!("{flow}{lines}\n{parse}{stream}")
}

#[track_caller]
fn parsed(source: &str) -> Config {
    Config::parse(source, "agent.toml").unwrap_or_else(|mistakes| panic!("{source}\n{mistakes}"))
}

/// Each setting that reading `source` asks for.
fn settings_of(source: &str) -> BTreeSet<(String, &'static str)> {
    let entries = DeTable::parse(source).unwrap();
    let findings = Findings::default();
    Table::read_top(&findings, entries.get_ref(), |table| top::read(table, source, &Role::Main));
    findings.known_settings()
}

#[test]
fn another_value_of_any_key_is_another_configuration() {
    let (mut changed, mut known) = (BTreeSet::new(), BTreeSet::new());
    let mut check = |table: &str, key: &str, lines: &str, values: &[&str; 2]| {
        let [one, other] = values.map(|value| whole(&lines.replace('@', value)));
        let (first, second) = (parsed(&one), parsed(&other));
        assert_eq!(first, parsed(&one), "{one}");
        assert_ne!(first, second, "{one}\n{other}");
        let is_of_flows = table.starts_with("flow") || table.starts_with("aws");
        assert_eq!(first.flows == second.flows, !is_of_flows, "{one}\n{other}");
        known.extend(settings_of(&one));
        changed.insert((table.to_owned(), key.to_owned()));
    };
    for (table, key, lines, values) in CHANGES {
        check(table, key, lines, values);
    }
    for of in ["aws", "flow.aws"] {
        for (table, key, lines, values) in AWS_CHANGES {
            let lines = lines.replace("ROLE", "[AWS.assume_role]\narn = 'arn:aws:iam::123456789012:role/a'");
            check(&table.replace("AWS", of), key, &lines.replace("AWS", of), values);
        }
    }
    let is_table = |path: &str| changed.iter().any(|(table, _)| table == path || table.starts_with(&format!("{path}.")));
    for (table, key) in known {
        // What a condition of `keep` may ask for, one of `drop` may too.
        let table = table.replace("flow.filter.drop", "flow.filter.keep");
        let path = if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
        assert!(changed.contains(&(table, key.to_owned())) || is_table(&path), "no change of `{path}` is tried");
    }
}

#[test]
fn the_same_text_is_the_same_configuration() {
    let all = example::example_with_all_settings();
    assert_eq!(parsed(&all), parsed(&all));
    let zoned =
        |zone: &str| whole("[flow.parse]\nformat = 'json'\ntypes.a = { type = 'timestamp', zone = @ }").replace('@', zone);
    assert_eq!(parsed(&zoned("'local'")), parsed(&zoned("'local'")));
    // Not every host knows names of zones.
    if let Ok(seoul) = Config::parse(&zoned("'Asia/Seoul'"), "agent.toml") {
        assert_eq!(seoul, parsed(&zoned("'Asia/Seoul'")));
        assert_ne!(seoul, parsed(&zoned("'UTC'")));
    }
}

#[test]
fn how_and_where_it_is_written_does_not_matter() {
    let flow = "[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.line]\nmax_bytes = '1 KiB'\n[flow.kinesis]\nstream = 's'\n";
    let other = flow.replace("'a'", "'b'");
    for (one, other) in [
        (flow.to_owned(), format!("# This is the first.\n{}", flow.replace("'a'", "\"\\u0061\" # a"))),
        (flow.to_owned(), flow.replace("1 KiB", "1024 B").replace("'/a'", "['/a']")),
        (flow.to_owned(), flow.replace("files", "\n  poll = false\n  files")),
        (
            flow.to_owned(),
            "[[flow]]\nkinesis = { stream = 's' }\nline.max_bytes = '1 KiB'\nfiles = '/a'\nname = 'a'\n".to_owned(),
        ),
        (
            flow.to_owned(),
            "[[flow]]\nfiles = '/a'\nname = 'a'\n[flow.kinesis]\nstream = 's'\n[flow.line]\nmax_bytes = '1 KiB'\n[agent]\n"
                .to_owned(),
        ),
        (format!("{flow}{other}"), format!("{other}{flow}")),
        (format!("[agent]\nsettle = '5 s'\n{flow}"), format!("{flow}[agent]\nsettle = '5000 ms'\n")),
        (whole("[flow.multiline]\npreset = 'javascript'"), whole("[flow.multiline]\npreset = 'node'")),
        (
            whole("[flow.filter]\nkeep = [{ field = 'a', above = 1 }]"),
            whole("[flow.filter]\nkeep = [{ above = 1.0, field = 'a' }]"),
        ),
        (whole("[flow.parse]\nregex = '(?<a>.)'"), whole("[flow.parse]\nregex = ['(?<a>.)']")),
    ] {
        assert_eq!(parsed(&one), parsed(&other), "{one}\n{other}");
    }
}

#[test]
fn flows_that_come_or_go_are_another_configuration() {
    let flow = "[[flow]]\nname = 'a'\nfiles = '/a'\n[flow.kinesis]\nstream = 's'\n";
    let two = parsed(&format!("{flow}{}", flow.replace("'a'", "'b'")));
    assert_ne!(parsed(flow), two);
    assert_ne!(two, parsed(flow));
}
