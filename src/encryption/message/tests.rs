use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;

mod open;

pub(in crate::encryption) use open::open;

const KEY: [u8; DATA_KEY_BYTES] = [0x5a; DATA_KEY_BYTES];
const ID: MessageId = [0xc3; MESSAGE_ID_BYTES];
const ARN: &str = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab";

fn context(pairs: &[(&str, &str)]) -> Context {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn key_with(context: &Context, frame_byte_count: u32) -> DataKey {
    DataKey::of_provider(KEY_PROVIDER, Zeroizing::new(KEY), b"encrypted", ARN, context, frame_byte_count).unwrap()
}

fn sealed(key: &DataKey, id: &MessageId, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    key.seal(id, plaintext, &mut out).unwrap();
    assert_eq!(out.len(), key.sealed_byte_count(plaintext.len()));
    out
}

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    message_b64: String,
    data_key_b64: String,
    /// None where the commitment is of another key.
    plaintext: Option<String>,
}

#[test]
fn the_size_of_a_message_is_known_without_a_data_key() {
    for context in [context(&[]), context(&[("app", "shop"), ("é", "")])] {
        let key = DataKey::new(Zeroizing::new(KEY), &[0; ENCRYPTED_KEY_BYTES_USUAL], ARN, &context).unwrap();
        for byte_count in [0, 1, 1_000, FRAME_BYTES, FRAME_BYTES + 1] {
            assert_eq!(sealed_byte_count_expected(ARN, &context, byte_count), key.sealed_byte_count(byte_count), "{byte_count}");
        }
    }
}

/// Messages that the SDKs of other languages made come out byte for byte when they are made again of their parts.
#[test]
fn messages_are_those_of_the_sdks() {
    let text = include_str!("../../../tests/vectors/encryption_vectors.json");
    let Vectors { vectors } = serde_json::from_str(text).unwrap();
    assert_eq!(vectors.len(), 6);
    for Vector { name, message_b64, data_key_b64, plaintext } in vectors {
        let (message, data_key) = (BASE64.decode(message_b64).unwrap(), BASE64.decode(data_key_b64).unwrap());
        let opened = open(&message, &data_key);
        let Some(plaintext) = plaintext else {
            assert_eq!(opened, Err("the commitment is not of this data key"), "{name}");
            continue;
        };
        let opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(opened.plaintext, plaintext.as_bytes(), "{name}");
        let data_key = Zeroizing::new(data_key.try_into().unwrap());
        let key_info = String::from_utf8(opened.key_info).unwrap();
        let key = DataKey::of_provider(
            &opened.provider,
            data_key,
            &opened.encrypted_key,
            &key_info,
            &opened.context,
            opened.frame_byte_count,
        );
        let made = sealed(&key.unwrap(), &opened.message_id, plaintext.as_bytes());
        assert_eq!(BASE64.encode(made), BASE64.encode(message), "{name}");
    }
}

#[test]
fn the_header_says_what_a_reader_needs() {
    let pairs = context(&[("stream", "access"), ("app", "x"), ("Zone", ""), ("\u{e9}", "\u{1f980}")]);
    let key = DataKey::new(Zeroizing::new(KEY), b"encrypted", ARN, &pairs).unwrap();
    let opened = open(&sealed(&key, &ID, b"line"), &KEY).unwrap();
    assert_eq!((opened.provider.as_str(), opened.key_info.as_slice()), ("aws-kms", ARN.as_bytes()));
    assert_eq!((opened.encrypted_key.as_slice(), opened.message_id), (b"encrypted".as_slice(), ID));
    assert_eq!((opened.context, opened.frame_byte_count as usize), (pairs, FRAME_BYTES));
    assert_eq!(open(&sealed(&key, &ID, b""), &[0; 32]), Err("the commitment is not of this data key"));
}

#[test]
fn frames_are_as_long_as_they_may_be() {
    let key = key_with(&Context::new(), 4);
    for (byte_count, frames) in [(0, vec![0]), (1, vec![1]), (4, vec![4]), (5, vec![4, 1]), (8, vec![4, 4]), (9, vec![4, 4, 1])] {
        let opened = open(&sealed(&key, &ID, &vec![b'x'; byte_count]), &KEY).unwrap();
        assert_eq!((opened.frames, opened.plaintext.len()), (frames, byte_count));
    }
}

