//! `[aws]`: where the services are.

use super::Aws;
use super::reader::{Placed, Table};

/// Reads `[aws]`.
pub(super) fn read(table: &mut Table<'_>) -> Aws {
    let region = region(table);
    let (kinesis_endpoint, firehose_endpoint, ec2_metadata_endpoint) = table.section("endpoints", |endpoints| {
        let kinesis_help = "write a URL, for example \"https://kinesis.us-east-1.amazonaws.com\" or \"http://127.0.0.1:4567\"";
        let firehose_help = "write a URL, for example \"https://firehose.us-east-1.amazonaws.com\"";
        let ec2_metadata_help = "write a URL, for example \"http://[fd00:ec2::254]\"";
        (
            url(endpoints, "kinesis", kinesis_help),
            url(endpoints, "firehose", firehose_help),
            url(endpoints, "ec2_metadata", ec2_metadata_help),
        )
    });
    Aws { region, kinesis_endpoint, firehose_endpoint, ec2_metadata_endpoint }
}

fn region(table: &mut Table<'_>) -> Option<String> {
    let Placed { value, place } = table.string("region")?;
    if !is_region(value) {
        let help = "write it as in the service's addresses, for example \"us-east-1\"";
        table.mistake(&place, format!("`region` cannot be \"{value}\""), help);
    }
    Some(value.to_owned())
}

/// Words of small letters, then a number: `us-east-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let mut words = text.split('-').rev();
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    words.next().is_some_and(is_number) && words.clone().count() >= 2 && words.all(is_word)
}

fn url(table: &mut Table<'_>, key: &'static str, help: &str) -> Option<String> {
    let Placed { value, place } = table.string(key)?;
    let uri = value.parse::<hyper::Uri>().ok();
    if !uri
        .is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty()))
    {
        table.mistake(&place, format!("`{key}` must be an http or https URL"), help);
    }
    Some(value.to_owned())
}
