//! `[flow.record]`: what is written of the fields of a line, and how.

use std::ops::Range;

use toml::de::DeValue;

use super::mask::{self, Mask};
use super::parse::check_outermost;
use super::reader::{Leaf, Placed, Table, json_of};
use super::template::{self, Template};
use crate::limits::{NESTED_NAMES_MAX, TERMINATOR_BYTES_MAX};

/// `[flow.record]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// `output`
    pub output: Output,
    /// `add`, in the order in which they are written.
    pub add: Vec<Added>,
    /// `keep_only`: where it is given, all other fields of the line are left out.
    pub keep_only: Option<Vec<String>>,
    /// `remove`: fields of the line that are left out. A dot leads into an object in JSON.
    pub remove: Vec<String>,
    /// `rename`: fields of the line, and where they are written instead.
    pub rename: Vec<(String, Vec<String>)>,
    /// `mask`, in their order.
    pub mask: Vec<Mask>,
    /// `terminator`: what follows each record. By default a newline where records are joined, else nothing.
    pub terminator: String,
}

/// `output`: what a record is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// `"json"`: an object of the fields. Default with `[flow.parse]`, or where fields are added.
    Json,
    /// `"raw"`: the line itself. Default without.
    #[default]
    Raw,
    /// `"template"`: the text of `template`.
    Template(Template),
}

/// A field that the line does not have.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    /// Its name; of more than one, those of the objects around it come first.
    pub path: Vec<String>,
    /// What it holds.
    pub value: AddedValue,
}

/// What an added field holds.
#[derive(Clone, Debug, PartialEq)]
pub enum AddedValue {
    /// Text. A template that is one name alone has the type of what it stands for.
    Template(Template),
    /// The same in every record.
    Json(serde_json::Value),
}

/// What becomes of a field of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Where it is written.
    pub fate: FieldFate,
    /// If it is an object, the paths in it that are written; all where there are none.
    pub kept: Vec<Vec<String>>,
    /// And those that are not.
    pub removed: Vec<Vec<String>>,
}

/// Where a field of the line is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldFate {
    /// Under its own name.
    Kept,
    /// Here.
    Renamed(Vec<String>),
    /// Not at all, or only what is renamed inside of it.
    LeftOut,
}

impl Record {
    /// What `keep_only`, `remove` and `rename` say of the field `name`. A name that is written with a dot is of a field of that
    /// very name, or of what is inside of one.
    pub fn rule_of(&self, name: &str) -> FieldRule {
        let inside = |field: &String| {
            let path = field.strip_prefix(name)?.strip_prefix('.')?;
            Some(path.split('.').map(str::to_owned).collect::<Vec<_>>())
        };
        let keep_only = self.keep_only.as_deref();
        let is_kept = keep_only.is_none_or(|kept| kept.iter().any(|kept| kept == name));
        let kept: Vec<_> = keep_only.unwrap_or_default().iter().filter(|_| !is_kept).filter_map(inside).collect();
        let fate = match self.rename.iter().find(|(field, _)| field == name) {
            Some((_, path)) => FieldFate::Renamed(path.clone()),
            None if self.remove.iter().any(|removed| removed == name) => FieldFate::LeftOut,
            None if is_kept || !kept.is_empty() => FieldFate::Kept,
            None => FieldFate::LeftOut,
        };
        let renamed = self.rename.iter().map(|(field, _)| field);
        FieldRule { fate, kept, removed: self.remove.iter().chain(renamed).filter_map(inside).collect() }
    }
}

/// The names of a record in which a line that does not match is wrapped.
pub const WRAPPED_FIELDS: [&str; 2] = ["message", "error"];

/// What of a flow decides what can be said in `[flow.record]`.
pub(super) struct Given<'a> {
    /// The fields of the line, if they are known.
    pub(super) names: Option<&'a [String]>,
    /// There is a `[flow.parse]`.
    pub(super) is_parsed: bool,
    /// `on_mismatch = "wrap"`
    pub(super) is_wrapped: bool,
    /// Records stand one behind the other in a record of the destination.
    pub(super) is_joined: bool,
}

