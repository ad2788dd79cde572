//! `[flow.parse]`, `[flow.filter]` and `[flow.record]`: what may be said of fields.

use super::*;

/// What is wrong with a flow of these settings, its first line being the fourth; a pattern with the fields `ip` and
/// `status` stands before them unless they have a `[flow.parse]` of their own.
fn mistakes_of(settings: &str) -> Vec<String> {
    let parse = if settings.contains("[flow.parse]") { "" } else { "[flow.parse]\nregex = '(?<ip>a)(?<status>b)'\n" };
    let lines_before = if parse.is_empty() { 4 } else { 6 };
    let source = format!("[[flow]]\nname = 'a'\nfiles = '/a'\n{parse}{settings}\n[flow.kinesis]\nstream = 's'\n");
    let in_settings = |mistake: String| {
        let (line, rest) = mistake.split_once(':').unwrap();
        format!("{}:{rest}", line.parse::<usize>().unwrap() + 1 - lines_before)
    };
    mistakes(&source).into_iter().map(in_settings).collect()
}

#[track_caller]
fn check(settings: &str, expected: &[&str]) {
    assert_eq!(mistakes_of(settings), expected, "{settings}");
}

#[test]
fn one_format() {
    for format in ["apache_combined", "json", "aws_vpc_flow"] {
        check(&format!("[flow.parse]\nformat = '{format}'"), &[]);
    }
    check(
        "[flow.parse]",
        &[
            "1:1 one of `regex`, `format` is missing in [flow.parse] (write format = \"apache_combined\", or regex = '^(?<name>…)$': each named group becomes a field)",
        ],
    );
    check(
        "[flow.parse]\nregex = '(?<a>b)'\nformat = 'json'",
        &["1:1 `regex` and `format` exclude each other (leave one of them out)"],
    );
    check("[flow.parse]\nregex = []", &["1:1 `regex` is empty (write regex = '^(?<name>…)$')"]);
    check(
        "[flow.parse]\nregex = ['(?<a>b)', 'c', '(?<a>']",
        &["2:27 `regex`: unclosed group (the syntax is that of the Rust crate regex)"],
    );
    check("[flow.parse]\nregex = ['(?<a>b)', 'c']", &["2:21 `regex` has no named group (name what becomes a field: (?<name>…))"]);
    let [mistake] = &mistakes_of("[flow.parse]\nformat = 'apache'")[..] else { panic!() };
    assert!(mistake.starts_with("2:10 `format` cannot be \"apache\" (did you mean \"apache_"), "{mistake}");
}

#[test]
fn tables_have_columns() {
    check("[flow.parse]\nformat = 'csv'\ncolumns = ['a', 'b']\ndelimiter = \"\\t\"", &[]);
    check("[flow.parse]\nformat = 'csv'\nheader = true", &[]);
    check(
        "[flow.parse]\nformat = 'csv'",
        &[
            "1:1 one of `columns`, `header` is missing in [flow.parse] (write columns = [\"…\", \"…\"], or header = true if each file begins with them)",
        ],
    );
    check(
        "[flow.parse]\nformat = 'csv'\ncolumns = ['a', 'a']",
        &["3:18 two columns are called `a` (give each a name of its own)"],
    );
    check(
        "[flow.parse]\nformat = 'json'\ncolumns = ['a']\ndelimiter = ';'",
        &[
            "1:1 `columns` has no meaning here (only format = \"csv\" and \"aws_vpc_flow\" have columns)",
            "1:1 `delimiter` has no meaning here (only format = \"csv\" has one)",
        ],
    );
    check(
        "[flow.parse]\nformat = 'csv'\nheader = true\ndelimiter = '||'",
        &[
            "4:13 `delimiter` cannot be used (write one ASCII character that is neither a quote nor a line break, for example \";\" or \"\\t\")",
        ],
    );
}

#[test]
fn templates_name_what_there_is() {
    let fields = "the fields are `ip`, `status`; there are variables, too, such as `${host.name}`";
    check("[flow.record]\ntemplate = '${ip} ${status} ${host.name} ${env.HOME} ${ec2.tags.Name} $${x}'", &[]);
    check(
        "[flow.record]\ntemplate = 'a ${user} b'",
        &[&format!("2:15 `template` names `user`, which is not a field ({fields})")],
    );
    check(
        "[flow.record]\ntemplate = '${statu}'",
        &["2:13 `template` names `statu`, which is not a field (did you mean `${status}`?)"],
    );
    check(
        "[flow.record]\ntemplate = '${host.nam}'",
        &["2:13 `template`: there is no variable `host.nam` (did you mean `${host.name}`?)"],
    );
    check(
        "[flow.record]\ntemplate = 'é ${ip'",
        &["2:15 `template`: a `${` without `}` (write ${name}; for a `${` as it is write `$${`)"],
    );
    // Fields that lines name are not known, variables are.
    check("[flow.parse]\nformat = 'json'\n[flow.record]\nadd = { a = '${any.thing}' }", &[]);
    let [mistake] = &mistakes_of("[flow.parse]\nformat = 'json'\n[flow.record]\nadd = { a = '${ec2.instance}' }")[..] else {
        panic!()
    };
    assert_eq!(mistake, "4:14 `add`: there is no variable `ec2.instance` (did you mean `${ec2.instance_id}`?)");
}

