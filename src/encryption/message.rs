//! Messages in the format of the AWS Encryption SDK, version 2, which its readers in all languages decrypt.
//!
//! This module decides what bytes become of a record under a data key. Where the key and the random message id come from, and
//! how often a key is used, is left to others.
//!
//! Sources: "AWS Encryption SDK message format reference" in the developer guide,
//! <https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html>, and the specification,
//! <https://github.com/awslabs/aws-encryption-sdk-specification>: `client-apis/encrypt.md`, `data-format/`. The algorithm suite
//! is `0x0478`: AES-256-GCM, HKDF with SHA-512, key commitment, no signature. Each message has a key of its own, derived of the
//! data key with the message id as salt; so a data key may be used for many messages though all count their nonces from zero.

use std::collections::BTreeMap;
use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA512, Salt};
use zeroize::Zeroizing;

use crate::limits::{
    CONTEXT_BYTES_MAX, ENCRYPTED_KEY_BYTES_MAX, ENCRYPTED_KEY_BYTES_USUAL, FRAME_BYTES, KEY_ARN_BYTES_MAX, REQUEST_BYTES_MAX,
    SEALED_OVERHEAD_BYTES_MAX,
};

/// Bytes of a data key.
pub const DATA_KEY_BYTES: usize = 32;
/// Bytes of a message id.
pub const MESSAGE_ID_BYTES: usize = 32;
/// Pairs that are authenticated with every message and can be read in it by everybody, in the order of the format.
pub type Context = BTreeMap<String, String>;
/// Names one message; random, and never used again with the same data key.
pub type MessageId = [u8; MESSAGE_ID_BYTES];

const VERSION: u8 = 2;
const ALGORITHM_SUITE: [u8; 2] = [0x04, 0x78];
/// Frames; the other type may not be written any more.
const CONTENT_TYPE: u8 = 2;
/// Of keys that KMS has encrypted.
const KEY_PROVIDER: &str = "aws-kms";
const DERIVE_KEY: &[u8] = b"DERIVEKEY";
const COMMIT_KEY: &[u8] = b"COMMITKEY";
const COMMITMENT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const FRAME: &[u8] = b"AWSKMSEncryptionClient Frame";
const FINAL_FRAME: &[u8] = b"AWSKMSEncryptionClient Final Frame";
/// In front of the sequence number of the last frame.
const FINAL_FRAME_MARK: [u8; 4] = [0xff; 4];
/// Sequence number, nonce, tag.
const FRAME_OVERHEAD_BYTES: usize = 4 + NONCE_LEN + TAG_BYTES;
/// The mark and the length of the last frame.
const FINAL_FRAME_OVERHEAD_BYTES: usize = 4 + 4;
/// Version, algorithm suite, message id, commitment, tag of the header.
const HEADER_BYTES_OF_MESSAGE: usize = 1 + 2 + MESSAGE_ID_BYTES + COMMITMENT_BYTES + TAG_BYTES;
/// Lengths and counts of the context and of one encrypted data key, the provider, content type, frame length.
const HEADER_BYTES_OF_KEY: usize = 2 + 2 + 2 + KEY_PROVIDER.len() + 2 + 2 + 1 + 4;

const _: () = assert!(
    HEADER_BYTES_OF_MESSAGE
        + HEADER_BYTES_OF_KEY
        + CONTEXT_BYTES_MAX
        + KEY_ARN_BYTES_MAX
        + ENCRYPTED_KEY_BYTES_MAX
        + REQUEST_BYTES_MAX.div_ceil(FRAME_BYTES) * FRAME_OVERHEAD_BYTES
        + FINAL_FRAME_OVERHEAD_BYTES
        <= SEALED_OVERHEAD_BYTES_MAX
);

/// A data key and all that messages say of it. It is overwritten when it is dropped.
pub struct DataKey {
    plaintext: Zeroizing<[u8; DATA_KEY_BYTES]>,
    key_arn: String,
    /// The part of the header that is the same in all messages: from the length of the context to the frame length.
    header_of_key: Vec<u8>,
    /// From 1 to `u32::MAX`.
    frame_byte_count: u32,
}

/// What cannot be written into a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The context has so many bytes, more than [`CONTEXT_BYTES_MAX`].
    Context(usize),
    /// The ARN of the key has so many, more than [`KEY_ARN_BYTES_MAX`].
    KeyArn(usize),
    /// The encrypted data key has so many, more than [`ENCRYPTED_KEY_BYTES_MAX`].
    EncryptedKey(usize),
}

