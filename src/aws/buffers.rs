//! Buffers for the bodies of requests. Fresh memory costs more to be given by the system than a body to be written, so that
//! buffers are used again; only a few are kept while no request needs them, and none that is much larger than what is sent now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::limits::{BODIES_KEPT_MAX, BODY_BYTES_KEPT_MAX};

/// Buffers that are not in use; a clone has the same.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    /// Of bodies of late: the longest, which is forgotten little by little.
    body_bytes: usize,
    /// How many are out.
    lent_count: usize,
}

/// After so many shorter bodies about a third of the longest is forgotten.
const MEMORY: usize = 16;
/// While no request is on its way so many are kept at most: perhaps none will be for long.
const IDLE_BODIES_KEPT_MAX: usize = 2;
/// A buffer is kept unless it is longer than so many of the longest bodies.
const EXCESS: usize = 2;

impl Buffers {
    /// A body of about `byte_count` bytes, as `write` appends it to an empty buffer. The buffer comes back when the last clone
    /// is gone.
    pub fn body(&self, byte_count: usize, write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut buffer = self.lock().lend(byte_count).unwrap_or_else(|| Vec::with_capacity(byte_count));
        write(&mut buffer);
        Bytes::from_owner(Lent { buffer, home: self.clone() })
    }

    /// A panic while it was held leaves buffers that can be used.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn lend(&mut self, byte_count: usize) -> Option<Vec<u8>> {
        self.lent_count += 1;
        self.body_bytes = byte_count.max(self.body_bytes - self.body_bytes / MEMORY);
        let capacity_max = self.capacity_max();
        self.buffers.retain(|buffer| buffer.capacity() <= capacity_max);
        let fitting = (0..self.buffers.len()).filter(|index| self.buffers[*index].capacity() >= byte_count);
        let tightest = fitting.min_by_key(|index| self.buffers[*index].capacity())?;
        Some(self.buffers.swap_remove(tightest))
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        let kept_byte_count: usize = self.buffers.iter().map(Vec::capacity).sum();
        let is_kept = buffer.capacity() <= self.capacity_max()
            && self.buffers.len() < BODIES_KEPT_MAX
            && kept_byte_count + buffer.capacity() <= BODY_BYTES_KEPT_MAX;
        if is_kept {
            buffer.clear();
            self.buffers.push(buffer);
        }
        self.lent_count -= 1;
        if self.lent_count == 0 {
            self.buffers.truncate(IDLE_BODIES_KEPT_MAX);
        }
    }

    fn capacity_max(&self) -> usize {
        self.body_bytes.saturating_mul(EXCESS)
    }
}

/// A buffer with a body in it, which goes home when it is dropped.
struct Lent {
    buffer: Vec<u8>,
    home: Buffers,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.lock().put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MIB;

    fn kept(buffers: &Buffers) -> (usize, usize) {
        let kept = buffers.lock();
        (kept.buffers.len(), kept.buffers.iter().map(Vec::capacity).sum())
    }

    #[test]
    fn a_buffer_is_used_again_when_nobody_has_its_body_any_more() {
        let buffers = Buffers::default();
        let body = buffers.body(1_000, |buffer| buffer.extend_from_slice(&[7; 900]));
        let (address, clone) = (body.as_ptr(), body.clone());
        drop(body);
        assert_eq!(kept(&buffers).0, 0);
        assert_eq!(clone, vec![7; 900]);
        drop(clone);
        let again = buffers.body(800, |buffer| buffer.push(1));
        assert_eq!((again.as_ptr(), &*again), (address, &[1][..]));
    }

    #[test]
    fn only_a_few_are_kept_and_none_that_are_larger_than_needed() {
        let buffers = Buffers::default();
        let body = |bytes| buffers.body(bytes, |buffer| buffer.resize(bytes, 0));
        let bodies: Vec<Bytes> = (0..16).map(|_| body(10 * MIB)).collect();
        drop(bodies);
        assert_eq!(kept(&buffers).0, BODY_BYTES_KEPT_MAX / (10 * MIB));
        let bodies: Vec<Bytes> = (0..16).map(|_| body(MIB)).collect();
        drop(bodies);
        let (count, bytes) = kept(&buffers);
        assert!(count <= BODIES_KEPT_MAX && bytes <= BODY_BYTES_KEPT_MAX, "{count} buffers of {bytes} bytes");
        for _ in 0..100 {
            drop(body(1_000));
        }
        let (_, bytes) = kept(&buffers);
        assert!(bytes <= 10_000, "{bytes} bytes are kept for bodies of 1,000");
    }
}