/// A field of the output, and where it is said that there is one.
struct Written {
    path: Vec<String>,
    place: Option<Range<usize>>,
}

/// Reads `[flow.record]`.
pub(super) fn read(table: &mut Table<'_>, source: &str, given: &Given<'_>) -> Record {
    let names = given.names;
    let template = table.string("template").map(|written| template::parse(table, "template", &written, source, names));
    let add: Vec<_> = table.leaves("add").iter().filter_map(|leaf| added(table, leaf, source, names)).collect();
    let keep_only = fields(table, "keep_only", names);
    let remove = fields(table, "remove", names);
    let renamed = renamed(table, names);
    let is_changed =
        ["add", "keep_only", "remove", "rename"].into_iter().find(|key| table.has(key) && (*key != "add" || !add.is_empty()));
    let output = output(table, template, given.is_parsed || is_changed.is_some());
    if let (Some(key), Output::Raw | Output::Template(_)) = (is_changed, &output) {
        let help = "it changes the fields of output = \"json\"; leave one of the two out";
        table.mistake(table.place(), format!("`{key}` has no effect with this `output`"), help);
    }
    if keep_only.is_some() && remove.is_some() {
        table.mistake(table.place(), "`keep_only` and `remove` exclude each other", "leave one of them out");
    }
    let mask = mask::read(table, source, names);
    let terminator = terminator(table, given.is_joined);

    let record = Record {
        output,
        add: add.iter().map(|(added, _)| added.clone()).collect(),
        keep_only: keep_only.map(values),
        remove: remove.map(values).unwrap_or_default(),
        rename: renamed.iter().map(|(field, path)| (field.value.to_owned(), path.value.clone())).collect(),
        mask,
        terminator,
    };
    check_names(table, &record, &renamed, &add, given);
    record
}

fn values(placed: Vec<Placed<&str>>) -> Vec<String> {
    placed.into_iter().map(|placed| placed.value.to_owned()).collect()
}

fn output(table: &mut Table<'_>, template: Option<Template>, is_structured: bool) -> Output {
    let default = if is_structured { Output::Json } else { Output::Raw };
    let template_or_empty = Output::Template(template.clone().unwrap_or_default());
    let choices = [("json", Some(Output::Json)), ("raw", Some(Output::Raw)), ("template", Some(template_or_empty))];
    let choices = choices.each_ref().map(|(word, output)| (*word, output.as_ref()));
    let output = table.choice("output", &choices).flatten().cloned();
    match &output {
        Some(Output::Template(_)) if !table.has("template") => {
            table.require("template", "write template = \"${…} ${…}\"");
        }
        Some(Output::Json | Output::Raw) if table.has("template") => {
            table.mistake(
                table.place(),
                "`template` has no effect with this `output`",
                "write output = \"template\", or leave it out",
            );
        }
        _ => {}
    }
    output.or(template.map(Output::Template)).unwrap_or(default)
}

fn terminator(table: &mut Table<'_>, is_joined: bool) -> String {
    let Some(written) = table.string("terminator") else {
        return if is_joined { "\n".to_owned() } else { String::new() };
    };
    if written.value.len() > TERMINATOR_BYTES_MAX {
        let help = format!("write at most {TERMINATOR_BYTES_MAX} bytes");
        table.mistake(&written.place, format!("`terminator` is too long: {} bytes", written.value.len()), help);
    }
    written.value.to_owned()
}

