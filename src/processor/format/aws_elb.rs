//! Access logs of AWS's load balancers: Application, Network (of its TLS listeners) and Classic.
//!
//! Which one wrote a line is told by how it begins. Fields have the names that AWS gives them in
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>,
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html> and
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>; what the balancer does not
//! have is absent. AWS adds fields at the end from time to time: a line that is older has no such field, and what is newer than
//! this list is passed over. Of escapes AWS says nothing; those of a quote and of a backslash are undone.

use super::pieces::{literal, quoted, value, without_carriage_return, word};
use crate::processor::fields::{Arena, Fields, Value};

/// All that any of them writes. In the order of the Application Load Balancer, with those of the others beside what they are
/// akin to.
pub(super) const FIELDS: &[&str] = &[
    "type",
    "version",
    "time",
    "elb",
    "listener",
    "client:port",
    "target:port",
    "backend:port",
    "destination:port",
    "connection_time",
    "tls_handshake_time",
    "request_processing_time",
    "target_processing_time",
    "backend_processing_time",
    "response_processing_time",
    "elb_status_code",
    "target_status_code",
    "backend_status_code",
    "received_bytes",
    "sent_bytes",
    "request",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
    "target_group_arn",
    "trace_id",
    "domain_name",
    "incoming_tls_alert",
    "chosen_cert_arn",
    "chosen_cert_serial",
    "tls_cipher",
    "tls_protocol_version",
    "tls_named_group",
    "alpn_fe_protocol",
    "alpn_be_protocol",
    "alpn_client_preference_list",
    "tls_connection_creation_time",
    "matched_rule_priority",
    "request_creation_time",
    "actions_executed",
    "redirect_url",
    "error_reason",
    "target:port_list",
    "target_status_code_list",
    "classification",
    "classification_reason",
    "conn_trace_id",
    "transformed_host",
    "transformed_uri",
    "request_transform_status",
];

const APPLICATION: [usize; 33] = slots([
    "type",
    "time",
    "elb",
    "client:port",
    "target:port",
    "request_processing_time",
    "target_processing_time",
    "response_processing_time",
    "elb_status_code",
    "target_status_code",
    "received_bytes",
    "sent_bytes",
    "request",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
    "target_group_arn",
    "trace_id",
    "domain_name",
    "chosen_cert_arn",
    "matched_rule_priority",
    "request_creation_time",
    "actions_executed",
    "redirect_url",
    "error_reason",
    "target:port_list",
    "target_status_code_list",
    "classification",
    "classification_reason",
    "conn_trace_id",
    "transformed_host",
    "transformed_uri",
    "request_transform_status",
]);
const NETWORK: [usize; 22] = slots([
    "type",
    "version",
    "time",
    "elb",
    "listener",
    "client:port",
    "destination:port",
    "connection_time",
    "tls_handshake_time",
    "received_bytes",
    "sent_bytes",
    "incoming_tls_alert",
    "chosen_cert_arn",
    "chosen_cert_serial",
    "tls_cipher",
    "tls_protocol_version",
    "tls_named_group",
    "domain_name",
    "alpn_fe_protocol",
    "alpn_be_protocol",
    "alpn_client_preference_list",
    "tls_connection_creation_time",
]);
const CLASSIC: [usize; 15] = slots([
    "time",
    "elb",
    "client:port",
    "backend:port",
    "request_processing_time",
    "backend_processing_time",
    "response_processing_time",
    "elb_status_code",
    "backend_status_code",
    "received_bytes",
    "sent_bytes",
    "request",
    "user_agent",
    "ssl_cipher",
    "ssl_protocol",
]);

/// What an Application Load Balancer calls the kind of a request.
const REQUEST_TYPES: [&[u8]; 6] = [b"http", b"https", b"h2", b"grpcs", b"ws", b"wss"];

/// The places of `names` in [`FIELDS`].
const fn slots<const COUNT: usize>(names: [&str; COUNT]) -> [usize; COUNT] {
    let mut slots = [0; COUNT];
    let mut index = 0;
    while index < COUNT {
        while !is_same(names[index].as_bytes(), FIELDS[slots[index]].as_bytes()) {
            slots[index] += 1;
        }
        index += 1;
    }
    slots
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    let mut index = 0;
    while index < left.len() && index < right.len() && left[index] == right[index] {
        index += 1;
    }
    index == left.len() && index == right.len()
}

/// What a load balancer writes.
struct Layout {
    /// The places in [`FIELDS`] of the fields of a line, in its order.
    slots: &'static [usize],
    /// How many of them the oldest lines have.
    least_count: usize,
    /// Without them quotes are a part of the value: a list of protocols is `"h2","http/1.1"`.
    has_quotes: bool,
}

pub(super) fn parse<'l>(line: &'l [u8], arena: &'l Arena, fields: &mut Fields<'l>) -> Option<()> {
    let mut rest = without_carriage_return(line).trim_ascii_end();
    let layout = layout(rest)?;
    let mut values = [Value::Absent; FIELDS.len()];
    let mut found_count = 0;
    for slot in layout.slots {
        if found_count > 0 {
            literal(&mut rest, b" ")?;
        }
        let text = if layout.has_quotes && rest.starts_with(b"\"") { quoted(&mut rest, arena) } else { word(&mut rest) };
        *values.get_mut(*slot)? = value(text?);
        found_count += 1;
        if rest.is_empty() {
            break;
        }
    }
    if found_count < layout.least_count || !(rest.is_empty() || rest.starts_with(b" ")) {
        return None;
    }
    for (name, value) in FIELDS.iter().zip(values) {
        fields.push(name, value);
    }
    Some(())
}

/// What `line` must have, by its first words.
fn layout(line: &[u8]) -> Option<Layout> {
    let mut rest = line;
    let mut next_word = || {
        let found = word(&mut rest);
        literal(&mut rest, b" ").and(found)
    };
    let first = next_word()?;
    if is_time(first) {
        return Some(Layout { slots: &CLASSIC, least_count: 12, has_quotes: true });
    }
    if first == b"tls" {
        let is_version = next_word()?.first().is_some_and(u8::is_ascii_digit);
        let layout = Layout { slots: &NETWORK, least_count: 18, has_quotes: false };
        return (is_version && is_time(next_word()?)).then_some(layout);
    }
    let layout = Layout { slots: &APPLICATION, least_count: 18, has_quotes: true };
    (REQUEST_TYPES.contains(&first) && is_time(next_word()?)).then_some(layout)
}

/// Whether `word` begins as in ISO 8601, with a date and `T`.
fn is_time(word: &[u8]) -> bool {
    const SHAPE: &[u8; 11] = b"0000-00-00T";
    let shape_of = |byte: &u8| if byte.is_ascii_digit() { b'0' } else { *byte };
    word.get(..SHAPE.len()).is_some_and(|date| date.iter().map(shape_of).eq(SHAPE.iter().copied()))
}

#[cfg(test)]
mod tests;
