//! What is asserted of any bytes, target by target.
//!
//! Each target is a function here that is called with them; `fuzz_targets/` has a program for each.

use std::cell::RefCell;
use std::path::Path;

use kinetail::config::Config;
use kinetail::metadata::Ec2;
use kinetail::outcome::Service;
use kinetail::processor::{Made, Origin, Processor, Surroundings};
use kinetail::span::FileKey;
use kinetail::wire::Wire;
use kinetail::wire::answer::{self, ShardIds};
use serde_json::value::RawValue;

/// Longest pattern or template. What is longer only costs more time.
const SETTING_BYTES_MAX: usize = 64;

/// A target for each format: the flow has these keys in `[flow.parse]`.
macro_rules! formats {
    ($($name:ident: $settings:literal,)*) => {
        $(
            #[doc = concat!("Lines of a flow with `", $settings, "`.")]
            pub fn $name(line: &[u8]) {
                thread_local!(static RULES: RefCell<Processor> = RefCell::new(processor(&in_parse($settings)).unwrap()));
                RULES.with_borrow_mut(|processor| check_json(processor, line, None));
            }
        )*
    };
}

formats! {
    apache_common: "format = 'apache_common'",
    apache_combined: "format = 'apache_combined'",
    apache_error: "format = 'apache_error'",
    nginx_combined: "format = 'nginx_combined'",
    nginx_error: "format = 'nginx_error'",
    syslog_rfc3164: "format = 'syslog_rfc3164'",
    syslog_rfc5424: "format = 'syslog_rfc5424'",
    logfmt: "format = 'logfmt'",
    csv: "format = 'csv'\ncolumns = ['a', 'b', 'c']",
    ltsv: "format = 'ltsv'",
    docker_json: "format = 'docker_json'",
    cri: "format = 'cri'",
    aws_elb: "format = 'aws_elb'",
    aws_vpc_flow: "format = 'aws_vpc_flow'",
}

/// An object of JSON a line: what `serde_json` reads of it is what the record has.
pub fn json(line: &[u8]) {
    thread_local!(static RULES: RefCell<Processor> = RefCell::new(processor(&in_parse("format = 'json'")).unwrap()));
    let record = RULES.with_borrow_mut(|processor| check_json(processor, line, None));
    let object: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_slice(line);
    if let Ok(object) = object {
        assert_eq!(serde_json::from_slice::<serde_json::Map<_, _>>(&record.unwrap()).unwrap(), object);
    }
}

/// What a service has answered: it is read or not, and what is usual says what it says in other words.
pub fn answer(body: &[u8]) {
    let _ = answer::error(body);
    for service in [Service::Kinesis, Service::Firehose] {
        let read = |body: &[u8]| answer::results(service, body, 0, &mut ShardIds::default());
        let said = read(body);
        if answer::wire_of(body) == Some(Wire::Json) {
            let value: Option<serde_json::Value> = serde_json::from_slice(body).ok();
            let general = value.and_then(|value| read(&serde_json::to_vec_pretty(&value).unwrap()).ok());
            assert_eq!(said.ok(), general);
        }
    }
}

/// Lines of a file whose header is the first line of `data`.
pub fn csv_header(data: &[u8]) {
    thread_local!(static RULES: RefCell<Processor> = RefCell::new(processor(&in_parse("format = 'csv'\nheader = true")).unwrap()));
    let (header, line) = divided(data);
    RULES.with_borrow_mut(|processor| check_json(processor, line, Some(header)));
}

/// The same of VPC flow logs.
pub fn aws_vpc_flow_header(data: &[u8]) {
    thread_local!(static RULES: RefCell<Processor> = RefCell::new(processor(&in_parse("format = 'aws_vpc_flow'\nheader = true")).unwrap()));
    let (header, line) = divided(data);
    RULES.with_borrow_mut(|processor| check_json(processor, line, Some(header)));
}

/// The first line of `data` is a pattern, the rest a line.
pub fn regex(data: &[u8]) {
    let (pattern, line) = divided(data);
    if let Some(mut processor) = setting(pattern).and_then(|pattern| processor(&in_parse(&format!("regex = {pattern}")))) {
        check_json(&mut processor, line, None);
    }
}

/// The first line of `data` is a template of records, partition keys and added fields, the rest a line of JSON.
pub fn template(data: &[u8]) {
    let (template, line) = divided(data);
    let Some(template) = setting(template) else { return };
    let parse = in_parse("format = 'json'");
    if let Some(mut processor) = processor(&format!("{parse}\n[flow.record]\noutput = 'template'\ntemplate = {template}")) {
        process(&mut processor, line, None);
    }
    let record = format!("[flow.record.add]\nadded = {template}");
    if let Some(mut processor) = processor(&format!("{parse}\n{record}\n[flow.kinesis]\npartition_key = {template}")) {
        check_json(&mut processor, line, None);
    }
}