fn added(table: &Table<'_>, leaf: &Leaf<'_>, source: &str, names: Option<&[String]>) -> Option<(Added, Range<usize>)> {
    let path: Vec<String> = leaf.path.iter().flat_map(|name| nested(name)).collect();
    check_path(table, &leaf.place, &path);
    let value = match leaf.value.get_ref() {
        DeValue::String(text) => {
            let written = Placed { value: text.as_ref(), place: leaf.value.span() };
            AddedValue::Template(template::parse(table, "add", &written, source, names))
        }
        other => match json_of(other) {
            Some(json) => AddedValue::Json(json),
            None => {
                table.mistake(&leaf.value.span(), "`add`: there is no such value in JSON", "write a string, or a finite number");
                return None;
            }
        },
    };
    Some((Added { path, value }, leaf.place.clone()))
}

fn fields<'a>(table: &mut Table<'a>, key: &'static str, names: Option<&[String]>) -> Option<Vec<Placed<&'a str>>> {
    let fields = table.strings(key)?;
    for field in &fields {
        check_outermost(table, key, field, names);
    }
    Some(fields)
}

type Renamed<'a> = (Placed<&'a str>, Placed<Vec<String>>);

fn renamed<'a>(table: &mut Table<'a>, names: Option<&[String]>) -> Vec<Renamed<'a>> {
    let mut named = table.named_strings("rename");
    named.sort_by_key(|(field, _)| field.place.start);
    let renamed = named.into_iter().map(|(field, written)| {
        check_outermost(table, "rename", &field, names);
        let path = nested(written.value);
        check_path(table, &written.place, &path);
        (field, Placed { value: path, place: written.place })
    });
    renamed.collect()
}

/// In names that the configuration's author chooses a dot nests.
pub(super) fn nested(name: &str) -> Vec<String> {
    name.split('.').map(str::to_owned).collect()
}

fn check_path(table: &Table<'_>, place: &Range<usize>, path: &[String]) {
    if path.iter().any(String::is_empty) {
        table.mistake(place, "a field without a name", "a dot in a name nests: write a name on both sides of it");
    }
    if path.len() > NESTED_NAMES_MAX {
        let help = format!("nest at most {NESTED_NAMES_MAX} names");
        table.mistake(place, format!("a field that is nested {} times", path.len()), help);
    }
}

/// No two fields of a record may have the same name, or one the name of an object around another.
fn check_names(table: &Table<'_>, record: &Record, renamed: &[Renamed<'_>], add: &[(Added, Range<usize>)], given: &Given<'_>) {
    if record.output != Output::Json {
        return;
    }
    let mut written: Vec<Written> = Vec::new();
    let names = given.names.unwrap_or_default().iter();
    let kept = names.filter(|name| record.rule_of(name).fate == FieldFate::Kept);
    written.extend(kept.map(|name| Written { path: nested(name), place: None }));
    written.iter().for_each(|written| check_path(table, table.place(), &written.path));
    let of_renamed = renamed.iter().map(|(_, path)| Written { path: path.value.clone(), place: Some(path.place.clone()) });
    let of_added = add.iter().map(|(added, place)| Written { path: added.path.clone(), place: Some(place.clone()) });
    written.extend(of_renamed.chain(of_added));
    for (index, field) in written.iter().enumerate() {
        let Some(taken) =
            written[..index].iter().find(|taken| field.path.starts_with(&taken.path) || taken.path.starts_with(&field.path))
        else {
            continue;
        };
        // Two fields of the format itself are told apart by it, or nested into each other: the first place is as good as any.
        let place = field.place.as_ref().unwrap_or_else(|| table.place());
        let message = if field.path == taken.path {
            format!("two fields are called `{}`", field.path.join("."))
        } else {
            format!("`{}` and `{}`: a field cannot be a value and an object", taken.path.join("."), field.path.join("."))
        };
        table.mistake(place, message, "rename or remove one of them");
    }
    if given.is_wrapped {
        for (added, place) in add.iter().filter(|(added, _)| WRAPPED_FIELDS.contains(&added.path[0].as_str())) {
            let message = format!("`{}` is a field of lines that on_mismatch = \"wrap\" wraps", added.path[0]);
            table.mistake(place, message, "give it another name");
        }
    }
}
