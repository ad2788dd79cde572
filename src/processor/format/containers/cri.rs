//! A line of a log file of CRI: `2016-10-06T00:17:09.669794202Z stdout F the message`.
//!
//! <https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md>, and the reader in
//! `pkg/kubelet/kuberuntime/logs/logs.go` of <https://github.com/kubernetes/kubernetes>. One space ends each of time, stream
//! and tags; of the tags, which a colon separates, the first is `P` (partial) or `F` (full), and others may come to be. The
//! time is not looked into.

use memchr::memchr;

use super::Line;

pub(super) fn line(text: &[u8]) -> Option<Line<'_>> {
    let (time, rest) = text.split_at(memchr(b' ', text)?);
    if !time.first()?.is_ascii_digit() {
        return None;
    }
    let (stream, rest) = rest.split_at_checked(" stdout ".len())?;
    if !matches!(stream, b" stdout " | b" stderr ") {
        return None;
    }
    let (tag, message) = rest.split_at(memchr(b' ', rest)?);
    let is_last = match tag {
        [b'F'] | [b'F', b':', ..] => true,
        [b'P'] | [b'P', b':', ..] => false,
        _ => return None,
    };
    Some(Line { time, stream: Some(stream.trim_ascii()), tag, message: &message[1..], is_last, attrs: None })
}
