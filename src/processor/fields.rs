//! What a format finds in a line: fields, in order.

use bumpalo::Bump;
use bumpalo::collections::Vec as ArenaVec;

use crate::limits::FIELDS_MAX;

/// With at most so many fields looking at all that came before costs less than sorting.
const FEW: usize = 32;

/// Room for so many fields from the start: nearly no format has more, and growing copies them.
const USUAL: usize = 32;

/// Memory for what is made of one line and does not stand in it as it is; emptied before the next.
pub type Arena = Bump;

/// The fields of one line, in the order in which they are written.
///
/// A format whose names are fixed has all of them in every line, in their order, so that a place in its list of names is
/// a place here.
#[derive(Debug)]
pub struct Fields<'l> {
    fields: ArenaVec<'l, Field<'l>>,
    /// Bytes of names or of values that are not UTF-8 are U+FFFD in them already.
    is_replaced: bool,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'l> {
    /// Its name, as the format or the line says it; need not be UTF-8.
    pub name: &'l [u8],
    /// What it holds.
    pub value: Value<'l>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'l> {
    /// Nothing: the line has no such field, and nor has its record.
    Absent,
    /// The line says that there is no value, as `-` does in an access log; null in JSON.
    Null,
    /// Text, which need not be UTF-8.
    Text(&'l [u8]),
    /// A number, a list or an object, valid JSON as the line has it.
    Json(&'l str),
    /// A whole number that was made of text.
    Integer(i64),
    /// A number that was made of text; finite.
    Float(f64),
    /// `true` or `false`
    Boolean(bool),
}

impl<'l> Fields<'l> {
    /// None so far.
    pub fn new(arena: &'l Arena) -> Self {
        Self { fields: ArenaVec::with_capacity_in(USUAL, arena), is_replaced: false }
    }

    /// Adds one behind the others; the first that is too many is the last that is added.
    pub fn push(&mut self, name: &'l (impl AsRef<[u8]> + ?Sized), value: Value<'l>) {
        if self.is_too_many() {
            return;
        }
        self.fields.push(Field { name: name.as_ref(), value });
    }

    /// Leaves one of each name, where the first one stood, with the value of the last one: so do those who read JSON and
    /// keep an object in its order.
    ///
    /// For formats whose names the line says, once at the end of it. Names that are not UTF-8 get their U+FFFD here, because
    /// two of them could become the same.
    pub fn keep_one_of_each_name(&mut self) {
        let arena = self.fields.bump();
        let is_text = |name: &[u8]| name.is_ascii() || str::from_utf8(name).is_ok();
        for field in self.fields.iter_mut().filter(|field| !is_text(field.name)) {
            self.is_replaced = true;
            field.name = arena.alloc_str(&String::from_utf8_lossy(field.name)).as_bytes();
        }
        if self.fields.len() <= FEW { self.keep_one_of_few() } else { self.keep_one_of_many() }
    }

    fn keep_one_of_few(&mut self) {
        let mut marks_seen = 0_u64;
        let mut kept_count = 0;
        for index in 0..self.fields.len() {
            let field = self.fields[index];
            let mark = mark(field.name);
            let earlier = &mut self.fields[..kept_count];
            let same = if marks_seen & mark == 0 { None } else { earlier.iter_mut().find(|other| other.name == field.name) };
            if let Some(same) = same {
                same.value = field.value;
            } else {
                self.fields[kept_count] = field;
                kept_count += 1;
                marks_seen |= mark;
            }
        }
        self.fields.truncate(kept_count);
    }

    /// Sorts rather than hashes: whoever writes the log cannot choose names that make it slow.
    fn keep_one_of_many(&mut self) {
        let arena = self.fields.bump();
        let fields = &mut self.fields;
        let mut places = ArenaVec::from_iter_in(fields.iter().enumerate().map(|(place, field)| (field.name, place)), arena);
        places.sort_unstable();
        let mut is_kept = ArenaVec::from_iter_in(fields.iter().map(|_| true), arena);
        for same in places.chunk_by(|(name, _), (next, _)| name == next) {
            if let [(_, first), later @ ..] = same
                && let [.., (_, last)] = later
            {
                fields[*first].value = fields[*last].value;
                later.iter().for_each(|(_, place)| is_kept[*place] = false);
            }
        }
        let mut is_kept = is_kept.into_iter();
        fields.retain(|_| is_kept.next() == Some(true));
    }

    /// Whether there are more than [`FIELDS_MAX`].
    pub fn is_too_many(&self) -> bool {
        self.fields.len() > FIELDS_MAX
    }

    /// Notes that some bytes that are not UTF-8 have become U+FFFD.
    pub fn note_replacement(&mut self) {
        self.is_replaced = true;
    }

    /// Whether some bytes that are not UTF-8 are U+FFFD already.
    pub fn is_replaced(&self) -> bool {
        self.is_replaced
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Field<'l>> {
        self.fields.iter()
    }

    /// All of them, to be changed.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Field<'l>> {
        self.fields.iter_mut()
    }

    /// The one at a place in the list of fixed names.
    pub fn at(&self, slot: usize) -> Option<&Field<'l>> {
        self.fields.get(slot)
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, slot: usize) -> Option<&mut Field<'l>> {
        self.fields.get_mut(slot)
    }

    /// The value of the last one called `name`.
    pub fn named(&self, name: &[u8]) -> Option<Value<'l>> {
        self.fields.iter().rev().find(|field| field.name == name).map(|field| field.value)
    }
}

