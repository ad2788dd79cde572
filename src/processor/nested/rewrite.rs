//! JSON text with something in it left out or changed.

use super::{Arena, ArenaVec, Child, Children, Step, Value, decode, json, value_of};

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::processor) enum Change<'l> {
    /// It stays; so does all that is in it, which is not looked at.
    Keep,
    /// It stays; of a list or an object, each value in it is looked at.
    Enter,
    /// It is left out: a member with its name, an element so that those behind it move up.
    Remove,
    /// This stands in its place.
    Replace(Value<'l>),
}

/// Appends the list or object `json` to `out` as `visit` wants it; says whether some bytes of replacements were not UTF-8
/// and became U+FFFD.
///
/// `visit` is asked for each value with the way to it, from the outside to the inside, in the order of the text; `json`
/// itself is not asked for. Names are decoded, and so are strings ([`Value::Text`]). What stays is copied byte for byte.
/// A list or object out of which all is taken stays as an empty one.
///
/// ```text
/// to leave out `b.c`       |path, _| if is_at(path, &["b", "c"]) { Change::Remove } else { Change::Enter }
/// to mask all the strings  |_, value| if let Value::Text(text) = value { Change::Replace(masked(text)) } else { Change::Enter }
/// ```
pub(in crate::processor) fn rewrite<'l>(
    json: &'l str,
    arena: &'l Arena,
    out: &mut Vec<u8>,
    visit: &mut impl FnMut(&[Step<'l>], Value<'l>) -> Change<'l>,
) -> bool {
    let mut levels = ArenaVec::new_in(arena);
    let mut path = ArenaVec::new_in(arena);
    let mut replaced = false;
    levels.push(Level::begin(json, out));
    path.push(Step::Index(0));
    // Without recursion: how deep it goes is decided by the text.
    while let Some(level) = levels.last_mut() {
        let Some(Child { name, value }) = level.children.next() else {
            out.push(if level.children.has_names { b'}' } else { b']' });
            levels.pop();
            path.pop();
            continue;
        };
        if let Some(step) = path.last_mut() {
            *step = name.map_or(Step::Index(level.index), |name| Step::Name(decode(name, arena)));
        }
        level.index += 1;
        let change = visit(&path, value_of(value, arena));
        if change == Change::Remove {
            continue;
        }
        if level.has_some {
            out.push(b',');
        }
        level.has_some = true;
        if let Some(name) = name {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        }
        match change {
            Change::Replace(value) => replaced |= json::write_value(value, out),
            Change::Enter if value.starts_with(['[', '{']) => {
                levels.push(Level::begin(value, out));
                path.push(Step::Index(0));
            }
            Change::Enter | Change::Keep | Change::Remove => out.extend_from_slice(value.as_bytes()),
        }
    }
    replaced
}

/// A list or an object that is being written.
struct Level<'l> {
    children: Children<'l>,
    /// Of the next child.
    index: usize,
    /// One was written already.
    has_some: bool,
}

impl<'l> Level<'l> {
    fn begin(json: &'l str, out: &mut Vec<u8>) -> Self {
        let children = Children::of(json);
        out.push(if children.has_names { b'{' } else { b'[' });
        Self { children, index: 0, has_some: false }
    }
}