/// The plaintext has more frames than can be counted, or more bytes than AES-GCM takes; no record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl DataKey {
    /// The data key `plaintext`, that the key `key_arn` of KMS has made of it with the context `context` being `encrypted`.
    ///
    /// # Errors
    /// Something is longer than a message of ours may have it.
    pub fn new(
        plaintext: Zeroizing<[u8; DATA_KEY_BYTES]>,
        encrypted: &[u8],
        key_arn: &str,
        context: &Context,
    ) -> Result<Self, Unfit> {
        const FRAME_BYTE_COUNT: u32 = {
            assert!(FRAME_BYTES <= u32::MAX as usize);
            #[expect(clippy::cast_possible_truncation, reason = "asserted")]
            let frame_byte_count = FRAME_BYTES as u32;
            frame_byte_count
        };
        Self::of_provider(KEY_PROVIDER, plaintext, encrypted, key_arn, context, FRAME_BYTE_COUNT)
    }

    fn of_provider(
        provider: &str,
        plaintext: Zeroizing<[u8; DATA_KEY_BYTES]>,
        encrypted: &[u8],
        key_arn: &str,
        context: &Context,
        frame_byte_count: u32,
    ) -> Result<Self, Unfit> {
        if key_arn.len() > KEY_ARN_BYTES_MAX {
            return Err(Unfit::KeyArn(key_arn.len()));
        }
        if encrypted.len() > ENCRYPTED_KEY_BYTES_MAX {
            return Err(Unfit::EncryptedKey(encrypted.len()));
        }
        let mut header = Vec::new();
        write_context(context, &mut header)?;
        // One encrypted data key.
        header.extend(1u16.to_be_bytes());
        for field in [provider.as_bytes(), key_arn.as_bytes(), encrypted] {
            write_field(field, &mut header).map_err(Unfit::EncryptedKey)?;
        }
        header.push(CONTENT_TYPE);
        header.extend(frame_byte_count.to_be_bytes());
        Ok(Self { plaintext, key_arn: key_arn.to_owned(), header_of_key: header, frame_byte_count })
    }

    /// The ARN of the key of KMS that has encrypted it.
    pub fn key_arn(&self) -> &str {
        &self.key_arn
    }

    /// Bytes of the message that `plaintext_byte_count` bytes become: at most [`SEALED_OVERHEAD_BYTES_MAX`] more, up to
    /// [`REQUEST_BYTES_MAX`] of them.
    pub fn sealed_byte_count(&self, plaintext_byte_count: usize) -> usize {
        let header_byte_count = HEADER_BYTES_OF_MESSAGE + self.header_of_key.len();
        message_byte_count(header_byte_count, self.frame_byte_count as usize, plaintext_byte_count)
    }

    /// Appends to `out` the message of `plaintext`: [`Self::sealed_byte_count`] bytes, or, on an error, nothing.
    ///
    /// # Errors
    /// The plaintext is too long.
    pub fn seal(&self, message_id: &MessageId, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
        let start = out.len();
        out.reserve(self.sealed_byte_count(plaintext.len()));
        let sealed = self.append_message(message_id, plaintext, start, out);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    fn append_message(&self, id: &MessageId, plaintext: &[u8], start: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let prk = Salt::new(HKDF_SHA512, id).extract(self.plaintext.as_slice());
        let mut commitment = [0; COMMITMENT_BYTES];
        let commit_info = [COMMIT_KEY];
        let committed = prk.expand(&commit_info, &AES_256_GCM);
        committed.and_then(|okm| okm.fill(&mut commitment)).map_err(|_| TooLong)?;
        let derive_info = [&ALGORITHM_SUITE, DERIVE_KEY];
        let key = LessSafeKey::new(UnboundKey::from(prk.expand(&derive_info, &AES_256_GCM).map_err(|_| TooLong)?));

        out.push(VERSION);
        out.extend(ALGORITHM_SUITE);
        out.extend(id);
        out.extend(&self.header_of_key);
        out.extend(commitment);
        let header = Aad::from(&out[start..]);
        let tag = key.seal_in_place_separate_tag(nonce(0), header, &mut []).map_err(|_| TooLong)?;
        out.extend(tag.as_ref());

        let mut rest = plaintext;
        let mut sequence_number: u32 = 1;
        while let Some((frame, behind)) =
            rest.split_at_checked(self.frame_byte_count as usize).filter(|(_, rest)| !rest.is_empty())
        {
            append_frame(&key, id, sequence_number, frame, false, out)?;
            sequence_number = sequence_number.checked_add(1).ok_or(TooLong)?;
            rest = behind;
        }
        append_frame(&key, id, sequence_number, rest, true, out)
    }
}

