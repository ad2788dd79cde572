//! Lines that somebody wrote to cost much.

use std::time::{Duration, Instant};

use super::*;
use crate::limits::{MASKED_ARENA_BYTES_MAX, MASKED_BYTES_MAX};

/// A line of the longest kind is looked at once.
#[test]
fn hostile_lines_take_no_more_time_than_others() {
    let bytes = 1 << 19;
    let pieces = [
        "\\",
        "\\n",
        "\\u",
        "\\u0022",
        "\\u0040",
        "%",
        "%25",
        "%2B",
        "%40",
        "\x1b[",
        "[1;",
        "[1m",
        "#012",
        "@",
        "a@",
        ".",
        "1.",
        "1",
        "1 ",
        "4111 ",
        "4111+",
        ":",
        "::",
        "a:",
        "key",
        "key-",
        "key=",
        "k",
        "z",
        "-",
        "secretkey=\\n",
        "secretkey=a%",
        "authorization=",
        "Bearer ",
        "access_token=",
        "sessiontoken=a/",
        "eyJ",
        "eyJa.",
        "AKIA",
        " ",
        "\"",
        "=",
    ];
    for piece in pieces {
        for text in [piece.repeat(bytes / piece.len()), format!("{}{}", "secretkey=x@", piece.repeat(bytes / piece.len()))] {
            for of in PRESETS {
                let begin = Instant::now();
                masked(&[preset(of)], text.as_bytes());
                // Each byte compared with each other takes minutes.
                let taken = begin.elapsed();
                assert!(taken < Duration::from_secs(5), "{of:?}: {piece:?} took {taken:?}");
            }
        }
    }
}

#[test]
fn masks_do_not_grow_without_bound() {
    let with = "*".repeat(100);
    let long = pattern("a", &with);
    let kept = MASKED_BYTES_MAX / 100 - 1;
    let found = masked(std::slice::from_ref(&long), "a".repeat(kept).as_bytes());
    assert_eq!((found.0.len(), found.1 as usize), (kept * 100, kept));
    for text in ["a".repeat(1 << 20), "b".repeat(MASKED_BYTES_MAX) + "a"] {
        assert_eq!(masked(std::slice::from_ref(&long), text.as_bytes()), (with.clone().into_bytes(), 1));
    }
    let (masker, arena, text) = (Masker::new(&[long]), Arena::new(), "a".repeat(kept));
    for _ in 0..100 {
        assert!(masker.mask(masker.of_lines(), text.as_bytes(), &arena).is_some());
    }
    let bytes = arena.allocated_bytes();
    assert!(bytes < 4 * MASKED_ARENA_BYTES_MAX, "{bytes}");
}
