//! What holds for any text.

use proptest::prelude::*;

use super::*;

/// Pieces of what is masked and of what is around it, in any order.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        "[ -~]{0,6}",
        "[@.:%/=_ \"-]{1,3}",
        "[0-9a-f:.]{1,12}",
        "[0-9]{1,4}",
        prop_oneof![
            Just("bob@example.com"),
            Just("%40example.com"),
            Just("10.0.0.1"),
            Just("fe80::1%eth0"),
            Just("2001:db8:0:0:0:0:0:1"),
            Just("4111 1111 1111 1111"),
            Just("378282246310005"),
            Just("Authorization: Basic "),
            Just("\x1b[31m"),
            Just("\\n"),
            Just("\\u0022"),
            Just("\\u0040example.com"),
            Just("\\/"),
            Just("%2B"),
            Just("%25"),
            Just("Bearer "),
            Just("access_token="),
            Just("eyJhbGciOiJub25lIn0.eyJz"),
            Just("AKIAIOSFODNN7EXAMPLE"),
            Just("SecretAccessKey="),
            Just("session_token="),
            Just("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        ]
        .prop_map(str::to_owned),
    ];
    let of_pieces = proptest::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat().into_bytes());
    prop_oneof![3 => of_pieces, 1 => any::<Vec<u8>>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Where nothing was left to mask, nothing is masked.
    #[test]
    fn masking_twice_is_masking_once(text in texts()) {
        for of in PRESETS {
            let (once, count) = masked(&[preset(of)], &text);
            prop_assert_eq!(count == 0, once == text);
            prop_assert_eq!(masked(&[preset(of)], &once), (once.clone(), 0), "{:?}: {}", of, once.escape_ascii());
        }
    }

    /// All that is masked is found again behind whatever is before it, and before whatever is behind it.
    #[test]
    fn what_is_masked_does_not_hang_on_its_neighbours(before in texts(), behind in texts()) {
        for (of, text) in [
            (MaskPreset::Email, "jane@example.org"),
            (MaskPreset::Ipv4, "10.20.30.40"),
            (MaskPreset::Ipv6, "fe80::abc1"),
            (MaskPreset::Card, "5555 5555 5555 4444"),
            (MaskPreset::Bearer, "Bearer mF9B5f41JqM"),
            (MaskPreset::AwsKeys, "ASIAIOSFODNN7EXAMPLE"),
        ] {
            let whole = [&before, b"\n".as_slice(), text.as_bytes(), b"\n", &behind].concat();
            let (masked, _) = masked(&[preset(of)], &whole);
            let is_left = masked.windows(text.len()).any(|window| window == text.as_bytes());
            prop_assert!(!is_left, "{:?}: {}", of, masked.escape_ascii());
        }
    }
}
