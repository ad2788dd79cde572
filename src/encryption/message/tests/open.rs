//! A reader of messages, written after the format and not after the writer, that is given the data key.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA512, KeyType, Salt};

use super::super::Context;

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::encryption) struct Opened {
    pub(in crate::encryption) message_id: [u8; 32],
    pub(in crate::encryption) context: Context,
    pub(in crate::encryption) provider: String,
    pub(in crate::encryption) key_info: Vec<u8>,
    pub(in crate::encryption) encrypted_key: Vec<u8>,
    pub(in crate::encryption) frame_byte_count: u32,
    /// Bytes of each frame, the final one last.
    pub(in crate::encryption) frames: Vec<usize>,
    pub(in crate::encryption) plaintext: Vec<u8>,
}

struct Bytes<'a> {
    all: &'a [u8],
    read: usize,
}

impl<'a> Bytes<'a> {
    fn take(&mut self, byte_count: usize) -> Result<&'a [u8], &'static str> {
        let taken = self.all[self.read..].get(..byte_count).ok_or("the message ends early")?;
        self.read += byte_count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        Ok(self.take(N)?.try_into().unwrap())
    }

    fn short(&mut self) -> Result<usize, &'static str> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn field(&mut self) -> Result<&'a [u8], &'static str> {
        let byte_count = self.short()?;
        self.take(byte_count)
    }
}

struct Length32;

impl KeyType for Length32 {
    fn len(&self) -> usize {
        32
    }
}

fn derived(data_key: &[u8], message_id: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    Salt::new(HKDF_SHA512, message_id).extract(data_key).expand(&[info], Length32).unwrap().fill(&mut out).unwrap();
    out
}

fn text(bytes: &[u8]) -> Result<String, &'static str> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8")
}

/// Decrypts `message`, and checks all that can be checked.
pub(in crate::encryption) fn open(message: &[u8], data_key: &[u8]) -> Result<Opened, &'static str> {
    let mut bytes = Bytes { all: message, read: 0 };
    if bytes.take(3)? != [0x02, 0x04, 0x78] {
        return Err("another version or algorithm suite");
    }
    let message_id: [u8; 32] = bytes.array()?;
    let context = context(bytes.field()?)?;
    if bytes.short()? != 1 {
        return Err("not one encrypted data key");
    }
    let (provider, key_info, encrypted_key) = (text(bytes.field()?)?, bytes.field()?.to_vec(), bytes.field()?.to_vec());
    if bytes.take(1)? != [2] {
        return Err("not in frames");
    }
    let frame_byte_count = u32::from_be_bytes(bytes.array()?);
    if bytes.take(32)? != derived(data_key, &message_id, b"COMMITKEY") {
        return Err("the commitment is not of this data key");
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derived(data_key, &message_id, b"\x04\x78DERIVEKEY")).unwrap());
    let header = &message[..bytes.read];
    let mut tag = bytes.take(16)?.to_vec();
    key.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::from(header), &mut tag)
        .map_err(|_| "the header was altered")?;

    let (mut plaintext, mut frames) = (Vec::new(), Vec::new());
    for sequence_number in 1u32.. {
        let mut sequence: [u8; 4] = bytes.array()?;
        let is_final = sequence == [0xff; 4];
        if is_final {
            sequence = bytes.array()?;
        }
        if sequence != sequence_number.to_be_bytes() {
            return Err("a frame is out of order");
        }
        let nonce: [u8; 12] = bytes.array()?;
        let byte_count = if is_final { u32::from_be_bytes(bytes.array()?) } else { frame_byte_count };
        if byte_count > frame_byte_count {
            return Err("a frame is too long");
        }
        let content: &[u8] = if is_final { b"AWSKMSEncryptionClient Final Frame" } else { b"AWSKMSEncryptionClient Frame" };
        let authenticated = [&message_id, content, &sequence, &u64::from(byte_count).to_be_bytes()].concat();
        let mut sealed = bytes.take(byte_count as usize + 16)?.to_vec();
        let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(authenticated), &mut sealed);
        plaintext.extend_from_slice(opened.map_err(|_| "a frame was altered")?);
        frames.push(byte_count as usize);
        if is_final {
            break;
        }
    }
    if bytes.read != message.len() {
        return Err("something is behind the final frame");
    }
    Ok(Opened { message_id, context, provider, key_info, encrypted_key, frame_byte_count, frames, plaintext })
}

fn context(written: &[u8]) -> Result<Context, &'static str> {
    let mut bytes = Bytes { all: written, read: 0 };
    let mut pairs = Vec::new();
    if !written.is_empty() {
        for _ in 0..bytes.short()? {
            pairs.push((text(bytes.field()?)?, text(bytes.field()?)?));
        }
    }
    if bytes.read != written.len() {
        return Err("the context is longer than its pairs");
    }
    if !pairs.is_sorted_by(|(a, _), (b, _)| a.as_bytes() < b.as_bytes()) {
        return Err("the context is not in order");
    }
    Ok(pairs.into_iter().collect())
}
