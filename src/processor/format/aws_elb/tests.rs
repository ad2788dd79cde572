use std::sync::LazyLock;

use proptest::prelude::*;
use regex::bytes::Regex;

use super::*;
use crate::config::Format;
use crate::processor::format::tests::{check, fields_of};

/// The fields that are not null, which most are.
fn shown(line: &str) -> String {
    let fields = fields_of(&Format::AwsElb, line.as_bytes()).unwrap_or_default();
    fields.split_inclusive(' ').filter(|field| !field.trim_end().ends_with("=null")).collect::<String>().trim_end().to_owned()
}

#[test]
fn an_application_load_balancer() {
    let head = "https 2026-11-03T08:15:30.123456Z app/shop/0123456789abcdef 203.0.113.9:50112 10.0.3.7:8080 0.001 0.250 0.000 \
                200 200 812 15320 \"POST https://shop.example:443/cart?id=7&q=%20 HTTP/2.0\" \"Mozilla/5.0 (X11; Linux)\" \
                ECDHE-RSA-AES128-GCM-SHA256 TLSv1.3 arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/cart/89ab";
    let head_fields = "type=\"https\" time=\"2026-11-03T08:15:30.123456Z\" elb=\"app/shop/0123456789abcdef\" \
                       client:port=\"203.0.113.9:50112\" target:port=\"10.0.3.7:8080\" request_processing_time=\"0.001\" \
                       target_processing_time=\"0.250\" response_processing_time=\"0.000\" elb_status_code=\"200\" \
                       target_status_code=\"200\" received_bytes=\"812\" sent_bytes=\"15320\" \
                       request=\"POST https://shop.example:443/cart?id=7&q=%20 HTTP/2.0\" \
                       user_agent=\"Mozilla/5.0 (X11; Linux)\" ssl_cipher=\"ECDHE-RSA-AES128-GCM-SHA256\" \
                       ssl_protocol=\"TLSv1.3\" \
                       target_group_arn=\"arn:aws:elasticloadbalancing:eu-west-1:111122223333:targetgroup/cart/89ab\"";
    let check = |tail: &str, expected: &str| {
        check(
            &Format::AwsElb,
            &format!("{head}{tail}"),
            &if expected.is_empty() { String::new() } else { format!("{head_fields} {expected}") },
        );
    };
    let newest = " \"Root=1-6908-abc\" \"shop.example\" \"arn:aws:acm:eu-west-1:111122223333:certificate/c0ffee\" 12 \
                  2026-11-03T08:15:29.872000Z \"waf,forward\" \"-\" \"-\" \"10.0.3.7:8080 10.0.3.8:8080\" \"200 -\" \"-\" \"-\" TID_0a1b \
                  \"m.shop.example\" \"/c\" \"TransformSuccess\"";
    let newest_fields = "trace_id=\"Root=1-6908-abc\" domain_name=\"shop.example\" \
                         chosen_cert_arn=\"arn:aws:acm:eu-west-1:111122223333:certificate/c0ffee\" matched_rule_priority=\"12\" \
                         request_creation_time=\"2026-11-03T08:15:29.872000Z\" actions_executed=\"waf,forward\" \
                         redirect_url=null error_reason=null target:port_list=\"10.0.3.7:8080 10.0.3.8:8080\" \
                         target_status_code_list=\"200 -\" classification=null classification_reason=null \
                         conn_trace_id=\"TID_0a1b\" transformed_host=\"m.shop.example\" transformed_uri=\"/c\" \
                         request_transform_status=\"TransformSuccess\"";
    check(newest, newest_fields);
    check(&format!("{newest} \"of tomorrow\" \"not closed"), newest_fields);
    check(&format!("{newest} \r"), newest_fields);
    check(" \"Root=1\"", "trace_id=\"Root=1\"");
    check(" \"Root=1\" \"\" \"-\" -", "trace_id=\"Root=1\" domain_name=\"\" chosen_cert_arn=null matched_rule_priority=null");
    for cut in ["", " ", " \"Root", " \"Root=1\" \"shop", " \"Root=1\"x", " \"Root=1\"  -"] {
        check(cut, "");
    }
}

