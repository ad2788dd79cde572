//! Templates, filled in for a line.

use std::cell::Cell;
use std::os::unix::ffi::OsStrExt;

use bumpalo::collections::Vec as ArenaVec;

use super::fields::{Arena, Fields, Value};
use super::mask::Masker;
use super::path::FieldPath;
use super::{Origin, Surroundings};
use crate::config::{Ec2Variable, Part, Template, Variable};

/// What a template may name of one line.
pub(super) struct Scope<'l> {
    pub(super) fields: &'l Fields<'l>,
    /// The line, masked.
    pub(super) line: &'l [u8],
    pub(super) origin: &'l Origin<'l>,
    pub(super) arena: &'l Arena,
    /// Fields and line are masked; what is made of several of them is masked again, because their parts may be anything.
    pub(super) masker: Option<&'l Masker>,
    /// Masks in such text.
    pub(super) mask_count: Cell<u32>,
}

impl<'l> Scope<'l> {
    /// Where nothing is masked.
    pub(super) fn unmasked(fields: &'l Fields<'l>, line: &'l [u8], origin: &'l Origin<'l>, arena: &'l Arena) -> Self {
        Self { fields, line, origin, arena, masker: None, mask_count: Cell::new(0) }
    }

    /// Text that is made of several parts, as it may be sent.
    fn composed(&self, text: &'l [u8]) -> &'l [u8] {
        let masked = self.masker.and_then(|masker| masker.mask(masker.of_composed(), text, self.arena));
        masked.map_or(text, |masked| {
            self.mask_count.set(self.mask_count.get().saturating_add(masked.count));
            masked.text
        })
    }
}

/// A template, with all filled in that is the same for every line.
#[derive(Debug)]
pub(super) struct Filling {
    parts: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Field(FieldPath),
    FilePath,
    FileName,
    FileOffset,
    TimeNow,
    LineText,
    Ec2(Ec2Variable),
    /// A variable that the agent's environment does not have.
    Unknown,
}

/// A value, and whether a variable that it is made of is not known.
pub(super) struct Filled<'l> {
    pub(super) value: Value<'l>,
    pub(super) is_unknown: bool,
}

impl Filling {
    pub(super) fn new(template: &Template, names: Option<&[String]>, flow: &str, surroundings: &Surroundings) -> Self {
        let piece = |part: &Part| match part {
            Part::Text(text) => Piece::Text(text.clone()),
            Part::Field(name) => Piece::Field(FieldPath::new(name, names)),
            Part::Variable(variable) => match variable {
                Variable::HostName => Piece::Text(surroundings.host_name.clone()),
                Variable::FlowName => Piece::Text(flow.to_owned()),
                Variable::Environment(name) => surroundings.environment.get(name).cloned().map_or(Piece::Unknown, Piece::Text),
                Variable::FilePath => Piece::FilePath,
                Variable::FileName => Piece::FileName,
                Variable::FileOffset => Piece::FileOffset,
                Variable::TimeNow => Piece::TimeNow,
                Variable::LineText => Piece::LineText,
                Variable::Ec2(variable) => Piece::Ec2(variable.clone()),
            },
        };
        Self { parts: template.parts.iter().map(piece).collect() }
    }

    /// The line itself.
    pub(super) fn of_line() -> Self {
        Self { parts: vec![Piece::LineText] }
    }

    /// The value for a line: of a single part what it stands for, else text, in which what is not there is empty.
    pub(super) fn value<'l>(&'l self, scope: &Scope<'l>) -> Filled<'l> {
        if let [part] = self.parts.as_slice() {
            return part.value(scope);
        }
        let mut text = ArenaVec::new_in(scope.arena);
        let mut is_unknown = false;
        for part in &self.parts {
            let filled = part.value(scope);
            is_unknown |= filled.is_unknown;
            text.extend_from_slice(filled.value.text(scope.arena).unwrap_or_default());
        }
        Filled { value: Value::Text(scope.composed(text.into_bump_slice())), is_unknown }
    }

    /// The text for a line, to be told apart from others by it; none when something in it is not there or is empty.
    pub(super) fn key<'l>(&'l self, scope: &Scope<'l>) -> Option<&'l [u8]> {
        if let [part] = self.parts.as_slice() {
            return part.value(scope).value.text(scope.arena).filter(|text| !text.is_empty());
        }
        let mut text = ArenaVec::new_in(scope.arena);
        for part in &self.parts {
            let part = part.value(scope).value.text(scope.arena).filter(|part| !part.is_empty())?;
            text.extend_from_slice(part);
        }
        Some(scope.composed(text.into_bump_slice()))
    }
}

impl Piece {
    fn value<'l>(&'l self, scope: &Scope<'l>) -> Filled<'l> {
        let known = |value| Filled { value, is_unknown: false };
        let origin = scope.origin;
        match self {
            Self::Text(text) => known(Value::Text(text.as_bytes())),
            Self::Field(path) => known(path.find(scope.fields, scope.arena)),
            Self::FilePath => known(Value::Text(origin.path.as_os_str().as_bytes())),
            Self::FileName => known(Value::Text(origin.path.file_name().unwrap_or_default().as_bytes())),
            Self::FileOffset => known(i64::try_from(origin.offset).map_or(Value::Null, Value::Integer)),
            Self::TimeNow => known(Value::Text(bumpalo::format!(in scope.arena, "{:.3}", origin.now).into_bump_str().as_bytes())),
            Self::LineText => known(Value::Text(scope.line)),
            Self::Ec2(variable) => ec2(variable, origin)
                .map_or(Filled { value: Value::Null, is_unknown: true }, |text| known(Value::Text(text.as_bytes()))),
            Self::Unknown => Filled { value: Value::Null, is_unknown: true },
        }
    }
}

fn ec2<'l>(variable: &Ec2Variable, origin: &'l Origin<'l>) -> Option<&'l str> {
    let ec2 = origin.ec2;
    match variable {
        Ec2Variable::InstanceId => ec2.instance_id.as_deref(),
        Ec2Variable::Region => ec2.region.as_deref(),
        Ec2Variable::AvailabilityZone => ec2.availability_zone.as_deref(),
        Ec2Variable::InstanceType => ec2.instance_type.as_deref(),
        Ec2Variable::AccountId => ec2.account_id.as_deref(),
        Ec2Variable::AmiId => ec2.ami_id.as_deref(),
        Ec2Variable::PrivateIp => ec2.private_ip.as_deref(),
        Ec2Variable::Tag(name) => ec2.tags.get(name).map(String::as_str),
    }
}