/// Lines of JSON, or of anything else, with every mask: what the pattern among them finds is in no value of the record.
pub fn mask(line: &[u8]) {
    const MASKS: &str = "[flow.record]\nmask = ['email', 'ipv4', 'ipv6', 'card', 'bearer', 'aws_keys', { pattern = 'k[0-9]' }]";
    thread_local!(static RULES: RefCell<Processor> =
        RefCell::new(processor(&format!("{}\n{MASKS}", in_parse("format = 'json'"))).unwrap()));
    let record = RULES.with_borrow_mut(|processor| check_json(processor, line, None)).unwrap();
    // What cannot be read so has numbers that are too large, or half of a pair of surrogates.
    if let Ok(record) = serde_json::from_slice::<serde_json::Value>(&record) {
        assert!(is_masked(&record), "{record}");
    }
}

fn is_masked(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => !text.as_bytes().windows(2).any(|pair| pair[0] == b'k' && pair[1].is_ascii_digit()),
        serde_json::Value::Array(elements) => elements.iter().all(is_masked),
        serde_json::Value::Object(members) => members.values().all(is_masked),
        _ => true,
    }
}

/// Any text is a configuration, always the same, or has mistakes that can be shown.
pub fn configuration(data: &[u8]) {
    let Ok(source) = str::from_utf8(data) else { return };
    match Config::parse(source, "kinetail.toml") {
        Ok(config) => {
            assert!(Config::parse(source, "kinetail.toml").is_ok_and(|anew| anew == config));
            for flow in &config.flows {
                process(&mut Processor::new(flow, &Surroundings::default()), data, None);
            }
        }
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
}

fn in_parse(settings: &str) -> String {
    format!("[flow.parse]\n{settings}\non_mismatch = 'wrap'")
}

/// The first line of `data`, and what stands behind it.
fn divided(data: &[u8]) -> (&[u8], &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    (&data[..end], data.get(end + 1..).unwrap_or_default())
}

/// `text` as a string of TOML.
fn setting(text: &[u8]) -> Option<String> {
    let text = str::from_utf8(text).ok().filter(|text| text.len() <= SETTING_BYTES_MAX && !text.contains('\u{7f}'))?;
    // What JSON escapes, and how, is right for TOML too.
    serde_json::to_string(text).ok()
}

/// The rules of a flow with these tables; none when something is wrong with them.
fn processor(tables: &str) -> Option<Processor> {
    let kinesis = if tables.contains("[flow.kinesis]") { "" } else { "[flow.kinesis]" };
    let source = format!("[[flow]]\nname = 'fuzz'\nfiles = ['/a']\n{tables}\n{kinesis}\nstream = 's'\n");
    let config = Config::parse(&source, "kinetail.toml").ok()?;
    Some(Processor::new(&config.flows[0], &Surroundings::default()))
}

/// What becomes of `line`: always the same, and nothing that cannot be sent.
fn process(processor: &mut Processor, line: &[u8], header: Option<&[u8]>) -> (Made, Vec<u8>) {
    let ec2 = Ec2::default();
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let origin = Origin { path: Path::new("/a/b.log"), file: FileKey(1), offset: 0, header, now, ec2: &ec2 };
    let mut process = || {
        let (mut out, mut key) = (Vec::new(), String::new());
        let processed = processor.process(line, &origin, &mut out, &mut key);
        (processed, out, key)
    };
    let (processed, out, key) = process();
    assert!(key.chars().count() <= 256, "{key}");
    assert_eq!((processed, out.clone(), key), process(), "it remembers something");
    (processed.made, out)
}

/// The record of `line`, which is an object of JSON on one line; none when nothing is sent.
fn check_json(processor: &mut Processor, line: &[u8], header: Option<&[u8]>) -> Option<Vec<u8>> {
    let (made, record) = process(processor, line, header);
    match made {
        Made::Record => {
            // Not a `Value`: numbers may be too large for one, and a string inside may have half of a pair of surrogates.
            let is_json = serde_json::from_slice::<&RawValue>(&record).is_ok();
            assert!(is_json && record.starts_with(b"{") && !record.contains(&b'\n'), "{}", record.escape_ascii());
            Some(record)
        }
        Made::Dropped(_) => None,
        Made::Raw => panic!("sent as it is"),
    }
}