#[test]
fn no_two_fields_of_one_name() {
    let help = "(rename or remove one of them)";
    check("[flow.record]\nadd = { ip = 'x' }", &[&format!("2:9 two fields are called `ip` {help}")]);
    check("[flow.record]\nremove = ['ip']\nadd = { ip = 'x' }", &[]);
    check("[flow.record]\nrename = { ip = 'status' }", &[&format!("2:17 two fields are called `status` {help}")]);
    check(
        "[flow.record]\nadd = { ip.kind = 'x' }",
        &[&format!("2:12 `ip` and `ip.kind`: a field cannot be a value and an object {help}")],
    );
    check(
        "[flow.record]\nadd = { a = 'x', 'b..c' = 'y' }",
        &["2:18 a field without a name (a dot in a name nests: write a name on both sides of it)"],
    );
    check(
        "[flow.parse]\nregex = '(?<a>b)'\non_mismatch = 'wrap'\n[flow.record]\nadd = { error = 'x' }",
        &["5:9 `error` is a field of lines that on_mismatch = \"wrap\" wraps (give it another name)"],
    );
}

#[test]
fn settings_that_contradict_each_other() {
    check("[flow.record]\noutput = 'template'", &["1:1 `template` is missing in [flow.record] (write template = \"${…} ${…}\")"]);
    check(
        "[flow.record]\noutput = 'raw'\nadd = { a = 'x' }",
        &["1:1 `add` has no effect with this `output` (it changes the fields of output = \"json\"; leave one of the two out)"],
    );
    check(
        "[flow.record]\noutput = 'raw'\ntemplate = 'x'",
        &["1:1 `template` has no effect with this `output` (write output = \"template\", or leave it out)"],
    );
    check(
        "[flow.record]\nremove = ['ip']\nkeep_only = ['status']",
        &["1:1 `keep_only` and `remove` exclude each other (leave one of them out)"],
    );
    check(
        "[flow.record]\nremove = ['ipp']",
        &["2:11 `remove` names `ipp`, which is not a field of [flow.parse] (did you mean `ip`?)"],
    );
    check(
        "[flow.record]\nterminator = '12345678901234567'",
        &["2:14 `terminator` is too long: 17 bytes (write at most 16 bytes)"],
    );
    check(
        "[flow.record]\nadd = { a = nan }",
        &["2:13 `add`: there is no such value in JSON (write a string, or a finite number)"],
    );
}

#[test]
fn conditions_ask_for_something() {
    check("[flow.filter]\nkeep = ['a', { line = 'b' }]\ndrop = [{ field = 'ip', is = ['x', 1] }]\nsample = 0.5", &[]);
    check(
        "[flow.filter]\nkeep = 'a'",
        &["2:8 `keep` must be a list, not a string (write ['pattern of a line', { field = \"…\", is = \"…\" }])"],
    );
    check("[flow.filter]\nkeep = ['(a']", &["2:10 `keep`: unclosed group (the syntax is that of the Rust crate regex)"]);
    let tests = "one of `matches`, `is`, `is_not`, `above`, `at_least`, `below`, `at_most`, `exists`";
    check("[flow.filter]\nkeep = [{ field = 'ip' }]", &[&format!("2:9 nothing is asked of the field `ip` (write {tests})")]);
    check(
        "[flow.filter]\ndrop = [{ line = 'x', is = 'y' }]",
        &["2:9 it is not said of which field this is asked (write field = \"…\")"],
    );
    check(
        "[flow.filter]\ndrop = [{ field = 'pi', is = 'y' }]",
        &["2:19 `field` names `pi`, which is not a field of [flow.parse] (did you mean `ip`?)"],
    );
    check(
        "[flow.filter]\ndrop = [{ field = 'ip', above = '1' }]",
        &["2:33 `above` must be a number, not a string (write it in digits, without quotes)"],
    );
    let never = "2:9 no field can be as it is asked (the bounds exclude each other, or something is asked of a field that must not exist)";
    for tests in ["above = 10, below = 5", "above = 5, at_most = 5", "at_least = 6, at_most = 5", "exists = false, is = 'x'"] {
        check(&format!("[flow.filter]\ndrop = [{{ field = 'ip', {tests} }}]"), &[never]);
    }
    check(
        "[flow.filter]\ndrop = [{ field = 'ip', above = 4, at_least = 5, at_most = 5, below = 6, exists = true }, { field = 'ip', above = 4, below = 5 }]",
        &[],
    );
    check("[flow.filter]\nsample = 1.5", &["2:10 `sample` is out of range: 1.5 (from 0 to 1)"]);
    check(
        "[flow.filter]\nsample = { key = '${ip}' }",
        &["2:10 `rate` is missing in [flow.filter.sample] (write rate = 0.1 to send a tenth)"],
    );
}

#[test]
fn partition_keys() {
    let with_key = |key: &str| mistakes(&SOUND.replace("stream =", &format!("partition_key = '{key}'\nstream =")));
    for key in ["host", "file", "random", "fixed:a b", "${remote}", "${host.name}-${status}"] {
        assert!(with_key(key).is_empty(), "{key}");
    }
    assert_eq!(with_key("fixed:"), ["19:17 `partition_key` cannot be used (write 1 to 256 characters behind `fixed:`)"]);
}