impl<'l> Value<'l> {
    /// Whether there is a value.
    pub fn is_present(self) -> bool {
        !matches!(self, Self::Absent | Self::Null)
    }

    /// Whether it is a list or an object.
    pub fn is_nested(self) -> bool {
        matches!(self, Self::Json(json) if json.starts_with(['{', '[']))
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        matches!(self, Self::Json(json) if json.starts_with('{'))
    }

    /// Its text; none when there is none. Of a list or an object, its JSON.
    pub fn text(self, arena: &'l Arena) -> Option<&'l [u8]> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Text(text) => Some(text),
            Self::Json(json) => Some(json.as_bytes()),
            Self::Integer(value) => Some(bumpalo::format!(in arena, "{}", value).into_bump_str().as_bytes()),
            Self::Float(value) => Some(bumpalo::format!(in arena, "{:?}", value).into_bump_str().as_bytes()),
            Self::Boolean(value) => Some(if value { b"true" } else { b"false" }),
        }
    }

    /// The number that it is, or that its text says.
    #[expect(clippy::cast_precision_loss, reason = "it is compared with what somebody wrote in decimals")]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Text(text) => str::from_utf8(text).ok()?.parse().ok().filter(|number: &f64| number.is_finite()),
            Self::Json(json) => json.parse().ok(),
            Self::Integer(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Absent | Self::Null | Self::Boolean(_) => None,
        }
    }
}

/// One bit of 64: where those of two names differ, so do the names.
fn mark(name: &[u8]) -> u64 {
    let [first, .., last] = *name else { return 1 << (name.first().unwrap_or(&0) & 63) };
    1 << ((usize::from(first) + 7 * usize::from(last) + name.len()) & 63)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names and values that are left of those given, by looking through all of them.
    fn expected(names: &[Vec<u8>]) -> Vec<(String, i64)> {
        let mut left: Vec<(String, i64)> = Vec::new();
        for (name, value) in names.iter().zip(0..) {
            let name = String::from_utf8_lossy(name).into_owned();
            match left.iter_mut().find(|(other, _)| *other == name) {
                Some(same) => same.1 = value,
                None => left.push((name, value)),
            }
        }
        left
    }

    fn left(names: &[Vec<u8>]) -> Vec<(String, i64)> {
        let arena = Arena::new();
        let mut fields = Fields::new(&arena);
        for (name, value) in names.iter().zip(0..) {
            fields.push(name, Value::Integer(value));
        }
        fields.keep_one_of_each_name();
        let shown = fields.iter().map(|field| match field.value {
            Value::Integer(value) => (String::from_utf8(field.name.to_vec()).unwrap(), value),
            other => panic!("{other:?}"),
        });
        shown.collect()
    }

    #[test]
    fn of_fields_with_the_same_name_one_is_left() {
        let check = |names: &[&[u8]], expected: &[(&str, i64)]| {
            let names: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
            let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
            assert_eq!(left(&names), expected);
        };
        check(&[], &[]);
        check(&[b"a", b"b"], &[("a", 0), ("b", 1)]);
        check(&[b"a", b"b", b"a", b"c", b"a"], &[("a", 4), ("b", 1), ("c", 3)]);
        check(&[b"", b"a", b""], &[("", 2), ("a", 1)]);
        check(&[b"a\xff", b"a\xfe"], &[("a\u{fffd}", 1)]);
    }

    proptest! {
        #[test]
        fn few_and_many_leave_the_same(names in proptest::collection::vec("[abAB\u{80}]{0,2}", 0..3 * FEW)) {
            let names: Vec<_> = names.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(left(&names), expected(&names));
        }

        #[test]
        fn names_that_are_not_utf8_do_too(names in proptest::collection::vec(proptest::collection::vec(0x7e_u8.., 0..3), 0..50)) {
            prop_assert_eq!(left(&names), expected(&names));
        }
    }
}
