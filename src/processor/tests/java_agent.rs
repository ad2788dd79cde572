//! What the Java Amazon Kinesis Agent's `dataProcessingOptions` do, said in kinetail's configuration: the same records, field
//! by field; and lines that it drops or garbles, and that must not be.
//!
//! All lines were written for this project. Each record of that agent ends with a newline, which `terminator` says.

use super::*;

/// With the newline that the Java agent puts behind each record.
#[track_caller]
fn check_line(settings: &str, line: &str, record: &str) {
    let settings = format!("[flow.parse]\n{settings}");
    let settings = if settings.contains("[flow.record]") { settings } else { settings + "\n[flow.record]" };
    let settings = settings.replacen("[flow.record]", "[flow.record]\nterminator = \"\\n\"", 1);
    check(&settings, line, &format!("{record}\n"));
}

#[test]
fn singleline() {
    // With [flow.multiline] start = '^\{', which makes the object one record.
    check_line(
        "format = 'json'",
        "{\n    \"job\": {\n        \"id\": 17,\n        \"next\": null,\n        \"ok\": true\n    },\n    \"by\": \"a b\"\n  }",
        r#"{"job":{"id":17,"next":null,"ok":true},"by":"a b"}"#,
    );
}

#[test]
fn csvtojson() {
    let csv = "format = 'csv'\ncolumns = ['id', 'item', 'price']";
    check_line(csv, "7, pen,  1.20", r#"{"id":"7","item":" pen","price":"  1.20"}"#);
    check_line(csv, "7,pen", r#"{"id":"7","item":"pen","price":null}"#);
    check_line(&csv.replace("columns", "delimiter = \"\\t\"\ncolumns"), "7\t pen\t1", r#"{"id":"7","item":" pen","price":"1"}"#);
    // There a delimiter is a pattern, quotes are text, and empty columns at the end vanish.
    check_line(&csv.replace("columns", "delimiter = '|'\ncolumns"), "7|pen|1", r#"{"id":"7","item":"pen","price":"1"}"#);
    check_line(csv, r#"7,"pen, ""red""",1"#, r#"{"id":"7","item":"pen, \"red\"","price":"1"}"#);
    check_line(csv, "7,,", r#"{"id":"7","item":"","price":""}"#);
}

const COMMON: &str = r#"203.0.113.9 - ann [21/Nov/2026:10:15:42 +0900] "GET /shop/cart?id=7 HTTP/1.1" 200 5120"#;
const COMMON_FIELDS: &str = r#""host":"203.0.113.9","ident":null,"authuser":"ann","datetime":"21/Nov/2026:10:15:42 +0900","request":"GET /shop/cart?id=7 HTTP/1.1","response":"200","bytes":"5120""#;

#[test]
fn logtojson_apache() {
    check_line("format = 'apache_common'", COMMON, &format!("{{{COMMON_FIELDS}}}"));
    let combined = format!("{COMMON} \"-\" \"Lynx/2.9 (like a browser)\"");
    let fields = format!("{{{COMMON_FIELDS},\"referer\":null,\"agent\":\"Lynx/2.9 (like a browser)\"}}");
    check_line("format = 'apache_combined'", &combined, &fields);
    check_line("format = 'apache_combined'", &format!("{combined} \"more\""), &fields);
    check_line("format = 'apache_common'", &combined, &format!("{{{COMMON_FIELDS}}}"));
    let error =
        "[Sat Nov 21 10:15:42.123456 2026] [proxy:warn] [pid 4242:tid 139872] [client 203.0.113.9:51000] AH01144: no worker";
    check_line(
        "format = 'apache_error'",
        error,
        r#"{"timestamp":"Sat Nov 21 10:15:42.123456 2026","module":"proxy","severity":"warn","processid":"4242","threadid":"139872","client":"203.0.113.9:51000","message":"AH01144: no worker"}"#,
    );
}

/// Each of these the Java agent drops or cuts.
#[test]
fn logtojson_apache_drops_nothing() {
    let combined = format!("{COMMON} \"-\" \"Lynx\"");
    for (from, to, field) in [
        ("203.0.113.9", "2001:db8::9", r#""host":"2001:db8::9""#),
        ("ann", "ann@example.com", r#""authuser":"ann@example.com""#),
        ("GET /shop", "GET /\\\"shop", r#""request":"GET /\"shop/cart?id=7 HTTP/1.1""#),
        ("\"Lynx\"", "\"\"", r#""agent":"""#),
        ("\"Lynx\"", "\"a \\\"b\\\" c\"", r#""agent":"a \"b\" c""#),
        ("203.0.113.9", "shop.example.com:443 203.0.113.9", r#""host":"203.0.113.9""#),
    ] {
        let (out, _, processed) = process("format = 'apache_combined'", combined.replace(from, to).as_bytes());
        assert_eq!(processed, Processed::of(Made::Record), "{to}");
        assert!(out.contains(field), "{to}: {out}");
    }
    let (out, ..) = process("format = 'apache_error'", b"[Sat Nov 21 10:15:42 2026] [error] [client 2001:db8::9] no such file");
    assert!(
        out.contains(r#""severity":"error","processid":null,"threadid":null,"client":"2001:db8::9","message":"no such file""#),
        "{out}"
    );
    let (out, ..) =
        process("format = 'apache_error'", b"[Sat Nov 21 10:15:42.1 2026] [mpm_event:notice] [pid 7:tid 8] AH00489: ready");
    assert!(out.contains(r#""client":null,"message":"AH00489: ready""#), "{out}");
}

#[test]
fn logtojson_syslog() {
    for (time, line) in [
        ("Nov  2 04:05:06", "Nov  2 04:05:06 db-1 postgres[99]: checkpoint complete: 3 buffers "),
        ("2026-11-02T04:05:06.789Z", "2026-11-02T04:05:06.789Z db-1 postgres[99]: checkpoint complete: 3 buffers "),
    ] {
        let fields = format!(
            r#"{{"timestamp":"{time}","hostname":"db-1","program":"postgres","processid":"99","message":"checkpoint complete: 3 buffers "}}"#
        );
        check_line("format = 'syslog_rfc3164'", line, &fields);
    }
    check_line(
        "format = 'syslog_rfc3164'",
        "Nov 12 04:05:06 db-1 ntpd: synchronised to 192.0.2.1",
        r#"{"timestamp":"Nov 12 04:05:06","hostname":"db-1","program":"ntpd","processid":null,"message":"synchronised to 192.0.2.1"}"#,
    );
}

/// Each of these the Java agent drops.
#[test]
fn logtojson_syslog_drops_nothing() {
    for (line, field) in [
        ("<34>Nov 12 04:05:06 db-1 su: denied", r#""severity":"crit""#),
        ("Nov 12 04:05:06 db-1 CRON(pam_unix)[3]: opened", r#""program":"CRON(pam_unix)","processid":"3""#),
        ("Nov 12 04:05:06 db-1 last message repeated 2 times", r#""message":"last message repeated 2 times""#),
        ("2026-11-02T04:05:06+0900 db-1 su: denied", r#""timestamp":"2026-11-02T04:05:06+0900""#),
    ] {
        let (out, _, processed) = process("format = 'syslog_rfc3164'", line.as_bytes());
        assert_eq!(processed, Processed::of(Made::Record), "{line}");
        assert!(out.contains(field), "{line}: {out}");
    }
    let (out, ..) = process("format = 'syslog_rfc5424'", b"<34>1 2026-11-02T04:05:06Z db-1 su - ID47 - denied");
    assert!(out.contains(r#""program":"su""#) && out.contains(r#""message":"denied""#), "{out}");
}

#[test]
fn logtojson_with_a_pattern_of_ones_own() {
    let pattern = r#"regex = '^(?<column1>[0-9.]+) (?<column2>[^ ]+) \[(?<column3>[^\]]+)\] "(?<column4>[^"]+)"'"#;
    check_line(
        pattern,
        r#"192.0.2.1 ann [21/Nov/2026:10:15:42 +0900] "GET /" 200"#,
        r#"{"column1":"192.0.2.1","column2":"ann","column3":"21/Nov/2026:10:15:42 +0900","column4":"GET /"}"#,
    );
}

#[test]
fn addmetadata() {
    let settings = "[flow.record]\nterminator = \"\\n\"\nremove = ['message']\n\
                    add = { ts = '${time.now}', metadata.team = 'shop', metadata.tier.n = 1, data = '${line.text}' }";
    check(
        settings,
        "some data",
        "{\"ts\":\"2026-11-21T12:00:00.500Z\",\"metadata\":{\"team\":\"shop\",\"tier\":{\"n\":1}},\"data\":\"some data\"}\n",
    );
}

#[test]
fn addec2metadata() {
    let settings = "[flow.parse]\nformat = 'json'\n[flow.record]\nadd = { privateIp = '${ec2.private_ip}', \
                    availabilityZone = '${ec2.availability_zone}', instanceId = '${ec2.instance_id}', \
                    instanceType = '${ec2.instance_type}', accountId = '${ec2.account_id}', amiId = '${ec2.ami_id}', \
                    region = '${ec2.region}', metadataTimestamp = '${time.now}', tags.name = '${ec2.tags.Name}' }";
    let text = |text: &str| Some(text.to_owned());
    let ec2 = Ec2 {
        instance_id: text("i-7"),
        region: text("eu-west-1"),
        availability_zone: text("eu-west-1b"),
        instance_type: text("t4g.nano"),
        account_id: text("123456789012"),
        ami_id: text("ami-9"),
        private_ip: text("10.0.0.7"),
        tags: [("Name".to_owned(), "web".to_owned())].into_iter().collect(),
    };
    let now = "2026-11-21T12:00:00Z".parse().unwrap();
    let origin = Origin { path: Path::new("/a"), file: FileKey(1), offset: 0, header: None, now, ec2: &ec2 };
    let mut out = Vec::new();
    let processed = processor(settings).process(br#"{"a":1}"#, &origin, &mut out, &mut String::new());
    assert_eq!(processed, Processed::of(Made::Record));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"a":1,"privateIp":"10.0.0.7","availabilityZone":"eu-west-1b","instanceId":"i-7","instanceType":"t4g.nano","accountId":"123456789012","amiId":"ami-9","region":"eu-west-1","metadataTimestamp":"2026-11-21T12:00:00.000Z","tags":{"name":"web"}}"#
    );
}

#[test]
fn addbrackets() {
    // There the newline of the line stands before the bracket that closes.
    check("[flow.record]\ntemplate = \"{${line.text}\\n}\"", "hello there", "{hello there\n}");
}