#[test]
fn the_longest_record_under_the_longest_header_has_no_more_overhead_than_limits_say() {
    let value = "v".repeat(CONTEXT_BYTES_MAX - context_byte_count(&context(&[("name", "")])));
    let pairs = context(&[("name", &value)]);
    let arn = "a".repeat(KEY_ARN_BYTES_MAX);
    let key = DataKey::new(Zeroizing::new(KEY), &[0; ENCRYPTED_KEY_BYTES_MAX], &arn, &pairs).unwrap();
    for byte_count in [0, 1, FRAME_BYTES, FRAME_BYTES + 1, REQUEST_BYTES_MAX] {
        let plaintext = vec![b'x'; byte_count];
        let message = sealed(&key, &ID, &plaintext);
        assert!(message.len() - byte_count <= SEALED_OVERHEAD_BYTES_MAX, "{byte_count}");
        assert!(open(&message, &KEY).unwrap().plaintext == plaintext, "{byte_count}");
    }
}

#[test]
fn what_would_be_longer_is_refused() {
    let value = "v".repeat(CONTEXT_BYTES_MAX - context_byte_count(&context(&[("name", "")])) + 1);
    let make = |encrypted: &[u8], arn: &str, pairs: &Context| {
        DataKey::new(Zeroizing::new(KEY), encrypted, arn, pairs).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(make(b"", ARN, &context(&[("name", &value)])), "the encryption context has 2049 bytes, more than 2048");
    assert_eq!(make(b"", &"a".repeat(70_000), &Context::new()), "the ARN of the key has 70000 bytes, more than 256");
    assert_eq!(make(&[0; 1025], ARN, &Context::new()), "the encrypted data key has 1025 bytes, more than 1024");
}

#[test]
fn any_altered_bit_is_noticed() {
    let message = sealed(&key_with(&context(&[("app", "x")]), 16), &ID, b"a line that has two frames");
    for bit in 0..message.len() * 8 {
        let mut altered = message.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&altered, &KEY).is_err(), "bit {bit}");
    }
    for byte_count in 0..message.len() {
        assert!(open(&message[..byte_count], &KEY).is_err(), "the first {byte_count} bytes");
    }
    assert_eq!(open(&[&message[..], b"x"].concat(), &KEY), Err("something is behind the final frame"));
}

#[test]
fn the_same_line_is_never_the_same_message() {
    let key = key_with(&Context::new(), 16);
    let (first, second) = (sealed(&key, &ID, b"line"), sealed(&key, &[0xc4; MESSAGE_ID_BYTES], b"line"));
    let ciphertext = |message: &[u8]| message[message.len() - 20..message.len() - 16].to_vec();
    assert_ne!(ciphertext(&first), ciphertext(&second));
    assert_ne!(ciphertext(&first), b"line");
}

#[test]
fn a_message_is_put_behind_what_is_there() {
    let key = key_with(&context(&[("app", "x")]), 16);
    let mut out = b"before".to_vec();
    key.seal(&ID, b"line", &mut out).unwrap();
    assert_eq!(out, [b"before", &sealed(&key, &ID, b"line")[..]].concat());
}

#[test]
fn a_key_is_not_shown() {
    let shown = format!("{:?}", key_with(&Context::new(), 16));
    assert_eq!(shown, format!("DataKey {{ key_arn: {ARN:?}, .. }}"));
}

proptest! {
    #[test]
    fn what_is_sealed_is_opened(
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        frame_byte_count in 1u32..100,
        data_key in any::<[u8; 32]>(),
        id in any::<[u8; 32]>(),
        pairs in prop::collection::btree_map(".{1,8}", ".{0,8}", 0..5),
    ) {
        let key = DataKey::of_provider(KEY_PROVIDER, Zeroizing::new(data_key), b"k", ARN, &pairs, frame_byte_count).unwrap();
        let opened = open(&sealed(&key, &id, &plaintext), &data_key).unwrap();
        prop_assert_eq!(&opened.plaintext, &plaintext);
        prop_assert_eq!(&opened.context, &pairs);
        prop_assert_eq!(opened.message_id, id);
        let frame_byte_count = frame_byte_count as usize;
        prop_assert!(opened.frames.iter().rev().skip(1).all(|frame| *frame == frame_byte_count));
        prop_assert_eq!(opened.frames.len(), plaintext.len().div_ceil(frame_byte_count).max(1));
    }
}
