//! Lines as programs write them, without their terminators: different from each other, the same in every run.

mod access;

use fastrand::Rng;

#[allow(unused_imports, reason = "not every benchmark goes by it")]
pub(crate) use access::long_access;
use access::{access, address, agent, apache_time, clock, one_of, path, referer, status};

/// One kind of line, and a flow for it.
pub(crate) struct Case {
    /// The format, or what else tells the cases apart.
    pub(crate) name: &'static str,
    /// Tables of the flow.
    #[allow(dead_code, reason = "not every benchmark goes by it")]
    pub(crate) settings: &'static str,
    /// Appends one line.
    pub(crate) write: fn(&mut Rng, &mut String),
}

const ONE_PASS: &str = r#"[flow.parse]
regex = '^(?<host>[^ ]+) (?<ident>[^ ]+) (?<authuser>[^ ]+) \[(?<datetime>[^\]]+)\] "(?<request>[^"]*)" (?<response>[0-9]+) (?<bytes>[0-9-]+) "(?<referer>[^"]*)" "(?<agent>[^"]*)"$'"#;
/// As it is found on the web: where a group ends is only known at what follows.
const USUAL: &str = r#"[flow.parse]
regex = '^(?<host>\S+) (?<ident>\S+) (?<authuser>\S+) \[(?<datetime>.*?)\] "(?<request>.*?)" (?<response>\d{3}) (?<bytes>\d+|-) "(?<referer>.*?)" "(?<agent>.*?)"$'"#;

macro_rules! of_format {
    ($name:literal, $write:ident) => {
        Case { name: $name, settings: concat!("[flow.parse]\nformat = \"", $name, "\""), write: $write }
    };
}

/// All of them, in the order of the table.
pub(crate) const CASES: [Case; 20] = [
    Case { name: "raw", settings: "", write: apache_combined },
    Case { name: "unparsed_as_json", settings: "[flow.record]\noutput = \"json\"", write: apache_combined },
    of_format!("apache_common", apache_common),
    of_format!("apache_combined", apache_combined),
    Case { name: "regex_one_pass", settings: ONE_PASS, write: apache_combined },
    Case { name: "regex_usual", settings: USUAL, write: apache_combined },
    of_format!("apache_error", apache_error),
    of_format!("nginx_combined", nginx_combined),
    of_format!("nginx_error", nginx_error),
    of_format!("syslog_rfc3164", syslog_rfc3164),
    of_format!("syslog_rfc5424", syslog_rfc5424),
    of_format!("json", json),
    Case { name: "json_with_timestamp", settings: TIMESTAMP, write: json },
    of_format!("logfmt", logfmt),
    Case { name: "csv", settings: CSV, write: csv },
    of_format!("ltsv", ltsv),
    of_format!("docker_json", docker_json),
    of_format!("cri", cri),
    of_format!("aws_elb", aws_elb),
    of_format!("aws_vpc_flow", aws_vpc_flow),
];

const CSV: &str = r#"[flow.parse]
format = "csv"
columns = ["time", "level", "service", "host", "client", "method", "path", "status", "bytes", "seconds", "trace", "message"]"#;
const TIMESTAMP: &str = "[flow.parse]\nformat = \"json\"\ntypes = { time = { type = \"timestamp\", format = \"rfc3339\" } }";

fn apache_common(random: &mut Rng, line: &mut String) {
    let (client, user, time) = (address(random), one_of(random, &["-", "-", "-", "alice"]), apache_time(random));
    let (path, status, bytes) = (path(random, 90), status(random), random.u32(100..90_000));
    *line += &format!("{client} - {user} [{time}] \"GET {path} HTTP/1.1\" {status} {bytes}");
}

fn apache_combined(random: &mut Rng, line: &mut String) {
    access(random, 30, line);
}

fn nginx_combined(random: &mut Rng, line: &mut String) {
    apache_combined(random, line);
}

fn apache_error(random: &mut Rng, line: &mut String) {
    let (time, process, client) = (clock(random), random.u32(300..32_000), address(random));
    let (micros, path, referer) = (random.u32(0..1_000_000), path(random, 30), referer(random));
    *line += &format!(
        "[Sat Nov 21 {time}.{micros:06} 2026] [proxy:error] [pid {process}:tid 1401{process:08}] [client {client}:{process}] \
         AH00898: Error reading from remote server returned by {path}, referer: {referer}"
    );
}

fn nginx_error(random: &mut Rng, line: &mut String) {
    let (time, process, client) = (clock(random), random.u32(300..32_000), address(random));
    let (connection, path) = (random.u32(1..9_000_000), path(random, 30));
    *line += &format!(
        "2026/11/21 {time} [error] {process}#{process}: *{connection} connect() failed (111: Connection refused) while \
         connecting to upstream, client: {client}, server: shop.example, request: \"GET {path} HTTP/1.1\", upstream: \
         \"http://10.0.3.7:8080{path}\", host: \"shop.example\""
    );
}

fn syslog_rfc3164(random: &mut Rng, line: &mut String) {
    let (priority, time, host, process) = (random.u8(0..192), clock(random), host(random), random.u32(300..32_000));
    *line += &format!("<{priority}>Nov 21 {time} {host} orders[{process}]: {}", message(random, 180));
}

fn syslog_rfc5424(random: &mut Rng, line: &mut String) {
    let (priority, time, host, process) = (random.u8(0..192), clock(random), host(random), random.u32(300..32_000));
    let (micros, trace) = (random.u32(0..1_000_000), random.u64(..));
    *line += &format!(
        "<{priority}>1 2026-11-21T{time}.{micros:06}Z {host} orders {process} ID47 [trace@32473 id=\"{trace:016x}\" sampled=\"1\"] {}",
        message(random, 110)
    );
}

