//! VPC flow logs of AWS: words, as many as there are columns.
//!
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>. Columns have the names that AWS writes into the
//! headers of files, with hyphens, whether the header, the configuration or nobody says them. `-` says that there is no value;
//! so do most words of a line that tells of no traffic (NODATA) or of lost records (SKIPDATA).

use std::iter;

use super::pieces::{find_near, value};
use crate::config::Columns;
use crate::processor::fields::{Arena, Fields};

/// The default format, which is that of version 2.
pub(super) const FIELDS: &[&str] = &[
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
];

/// What the columns are called.
pub(in crate::processor) enum Parser {
    Fixed(Vec<String>),
    /// As the words of the header.
    Header,
}

impl Parser {
    pub(super) fn new(columns: Option<&Columns>) -> Self {
        match columns {
            None => Self::Fixed(FIELDS.iter().map(|name| (*name).to_owned()).collect()),
            Some(Columns::Named(names)) => Self::Fixed(names.clone()),
            Some(Columns::Header) => Self::Header,
        }
    }

    pub(super) fn parse<'l>(
        &'l mut self,
        line: &'l [u8],
        header: Option<&'l [u8]>,
        _: &'l Arena,
        fields: &mut Fields<'l>,
    ) -> Option<()> {
        match self {
            Self::Fixed(names) => fill(names.iter().map(String::as_bytes), line, fields),
            Self::Header => {
                fill(words(header?), line, fields)?;
                // A custom format may have the same column twice.
                fields.keep_one_of_each_name();
                Some(())
            }
        }
    }
}

/// Adds the words of `line` as the fields `names`; none when there are more or fewer.
fn fill<'l>(names: impl Iterator<Item = &'l [u8]>, line: &'l [u8], fields: &mut Fields<'l>) -> Option<()> {
    let mut words = words(line);
    for name in names {
        let word = words.next()?;
        if name.is_empty() || word.is_empty() {
            return None;
        }
        fields.push(name, value(word));
    }
    words.next().is_none().then_some(())
}

/// What stands between single spaces; between two there is an empty one.
fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line.trim_ascii_end());
    iter::from_fn(move || {
        let text = rest?;
        let end = find_near(b' ', text);
        rest = end.map(|end| &text[end + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Format;
    use crate::processor::format::tests::{check, fields_of, fields_under};

    #[test]
    fn the_default_format() {
        let check = |line: &str, expected: &str| check(&Format::AwsVpcFlow(None), line, expected);
        let expected = "version=\"2\" account-id=\"111122223333\" interface-id=\"eni-0a1b2c3d\" srcaddr=\"172.31.16.139\" \
                        dstaddr=\"2001:db8::1\" srcport=\"20641\" dstport=\"22\" protocol=\"6\" packets=\"20\" bytes=\"4249\" \
                        start=\"1793700000\" end=\"1793700060\" action=\"ACCEPT\" log-status=\"OK\"";
        let line = "2 111122223333 eni-0a1b2c3d 172.31.16.139 2001:db8::1 20641 22 6 20 4249 1793700000 1793700060 ACCEPT OK";
        check(line, expected);
        check(&format!("{line} \r"), expected);
        for status in ["NODATA", "SKIPDATA"] {
            check(
                &format!("2 111122223333 eni-0a1b2c3d - - - - - - - 1793700000 1793700060 - {status}"),
                &format!(
                    "version=\"2\" account-id=\"111122223333\" interface-id=\"eni-0a1b2c3d\" srcaddr=null dstaddr=null \
                     srcport=null dstport=null protocol=null packets=null bytes=null start=\"1793700000\" \
                     end=\"1793700060\" action=null log-status=\"{status}\""
                ),
            );
        }
        for wrong in ["", "2", "2 - - - - - - - - - - - -", "2 - - - - - - - - - - - - - -", "2  - - - - - - - - - - - -"] {
            check(wrong, "");
        }
        check(&format!(" {line}"), "");
        check(&line.replace(' ', "\t"), "");
    }

    #[test]
    fn columns_of_the_configuration() {
        let columns = Columns::Named(["vpc-id", "flow direction"].map(str::to_owned).to_vec());
        let check = |line: &str, expected: &str| check(&Format::AwsVpcFlow(Some(columns.clone())), line, expected);
        check("vpc-0def egress", r#"vpc-id="vpc-0def" flow direction="egress""#);
        check("- -", "vpc-id=null flow direction=null");
        check("vpc-0def", "");
        check("vpc-0def egress 8", "");
    }

    #[test]
    fn columns_of_the_header() {
        let check = |header: Option<&str>, line: &str, expected: Option<&str>| {
            let found = fields_under(&Format::AwsVpcFlow(Some(Columns::Header)), header.map(str::as_bytes), line.as_bytes());
            assert_eq!(found.as_deref(), expected, "{line} under {header:?}");
        };
        check(Some("version traffic-path\r"), "5 8", Some(r#"version="5" traffic-path="8""#));
        check(Some("srcaddr dstaddr srcaddr"), "10.0.0.1 - 10.0.0.1", Some(r#"srcaddr="10.0.0.1" dstaddr=null"#));
        check(Some("version  traffic-path"), "5 8", None);
        check(Some("version  traffic-path"), "5 x 8", None);
        check(Some("version traffic-path"), "5", None);
        check(Some(""), "", None);
        check(Some(""), "5", None);
        check(None, "5 8", None);
    }

    proptest! {
        #[test]
        fn words_are_those_of_a_second_way_to_divide(line in "(-|[a-z0-9:.]{0,3}|  )( (-|[a-z0-9:.]{0,3}|\t)){10,15}[ \r\n]{0,2}") {
            let words: Vec<&str> = line.trim_end().split(' ').collect();
            let is_line = words.len() == FIELDS.len() && words.iter().all(|word| !word.is_empty());
            let shown = FIELDS.iter().zip(words).map(|(name, word)| match word {
                "-" => format!("{name}=null"),
                word => format!("{name}=\"{word}\""),
            });
            let expected = is_line.then(|| shown.collect::<Vec<_>>().join(" "));
            prop_assert_eq!(fields_of(&Format::AwsVpcFlow(None), line.as_bytes()), expected);
        }
    }
}