#[test]
fn a_network_load_balancer() {
    let line = "tls 2.0 2026-11-03T08:15:30 net/mail/0123456789abcdef 89abcdef01234567 [2001:db8::17]:51341 [2001:db8::1]:443 5 2 98 \
                246 - arn:aws:acm:us-east-2:111122223333:certificate/c0ffee - ECDHE-RSA-AES128-SHA tlsv12 - \
                mail-0123456789abcdef.elb.us-east-2.amazonaws.com h2 h2 \"h2\",\"http/1.1\" 2026-11-03T08:15:25";
    check(
        &Format::AwsElb,
        line,
        "type=\"tls\" version=\"2.0\" time=\"2026-11-03T08:15:30\" elb=\"net/mail/0123456789abcdef\" listener=\"89abcdef01234567\" \
         client:port=\"[2001:db8::17]:51341\" destination:port=\"[2001:db8::1]:443\" connection_time=\"5\" \
         tls_handshake_time=\"2\" received_bytes=\"98\" sent_bytes=\"246\" \
         domain_name=\"mail-0123456789abcdef.elb.us-east-2.amazonaws.com\" incoming_tls_alert=null \
         chosen_cert_arn=\"arn:aws:acm:us-east-2:111122223333:certificate/c0ffee\" chosen_cert_serial=null \
         tls_cipher=\"ECDHE-RSA-AES128-SHA\" tls_protocol_version=\"tlsv12\" tls_named_group=null alpn_fe_protocol=\"h2\" \
         alpn_be_protocol=\"h2\" alpn_client_preference_list=\"\"h2\",\"http/1.1\"\" \
         tls_connection_creation_time=\"2026-11-03T08:15:25\"",
    );
    let (oldest, _) = line.split_once(" h2").unwrap();
    assert!(shown(oldest).ends_with("tls_protocol_version=\"tlsv12\""));
    let (cut, _) = oldest.rsplit_once(' ').unwrap();
    check(&Format::AwsElb, cut, "");
}

#[test]
fn a_classic_load_balancer() {
    let head = "2026-11-03T08:15:30.123456Z shop [2001:db8::17]:2817 10.0.0.1:80 0.000073 0.001048 0.000057 200 404 0 29";
    let head_fields = "time=\"2026-11-03T08:15:30.123456Z\" elb=\"shop\" client:port=\"[2001:db8::17]:2817\" \
                       backend:port=\"10.0.0.1:80\" request_processing_time=\"0.000073\" backend_processing_time=\"0.001048\" \
                       response_processing_time=\"0.000057\" elb_status_code=\"200\" backend_status_code=\"404\" \
                       received_bytes=\"0\" sent_bytes=\"29\"";
    let check = |tail: &str, expected: &str| {
        check(&Format::AwsElb, &format!("{head}{tail}"), &format!("{head_fields} {expected}"));
    };
    check(" \"GET http://shop.example:80/ HTTP/1.1\"", "request=\"GET http://shop.example:80/ HTTP/1.1\"");
    check(
        " \"- - - \" \"a \\\"b\\\" \\x22c\\x22 \\\\\" - -",
        "request=\"- - - \" user_agent=\"a \"b\" \\x22c\\x22 \\\" ssl_cipher=null ssl_protocol=null",
    );
    let timed_out = "2026-11-03T08:15:30.1Z shop 203.0.113.9:1 - -1 -1 -1 504 - 0 0 \"GET / HTTP/1.1\"";
    assert_eq!(
        shown(timed_out),
        "time=\"2026-11-03T08:15:30.1Z\" elb=\"shop\" client:port=\"203.0.113.9:1\" request_processing_time=\"-1\" \
         backend_processing_time=\"-1\" response_processing_time=\"-1\" elb_status_code=\"504\" received_bytes=\"0\" \
         sent_bytes=\"0\" request=\"GET / HTTP/1.1\""
    );
}

#[test]
fn what_no_load_balancer_writes_is_a_mismatch() {
    let rest = " a b c d e f g h i j k l m n o p q r s t u v";
    for beginning in
        ["", "Enable ConnectionLog for ELB", "http 2026", "htt 2026-11-03T08", "tls x 2026-11-03T08", "tls 2.0 08", "2026-11-03 "]
    {
        check(&Format::AwsElb, &format!("{beginning}{rest}"), "");
        check(&Format::AwsElb, beginning, "");
    }
    check(&Format::AwsElb, "http", "");
    check(&Format::AwsElb, "2026-11-03T08:15:30", "");
}