fn json(random: &mut Rng, line: &mut String) {
    let (time, host, trace, status) = (clock(random), host(random), random.u64(..), status(random));
    let (millis, path, message) = (random.u32(1..90_000), path(random, 24), message(random, 40));
    *line += &format!(
        "{{\"time\":\"2026-11-21T{time}.{:03}Z\",\"level\":\"info\",\"host\":\"{host}\",\"message\":\"{message}\",\
         \"trace\":\"{trace:016x}\",\"request\":{{\"method\":\"GET\",\"path\":\"{path}\",\"status\":{status}}},\"seconds\":{}.{:03}}}",
        millis % 1000,
        millis / 1000,
        millis % 1000
    );
}

fn logfmt(random: &mut Rng, line: &mut String) {
    let (time, host, trace, status) = (clock(random), host(random), random.u64(..), status(random));
    let (millis, path, message) = (random.u32(1..90_000), path(random, 24), message(random, 60));
    *line += &format!(
        "time=2026-11-21T{time}Z level=info host={host} msg=\"{message}\" trace={trace:016x} method=GET path=\"{path}\" \
         status={status} duration={millis}ms"
    );
}

fn csv(random: &mut Rng, line: &mut String) {
    let (time, host, trace, status) = (clock(random), host(random), random.u64(..), status(random));
    let (client, bytes, path, message) = (address(random), random.u32(100..90_000), path(random, 24), message(random, 60));
    *line += &format!(
        "2026-11-21T{time}Z,info,orders,{host},{client},GET,{path},{status},{bytes},0.{:03},{trace:016x},\"{message}, and more\"",
        bytes % 1000
    );
}

fn ltsv(random: &mut Rng, line: &mut String) {
    let (time, host, trace, status) = (clock(random), host(random), random.u64(..), status(random));
    let (client, bytes, path, agent) = (address(random), random.u32(100..90_000), path(random, 24), "curl/8.10.1");
    *line += &format!(
        "time:2026-11-21T{time}Z\thost:{client}\tforwardedfor:-\treq:GET {path} HTTP/1.1\tstatus:{status}\tsize:{bytes}\t\
         ua:{agent}\tvhost:{host}\treqtime:0.{:03}\ttrace:{trace:016x}\tcache:MISS",
        bytes % 1000
    );
}

fn docker_json(random: &mut Rng, line: &mut String) {
    let (time, nanos, message) = (clock(random), random.u32(0..1_000_000_000), message(random, 130));
    *line += &format!(
        "{{\"log\":\"level=info msg=\\\"{message}\\\"\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T{time}.{nanos:09}Z\"}}"
    );
}

fn cri(random: &mut Rng, line: &mut String) {
    let (time, nanos, message) = (clock(random), random.u32(0..1_000_000_000), message(random, 180));
    *line += &format!("2026-11-21T{time}.{nanos:09}Z stdout F {message}");
}

fn aws_elb(random: &mut Rng, line: &mut String) {
    let (time, micros, client, port) = (clock(random), random.u32(0..1_000_000), address(random), random.u16(1024..));
    let (status, bytes, path, agent) = (status(random), random.u32(100..90_000), path(random, 30), agent(random));
    *line += &format!(
        "https 2026-11-21T{time}.{micros:06}Z app/shop/0123456789abcdef {client}:{port} 10.0.3.7:8080 0.001 0.{:03} 0.000 \
         {status} {status} 812 {bytes} \"GET https://shop.example:443{path} HTTP/2.0\" \"{agent}\" ECDHE-RSA-AES128-GCM-SHA256 \
         TLSv1.3 arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/cart/89ab \"Root=1-6908-{:016x}\" \
         \"shop.example\" \"session-reused\" 12 2026-11-21T{time}.{micros:06}Z \"forward\" \"-\" \"-\" \"10.0.3.7:8080\" \
         \"{status}\" \"-\" \"-\" TID_{:016x} \"-\" \"-\" \"-\"",
        bytes % 1000,
        random.u64(..),
        random.u64(..)
    );
}

fn aws_vpc_flow(random: &mut Rng, line: &mut String) {
    let (source, destination, port) = (address(random), address(random), random.u16(1024..));
    let (packets, start) = (random.u32(1..900), random.u32(1_793_700_000..1_793_800_000));
    *line += &format!(
        "2 111122223333 eni-0a1b2c3d4e5f60718 {source} {destination} {port} 443 6 {packets} {} {start} {} ACCEPT OK",
        packets * 840,
        start + 60
    );
}

fn host(random: &mut Rng) -> String {
    format!("{}-{:02}.shop.example", one_of(random, &["web", "orders", "cart"]), random.u8(0..64))
}

/// Of about this many bytes.
fn message(random: &mut Rng, byte_count: usize) -> String {
    const WORDS: [&str; 16] = [
        "request", "order", "took", "longer", "than", "expected", "for", "customer", "retry", "after", "timeout", "of",
        "upstream", "cache", "was", "missed",
    ];
    let mut message = one_of(random, &WORDS).to_owned();
    while message.len() < byte_count {
        message.push(' ');
        if random.u8(0..5) == 0 {
            message += &random.u32(1..99_999).to_string();
        } else {
            message += one_of(random, &WORDS);
        }
    }
    message
}
