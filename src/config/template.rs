//! Templates: text with `${names}` in it, of fields of the line and of variables.
//!
//! Which fields there are is said by the format. What a name stands for in a line is found out by the processor.

use std::fmt;

use super::mistakes::{listed, nearest};
use super::reader::{Placed, Table};

/// Text with names in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// In their order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is written; a `${` that is none is written `$${`.
    Text(String),
    /// A field, by the name that the format gives it. A dot leads into an object in JSON.
    Field(String),
    /// Something else.
    Variable(Variable),
}

/// What is known of a line beside its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `host.name`
    HostName,
    /// `file.path`
    FilePath,
    /// `file.name`
    FileName,
    /// `file.offset`: of the first byte of the line in its file, from 0.
    FileOffset,
    /// `flow.name`
    FlowName,
    /// `time.now`: when the line was read, RFC 3339, UTC, milliseconds.
    TimeNow,
    /// `line.text`: the line as it was read.
    LineText,
    /// `env.NAME`: a variable of the agent's environment.
    Environment(String),
    /// `ec2.…`
    Ec2(Ec2Variable),
}

/// What the metadata of an EC2 instance say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ec2Variable {
    /// `ec2.instance_id`
    InstanceId,
    /// `ec2.region`
    Region,
    /// `ec2.availability_zone`
    AvailabilityZone,
    /// `ec2.instance_type`
    InstanceType,
    /// `ec2.account_id`
    AccountId,
    /// `ec2.ami_id`
    AmiId,
    /// `ec2.private_ip`
    PrivateIp,
    /// `ec2.tags.NAME`
    Tag(String),
}

const VARIABLES: [(&str, Variable); 14] = [
    ("host.name", Variable::HostName),
    ("file.path", Variable::FilePath),
    ("file.name", Variable::FileName),
    ("file.offset", Variable::FileOffset),
    ("flow.name", Variable::FlowName),
    ("time.now", Variable::TimeNow),
    ("line.text", Variable::LineText),
    ("ec2.instance_id", Variable::Ec2(Ec2Variable::InstanceId)),
    ("ec2.region", Variable::Ec2(Ec2Variable::Region)),
    ("ec2.availability_zone", Variable::Ec2(Ec2Variable::AvailabilityZone)),
    ("ec2.instance_type", Variable::Ec2(Ec2Variable::InstanceType)),
    ("ec2.account_id", Variable::Ec2(Ec2Variable::AccountId)),
    ("ec2.ami_id", Variable::Ec2(Ec2Variable::AmiId)),
    ("ec2.private_ip", Variable::Ec2(Ec2Variable::PrivateIp)),
];
const ENVIRONMENT_PREFIX: &str = "env.";
const TAG_PREFIX: &str = "ec2.tags.";
/// What begins like this is a variable and never a field: a slip of the finger must not become an empty value.
const PREFIXES: [&str; 7] = ["host.", "file.", "flow.", "time.", "line.", "env.", "ec2."];

impl Template {
    /// The variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Text(_) | Part::Field(_) => None,
        })
    }

    /// The fields in it.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(name) => Some(name.as_str()),
            Part::Text(_) | Part::Variable(_) => None,
        })
    }
}

impl fmt::Display for Template {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(&text.replace("${", "$${")),
            Part::Field(name) => write!(f, "${{{name}}}"),
            Part::Variable(variable) => write!(f, "${{{}}}", variable.name()),
        })
    }
}

impl Variable {
    /// As it is written between the braces.
    fn name(&self) -> String {
        match self {
            Self::Environment(name) => format!("{ENVIRONMENT_PREFIX}{name}"),
            Self::Ec2(Ec2Variable::Tag(name)) => format!("{TAG_PREFIX}{name}"),
            _ => VARIABLES.iter().find(|(_, variable)| variable == self).map_or("", |(name, _)| name).to_owned(),
        }
    }
}

/// What `written`, the value of `key`, says; `names` are the fields that there are, if that is known.
pub(super) fn parse(table: &Table<'_>, key: &str, written: &Placed<&str>, source: &str, names: Option<&[String]>) -> Template {
    let text = written.value;
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut at = 0;
    while let Some(found) = text[at..].find("${").map(|offset| at + offset) {
        if text[..found].ends_with('$') {
            plain.push_str(&text[at..found - 1]);
            plain.push_str("${");
            at = found + 2;
            continue;
        }
        plain.push_str(&text[at..found]);
        let Some(length) = text[found..].find('}') else {
            let place = written.within(source, found..text.len());
            table.mistake(&place, format!("`{key}`: a `${{` without `}}`"), "write ${name}; for a `${` as it is write `$${`");
            return Template { parts };
        };
        let name = &text[found + 2..found + length];
        let place = written.within(source, found..found + length + 1);
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.extend(part(table, key, &Placed { value: name, place }, names));
        at = found + length + 1;
    }
    plain.push_str(&text[at..]);
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Template { parts }
}

fn part(table: &Table<'_>, key: &str, name: &Placed<&str>, names: Option<&[String]>) -> Option<Part> {
    let is_named = |name: &str| names.is_some_and(|names| names.iter().any(|known| known == name));
    if let Some(variable) = variable(name.value) {
        return Some(Part::Variable(variable));
    }
    if is_named(name.value) {
        return Some(Part::Field(name.value.to_owned()));
    }
    if name.value.is_empty() || PREFIXES.iter().any(|prefix| name.value.starts_with(prefix)) {
        let known = || VARIABLES.iter().map(|(known, _)| *known).chain(["env.NAME", "ec2.tags.NAME"]);
        let help = match nearest(name.value, known()) {
            Some(known) if !name.value.is_empty() => format!("did you mean `${{{known}}}`?"),
            _ => format!("variables are {}", listed(known(), '`')),
        };
        table.mistake(&name.place, format!("`{key}`: there is no variable `{}`", name.value), help);
        return None;
    }
    // Fields of objects in JSON are not known before there is a line.
    let outermost = name.value.split('.').next().unwrap_or(name.value);
    if let Some(names) = names.filter(|_| !is_named(outermost)) {
        let known = || names.iter().map(String::as_str);
        let help = match nearest(name.value, known()) {
            Some(known) => format!("did you mean `${{{known}}}`?"),
            None => format!("the fields are {}; there are variables, too, such as `${{host.name}}`", listed(known(), '`')),
        };
        table.mistake(&name.place, format!("`{key}` names `{}`, which is not a field", name.value), help);
        return None;
    }
    Some(Part::Field(name.value.to_owned()))
}

fn variable(name: &str) -> Option<Variable> {
    let of_prefix = |prefix: &str| name.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(str::to_owned);
    if let Some(name) = of_prefix(ENVIRONMENT_PREFIX) {
        return Some(Variable::Environment(name));
    }
    if let Some(tag) = of_prefix(TAG_PREFIX) {
        return Some(Variable::Ec2(Ec2Variable::Tag(tag)));
    }
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| variable.clone())
}