/// A pattern for each balancer, of which the groups are the fields.
static PATTERNS: LazyLock<[(Regex, &[usize]); 3]> = LazyLock::new(|| {
    const VALUE: &str = r#"("(?:[^"\\]|\\.)*"|[^" ][^ ]*)"#;
    const TIME: &str = r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[^ ]*)";
    let pattern = |begin: &str, value: &str, least: usize, most: usize| {
        let least_values = format!(" {value}").repeat(least);
        // Behind the last that is known anything may follow.
        let more = (least..most).fold("(?: .*)?".to_owned(), |more, _| format!("(?: {value}{more})?"));
        Regex::new(&format!(r"(?s-u)\A{begin}{least_values}{more}[\t\n\x0c\r ]*\z")).unwrap()
    };
    [
        (pattern(&format!("(https?|h2|grpcs|wss?) {TIME}"), VALUE, 16, 31), &APPLICATION),
        (pattern(&format!("(tls) ([0-9][^ ]*) {TIME}"), "([^ ]+)", 15, 19), &NETWORK),
        (pattern(TIME, VALUE, 11, 14), &CLASSIC),
    ]
});
static ESCAPE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"(?-u)\\(["\\])"#).unwrap());

/// The texts of the fields that the patterns find.
fn by_pattern(line: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let is_network = line.starts_with(b"tls");
    PATTERNS.iter().find_map(|(pattern, slots)| {
        let groups = pattern.captures(line)?;
        let mut texts = vec![None; FIELDS.len()];
        for (slot, group) in slots.iter().zip(groups.iter().skip(1)) {
            texts[*slot] = group.map(|group| {
                let inside = group.as_bytes().strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
                match inside.filter(|_| !is_network) {
                    Some(inside) => ESCAPE.replace_all(inside, b"$1").into_owned(),
                    None => group.as_bytes().to_vec(),
                }
            });
        }
        Some(texts)
    })
}

fn a_word() -> impl Strategy<Value = String> {
    prop_oneof!["-", "-1", "[0-9.]{1,6}", "[a-z:\\[\\]/]{1,8}", "\"(h2|,|\")*\""]
}

fn in_quotes() -> impl Strategy<Value = String> {
    prop_oneof!["\"-\"", "\"\"", "\"([a-z =/:]|\\\\\"|\\\\\\\\|\\\\x22|ä){0,12}\""]
}

fn a_line() -> impl Strategy<Value = String> {
    let beginning = prop_oneof![
        "(http|https|h2|grpcs|ws|wss) 2026-11-03T08:15:30.123456Z",
        "tls 2.0 2026-11-03T08:15:30",
        "2026-11-03T08:15:30.123456Z",
        "[a-z]{0,5} ?[0-9-]{0,12}T?",
    ];
    let values = prop::collection::vec(prop_oneof![3 => a_word(), 1 => in_quotes()], 9..36);
    (beginning, values).prop_map(|(beginning, values)| format!("{beginning} {}", values.join(" ")))
}

proptest! {
    #[test]
    fn lines_have_the_fields_that_patterns_find(line in a_line(), at: prop::sample::Index, with in "[\" a\\\\\r]{0,2}", is_changed: bool) {
        let mut line = line.into_bytes();
        if is_changed {
            let at = at.index(line.len());
            line.splice(at..at + 1, with.bytes());
        }
        let arena = Arena::new();
        let mut fields = Fields::new(&arena);
        let is_found = parse(&line, &arena, &mut fields).is_some();
        let expected = by_pattern(&line);
        prop_assert_eq!(is_found, expected.is_some(), "{}", line.escape_ascii());
        for (field, expected) in fields.iter().zip(expected.into_iter().flatten()) {
            let found = match field.value {
                Value::Text(text) => Some(text.to_vec()),
                Value::Null => Some(b"-".to_vec()),
                _ => None,
            };
            prop_assert_eq!(found, expected, "{} of {}", field.name.escape_ascii(), line.escape_ascii());
        }
    }
}