/// [`DataKey::sealed_byte_count`] for those who have no data key: what it usually is.
pub fn sealed_byte_count_expected(key_arn: &str, context: &Context, plaintext_byte_count: usize) -> usize {
    let of_key = HEADER_BYTES_OF_KEY + context_byte_count(context) + key_arn.len() + ENCRYPTED_KEY_BYTES_USUAL;
    message_byte_count(HEADER_BYTES_OF_MESSAGE + of_key, FRAME_BYTES, plaintext_byte_count)
}

fn message_byte_count(header_byte_count: usize, frame_byte_count: usize, plaintext_byte_count: usize) -> usize {
    let frame_count = plaintext_byte_count.div_ceil(frame_byte_count).max(1);
    header_byte_count + frame_count * FRAME_OVERHEAD_BYTES + FINAL_FRAME_OVERHEAD_BYTES + plaintext_byte_count
}

fn append_frame(
    key: &LessSafeKey,
    message_id: &MessageId,
    sequence_number: u32,
    plaintext: &[u8],
    is_final: bool,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let content = if is_final { FINAL_FRAME } else { FRAME };
    let (sequence, byte_count) = (sequence_number.to_be_bytes(), (plaintext.len() as u64).to_be_bytes());
    let mut authenticated = [0; MESSAGE_ID_BYTES + FINAL_FRAME.len() + 4 + 8];
    let fields = [message_id, content, &sequence, &byte_count];
    let authenticated_byte_count: usize = fields.iter().map(|field| field.len()).sum();
    for (to, from) in authenticated.iter_mut().zip(fields.into_iter().flatten()) {
        *to = *from;
    }
    let authenticated = Aad::from(&authenticated[..authenticated_byte_count]);

    if is_final {
        out.extend(FINAL_FRAME_MARK);
    }
    out.extend(sequence);
    out.extend(nonce(sequence_number).as_ref());
    if is_final {
        out.extend(u32::try_from(plaintext.len()).map_err(|_| TooLong)?.to_be_bytes());
    }
    let start = out.len();
    out.extend(plaintext);
    let tag = key.seal_in_place_separate_tag(nonce(sequence_number), authenticated, &mut out[start..]).map_err(|_| TooLong)?;
    out.extend(tag.as_ref());
    Ok(())
}

/// The header has 0, frames their sequence number.
fn nonce(sequence_number: u32) -> Nonce {
    let [a, b, c, d] = sequence_number.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

/// Bytes of `context` as it is written in a message.
pub fn context_byte_count(context: &Context) -> usize {
    let pairs = context.iter().map(|(name, value)| 2 + name.len() + 2 + value.len());
    if context.is_empty() { 0 } else { 2 + pairs.sum::<usize>() }
}

fn write_context(context: &Context, out: &mut Vec<u8>) -> Result<(), Unfit> {
    let byte_count = context_byte_count(context);
    let unfit = || Unfit::Context(byte_count);
    let written = u16::try_from(byte_count).ok().filter(|_| byte_count <= CONTEXT_BYTES_MAX).ok_or_else(unfit)?;
    out.extend(written.to_be_bytes());
    if context.is_empty() {
        return Ok(());
    }
    out.extend(u16::try_from(context.len()).map_err(|_| unfit())?.to_be_bytes());
    // In the order of their bytes, as the format wants them: so does a map of strings.
    for field in context.iter().flat_map(|(name, value)| [name, value]) {
        write_field(field.as_bytes(), out).map_err(|_| unfit())?;
    }
    Ok(())
}

/// Appends a field with its length; the error is a length that cannot be written.
fn write_field(field: &[u8], out: &mut Vec<u8>) -> Result<(), usize> {
    out.extend(u16::try_from(field.len()).map_err(|_| field.len())?.to_be_bytes());
    out.extend(field);
    Ok(())
}

/// Without the key.
impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("key_arn", &self.key_arn).finish_non_exhaustive()
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, byte_count, byte_count_max) = match self {
            Self::Context(byte_count) => ("encryption context", byte_count, CONTEXT_BYTES_MAX),
            Self::KeyArn(byte_count) => ("ARN of the key", byte_count, KEY_ARN_BYTES_MAX),
            Self::EncryptedKey(byte_count) => ("encrypted data key", byte_count, ENCRYPTED_KEY_BYTES_MAX),
        };
        write!(f, "the {what} has {byte_count} bytes, more than {byte_count_max}")
    }
}

#[cfg(test)]
pub(super) mod tests;
