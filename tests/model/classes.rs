//! The classes of what happens on a host, and how likely each is.

use crate::features::{Feature, is_on};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Append,
    AppendPart,
    AppendLong,
    Moment,
    Pass,
    LongPass,
    BlackOut,
    NewProgram,
    /// Renamed to a name that the globs match.
    RotateWithin,
    /// Renamed to a name in the same folder that they do not match.
    RotateOut,
    /// Renamed to a folder in which they do not look.
    RotateAway,
    /// The program begins a file with another name.
    StartDated,
    /// Or with one where no glob looks.
    StartAway,
    /// As logrotate does: `.1` becomes `.2`, and so on.
    Shift,
    ShiftCopying,
    ShiftCompressing,
    CopyTruncate,
    CopyTruncateAway,
    CopyTwice,
    Copy,
    CopyAway,
    Truncate,
    TruncateToLines,
    Rewrite,
    RewriteBehindHead,
    RewriteToSize,
    Compress,
    Delete,
    DeleteOther,
    Recreate,
    Replace,
    HardLink,
    Symlink,
    MoveOther,
    /// Several at once, with no time in between.
    Burst,
    Stop,
    Abort,
    Kill,
}

/// How likely each class is, and what it asks for.
pub(crate) const CLASSES: &[(Class, u32, Option<Feature>)] = &[
    (Class::Append, 90, None),
    (Class::AppendPart, 16, None),
    (Class::AppendLong, 1, None),
    (Class::Moment, 10, None),
    (Class::Pass, 70, None),
    (Class::LongPass, 8, None),
    (Class::BlackOut, 4, None),
    (Class::NewProgram, 2, None),
    (Class::RotateWithin, 8, None),
    (Class::RotateOut, 8, None),
    (Class::RotateAway, 5, None),
    (Class::StartDated, 4, None),
    (Class::StartAway, 2, None),
    (Class::Shift, 8, None),
    (Class::ShiftCopying, 6, Some(Feature::Copies)),
    (Class::ShiftCompressing, 6, Some(Feature::Compressed)),
    (Class::CopyTruncate, 10, Some(Feature::Copies)),
    (Class::CopyTruncateAway, 4, None),
    (Class::CopyTwice, 3, Some(Feature::Copies)),
    (Class::Copy, 4, Some(Feature::Copies)),
    (Class::CopyAway, 2, None),
    (Class::Truncate, 4, None),
    (Class::TruncateToLines, 3, None),
    (Class::Rewrite, 4, None),
    (Class::RewriteBehindHead, 3, Some(Feature::KeptHead)),
    (Class::RewriteToSize, 3, Some(Feature::SameSize)),
    (Class::Compress, 10, Some(Feature::Compressed)),
    (Class::Delete, 3, None),
    (Class::DeleteOther, 5, None),
    (Class::Recreate, 4, None),
    (Class::Replace, 4, None),
    (Class::HardLink, 3, None),
    (Class::Symlink, 3, None),
    (Class::MoveOther, 6, None),
    (Class::Burst, 6, None),
    (Class::Stop, 4, None),
    (Class::Abort, 3, None),
    (Class::Kill, 5, None),
];

/// What a [`Class::Burst`] is made of.
pub(crate) const DESTRUCTIVE: &[Class] = &[
    Class::RotateWithin,
    Class::RotateOut,
    Class::RotateAway,
    Class::StartDated,
    Class::Shift,
    Class::ShiftCopying,
    Class::ShiftCompressing,
    Class::CopyTruncate,
    Class::CopyTruncateAway,
    Class::CopyTwice,
    Class::Truncate,
    Class::TruncateToLines,
    Class::Rewrite,
    Class::RewriteBehindHead,
    Class::RewriteToSize,
    Class::Compress,
    Class::Delete,
    Class::DeleteOther,
    Class::Recreate,
    Class::Replace,
    Class::MoveOther,
];

/// Draws a class by its weight.
pub(crate) fn drawn_class(rng: &mut fastrand::Rng) -> Class {
    let weight = |&(_, weight, needs): &(Class, u32, Option<Feature>)| if needs.is_none_or(is_on) { weight } else { 0 };
    let mut drawn = rng.u32(..CLASSES.iter().map(weight).sum::<u32>());
    for entry in CLASSES {
        match drawn.checked_sub(weight(entry)) {
            Some(rest) => drawn = rest,
            None => return entry.0,
        }
    }
    unreachable!("the drawn number is less than the sum of the weights")
}
