use proptest::prelude::*;

use super::super::tests::{check, fields_of, fields_under};
use super::*;
use crate::config::Format;

fn named(columns: &[&str], delimiter: u8) -> Format {
    let columns = Columns::Named(columns.iter().map(|name| (*name).to_owned()).collect());
    Format::Csv(Csv { columns, delimiter })
}

fn with_header(delimiter: u8) -> Format {
    Format::Csv(Csv { columns: Columns::Header, delimiter })
}

#[test]
fn values_have_the_names_of_their_columns() {
    let three = named(&["a", "b", "c"], b',');
    for (line, expected) in [
        ("1,2,3", r#"a="1" b="2" c="3""#),
        (" 1 ,\t2,3 ", r#"a=" 1 " b="	2" c="3 ""#),
        (",,", r#"a="" b="" c="""#),
        ("1,,", r#"a="1" b="" c="""#),
        (",,3", r#"a="" b="" c="3""#),
        // Fewer than there are columns, or more.
        ("1", r#"a="1" b=null c=null"#),
        ("1,", r#"a="1" b="" c=null"#),
        ("1,2,3,", ""),
        ("1,2,3,4", ""),
        // Quotes.
        (r#""1","2","3""#, r#"a="1" b="2" c="3""#),
        (r#""1","",3"#, r#"a="1" b="" c="3""#),
        (r#""1,5","say ""no""",3"#, r#"a="1,5" b="say "no"" c="3""#),
        (r#""""""#, r#"a=""" b=null c=null"#),
        (r#"""",""",2,""""#, ""),
        (r#"""",""",2,"""""#, r#"a="","" b="2" c=""""#),
        (r#"1,"2""#, r#"a="1" b="2" c=null"#),
        (r#"1,"2","#, r#"a="1" b="2" c="""#),
        (r#"1,2,"3","#, ""),
        (r#""1",2,3,4"#, ""),
        (r#""1","2","3","4","5""#, ""),
        (r#"say "no", "b","c"d"e"#, r#"a="say "no"" b=" "b"" c="cd"e""#),
        (r#""never closed,2,3"#, ""),
        (r#"1,2,"never closed"#, ""),
        (r#"1,2,""""#, ""),
        // Ends of lines.
        ("1,2,3\r", r#"a="1" b="2" c="3""#),
        ("1,2,\"3\"\r", r#"a="1" b="2" c="3""#),
        ("1\r,2,3\r\r", "a=\"1\r\" b=\"2\" c=\"3\r\""),
        ("\"1\n2\",\"3\r\n\",4", "a=\"1\n2\" b=\"3\r\n\" c=\"4\""),
        ("1,2\n3,4", ""),
        ("\"1\"\n\"2\"", ""),
        ("1,2,3\n", ""),
        ("\n\n1,2,3", r#"a="1" b="2" c="3""#),
        // Nothing.
        ("", ""),
        ("\r", ""),
        ("\n", ""),
        ("\u{feff}", ""),
        ("\u{feff}1,\u{feff}2", "a=\"1\" b=\"\u{feff}2\" c=null"),
        ("\u{feff}\"1\",2", r#"a="1" b="2" c=null"#),
    ] {
        check(&three, line, expected);
    }
    check(&named(&["only"], b','), "", "");
    check(&named(&["only"], b','), r#""""#, r#"only="""#);
}

#[test]
fn any_byte_may_be_the_delimiter() {
    for delimiter in [b';', b'\t', b'|', b' ', b'a', 0, 1] {
        let format = named(&["x", "y", "z"], delimiter);
        let written = |line: &str| line.replace(';', &char::from(delimiter).to_string());
        check(&format, &written("1;2,0;3"), r#"x="1" y="2,0" z="3""#);
        check(&format, &written("1;;\"2,0;3\""), &written(r#"x="1" y="" z="2,0;3""#));
    }
}

#[test]
fn values_need_not_be_utf_8() {
    let format = named(&["a", "b"], b',');
    assert_eq!(fields_of(&format, b"\xff,\x80").unwrap(), "a=\"\u{fffd}\" b=\"\u{fffd}\"");
    assert_eq!(fields_of(&format, b"\"\xff\",\x80").unwrap(), "a=\"\u{fffd}\" b=\"\u{fffd}\"");
}

#[test]
fn what_stands_in_the_line_is_not_copied() {
    let (format, arena, line) = (named(&["a", "b"], b','), Arena::new(), b"one,two".as_slice());
    let mut parser = super::super::Parser::new(Some(&format));
    let mut fields = Fields::new(&arena);
    parser.parse(line, None, &arena, &mut fields).unwrap();
    let Some(Value::Text(value)) = fields.named(b"b") else { panic!() };
    assert!(std::ptr::eq(value, &raw const line[4..]));
}

#[test]
fn a_header_names_the_columns() {
    for (header, line, expected) in [
        ("a,b", "1,2", r#"a="1" b="2""#),
        ("a,b\r", "1,2\r", r#"a="1" b="2""#),
        ("\u{feff}a,b", "1", r#"a="1" b=null"#),
        ("a,b", "1,2,3", ""),
        ("a,b", "a,b", r#"a="a" b="b""#),
        (r#""a,1"," b ","c""""#, "1,2,3", r#"a,1="1"  b ="2" c"="3""#),
        ("a,,a,b,", "1,2,3,4,5", r#"a="1" column_2="2" column_3="3" b="4" column_5="5""#),
        ("column_3,,,column_2", "1,2,3,4", r#"column_3="1" column_2_="2" column_3_="3" column_2="4""#),
        ("a,a,column_2,column_2_", "1,2,3,4", r#"a="1" column_2__="2" column_2="3" column_2_="4""#),
        ("", "1", ""),
        ("\"a", "1", ""),
        ("\"a\nb\"", "1", "a\nb=\"1\""),
    ] {
        let found = fields_under(&with_header(b','), Some(header.as_bytes()), line.as_bytes());
        assert_eq!(found.unwrap_or_default(), expected, "{header:?} {line:?}");
    }
    assert_eq!(fields_under(&with_header(b','), None, b"1"), None);
    assert_eq!(fields_under(&with_header(b';'), Some(b"a;b"), b"1;2").unwrap(), r#"a="1" b="2""#);
    assert_eq!(fields_under(&named(&["x"], b','), Some(b"a,b"), b"1").unwrap(), r#"x="1""#);
}

#[test]
fn a_header_has_no_more_columns_than_a_table_may_have() {
    for (count, is_sound) in [(COLUMNS_MAX, true), (COLUMNS_MAX + 1, false)] {
        for quote in ["", "\""] {
            let header = vec![format!("{quote}x{quote}"); count].join(",");
            let found = fields_under(&with_header(b','), Some(header.as_bytes()), b"1");
            assert_eq!(found.is_some(), is_sound, "{count} {quote}");
        }
    }
}

/// Lines of two files may come in turns.
#[test]
fn a_header_is_that_of_the_line_and_not_of_one_before() {
    let format = with_header(b',');
    let mut parser = super::super::Parser::new(Some(&format));
    let headers = [Some("a,b"), Some("c"), Some("a,b"), None, Some("c"), Some("\""), Some("c"), Some("c")];
    let names = headers.map(|header| {
        let arena = Arena::new();
        let mut fields = Fields::new(&arena);
        parser.parse(b"1", header.map(str::as_bytes), &arena, &mut fields)?;
        Some(fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect::<Vec<_>>().join(","))
    });
    assert_eq!(names.each_ref().map(Option::as_deref), headers.map(|header| header.filter(|header| *header != "\"")));
}

/// The values of a record, found byte by byte; none when it is no record.
fn values_in(line: &[u8], delimiter: u8) -> Option<Vec<Vec<u8>>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut rest = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    while let Some(behind) = rest.strip_prefix(b"\n") {
        rest = behind;
    }
    let mut bytes = rest.iter().copied().peekable();
    bytes.peek()?;
    let mut values = vec![Vec::new()];
    let mut is_at_start = true;
    while let Some(byte) = bytes.next() {
        let value = values.last_mut()?;
        match byte {
            b'"' if is_at_start => {
                loop {
                    match bytes.next()? {
                        b'"' if bytes.next_if_eq(&b'"').is_none() => break,
                        byte => value.push(byte),
                    }
                }
                is_at_start = false;
            }
            b'\n' => return None,
            byte if byte == delimiter => {
                values.push(Vec::new());
                is_at_start = true;
            }
            byte => {
                value.push(byte);
                is_at_start = false;
            }
        }
    }
    Some(values)
}

fn quoted(value: &[u8], delimiter: u8, always: bool) -> Vec<u8> {
    let needs_quotes = value.iter().any(|byte| b"\"\r\n".contains(byte) || *byte == delimiter) || value.starts_with(&[0xef]);
    if !needs_quotes && !always {
        return value.to_vec();
    }
    let doubled = value.iter().flat_map(|byte| if *byte == b'"' { vec![b'"', b'"'] } else { vec![*byte] });
    std::iter::once(b'"').chain(doubled).chain([b'"']).collect()
}

/// The values of `line`, absent ones left out.
fn values_of(format: &Format, line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let arena = Arena::new();
    let mut parser = super::super::Parser::new(Some(format));
    let mut fields = Fields::new(&arena);
    parser.parse(line, None, &arena, &mut fields)?;
    let mut values = Vec::new();
    for field in fields.iter() {
        match field.value {
            Value::Text(text) => values.push(text.to_vec()),
            other => assert_eq!(other, Value::Null),
        }
    }
    Some(values)
}

fn any_delimiter() -> impl Strategy<Value = u8> {
    proptest::sample::select(b",;\t| x".to_vec())
}

proptest! {
    /// What is written by the rules is read back; and whatever becomes of a line, a parser that goes byte by byte finds
    /// the same in it.
    #[test]
    fn records_are_read_back_and_mutations_are_read_alike(
        delimiter in any_delimiter(),
        values in proptest::collection::vec(("[a-c,;\t|x \"\r\n\u{e9}\u{feff}]{0,5}", any::<bool>()), 1..6),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..3, "[,\"\r\nab]{0,2}"), 0..4),
    ) {
        let format = named(&["1", "2", "3", "4"], delimiter);
        let written: Vec<_> = values.iter().map(|(value, always)| quoted(value.as_bytes(), delimiter, *always)).collect();
        let mut line = written.join(&delimiter);
        let values: Vec<_> = values.into_iter().map(|(value, _)| value.into_bytes()).collect();
        let is_record = !line.is_empty() && values.len() <= 4;
        prop_assert_eq!(values_of(&format, &line), is_record.then_some(values));
        for (at, removed_count, inserted) in mutations {
            let at = at.index(line.len() + 1);
            let end = (at + removed_count).min(line.len());
            line.splice(at..end, inserted.bytes());
            let expected = values_in(&line, delimiter).filter(|values| values.len() <= 4);
            prop_assert_eq!(values_of(&format, &line), expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_are_read_alike(line in any::<Vec<u8>>(), delimiter in any_delimiter()) {
        let format = named(&["1", "2", "3", "4"], delimiter);
        let expected = values_in(&line, delimiter).filter(|values| values.len() <= 4);
        prop_assert_eq!(values_of(&format, &line), expected);
    }

    /// The names under a header are as many as its columns, and no two are the same.
    #[test]
    fn names_are_distinct(header in "(column_[1-4]_{0,2}|a||\"b\")(,(column_[1-4]_{0,2}|a||\"b\")){0,6}") {
        let (format, arena) = (with_header(b','), Arena::new());
        let mut parser = super::super::Parser::new(Some(&format));
        let mut fields = Fields::new(&arena);
        let found = parser.parse(b"1", Some(header.as_bytes()), &arena, &mut fields);
        prop_assert_eq!(found.is_some(), !header.is_empty());
        if found.is_some() {
            let names: HashSet<&[u8]> = fields.iter().map(|field| field.name).collect();
            prop_assert_eq!(names.len(), fields.iter().len());
            prop_assert_eq!(names.len(), header.split(',').count());
        }
    }
}
