//! The codec against its two promises: every stored key reads back, and stored keys sort as versions do.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::*;

/// Keys made of what the codec treats specially, so that they often share beginnings.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![&[0x00][..], &[0x01], &[0xFF], &[0x00, 0xFF], &[0x00, 0x01], &[0xFE]])
            .prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 0..20_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// Two keys, often with a common beginning.
fn key_pair() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (key(), key(), key())
        .prop_map(|(common, a, b)| ([&common[..], &a].concat(), [&common[..], &b].concat()))
}

fn ts() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        (0..3_u64).prop_map(Timestamp::from_nanos),
        // Timestamps whose inverse holds bytes that look like escapes and terminators.
        prop::array::uniform8(prop::sample::select(vec![0x00, 0x01, 0xFE, 0xFF]))
            .prop_map(|bytes| Timestamp::from_nanos(u64::from_be_bytes(bytes))),
        any::<u64>().prop_map(Timestamp::from_nanos),
    ]
}

fn version_order(a: &(Vec<u8>, Timestamp), b: &(Vec<u8>, Timestamp)) -> Ordering {
    a.0.cmp(&b.0).then(b.1.cmp(&a.1))
}

/// Whether the bounds of a range hold exactly the stored keys of its user keys.
fn bounds_are_exact(range: &KeyRange, user: &[u8], ts: Timestamp) -> bool {
    let (lower, upper) = range_bounds(range);
    let stored = encode_key(user, ts);
    let inside = lower <= stored && upper.is_none_or(|upper| stored < upper);
    inside == range.contains(user)
}

/// All keys up to four bytes long over the bytes that matter.
fn all_short_keys() -> Vec<Vec<u8>> {
    let mut keys = vec![Vec::new()];
    let mut longest = 0;
    for _ in 0..4 {
        let end = keys.len();
        for at in longest..end {
            for byte in [0x00, 0x01, 0x02, 0xFE, 0xFF] {
                keys.push([&keys[at][..], &[byte]].concat());
            }
        }
        longest = end;
    }
    keys
}

/// Whether a codec puts all versions of all short keys into the order of versions, no two equal.
fn sorts_versions(encode: impl Fn(&[u8], Timestamp) -> Vec<u8>) -> bool {
    let times = [0, 1, 0x0100, 0x0001_00FF_0001_0001, u64::MAX].map(Timestamp::from_nanos);
    let keys = all_short_keys();
    let mut versions: Vec<_> = keys
        .iter()
        .flat_map(|key| times.map(|ts| (key.clone(), ts)))
        .collect();
    versions.sort_by(version_order);
    let stored: Vec<_> = versions.iter().map(|(key, ts)| encode(key, *ts)).collect();
    // Strictly ascending neighbours mean that every pair is in order and no two are equal.
    stored.is_sorted_by(|a, b| a < b)
}

#[test]
fn every_pair_of_short_keys_sorts_as_its_versions_do() {
    assert_eq!(all_short_keys().len(), 1 + 5 + 25 + 125 + 625);
    assert!(sorts_versions(encode_key));
}

#[test]
fn a_codec_that_does_not_escape_terminate_or_invert_is_caught() {
    let escape = |user: &[u8]| {
        encode_prefix(user)
            .strip_suffix(&TERMINATOR)
            .unwrap()
            .to_vec()
    };
    assert!(!sorts_versions(|user, ts| [
        user,
        &TERMINATOR,
        &encode_timestamp(ts)
    ]
    .concat()));
    assert!(!sorts_versions(|user, ts| [
        &escape(user)[..],
        &encode_timestamp(ts)
    ]
    .concat()));
    assert!(!sorts_versions(|user, ts| [
        &encode_prefix(user)[..],
        &ts.nanos().to_be_bytes()
    ]
    .concat()));
    assert!(!sorts_versions(|user, ts| [
        &encode_prefix(user)[..],
        &(!ts.nanos()).to_le_bytes()
    ]
    .concat()));
}

#[test]
fn every_prefix_of_short_keys_is_the_beginning_of_its_own_versions_only() {
    let mut prefixes: Vec<_> = all_short_keys()
        .iter()
        .map(|key| encode_prefix(key))
        .collect();
    prefixes.sort();
    // In sorted order a string that begins others stands right before one of them.
    for pair in prefixes.windows(2) {
        assert!(!pair[1].starts_with(&pair[0]), "{pair:x?}");
    }
}

#[test]
fn the_longest_keys_of_one_byte_work() {
    for byte in [0x00, 0x01, 0xFF] {
        let user = vec![byte; MAX_KEY_BYTES];
        assert_eq!(check_key(&user), Ok(()));
        let stored = encode_key(&user, Timestamp::from_nanos(7));
        let escaped = if byte == 0 {
            2 * MAX_KEY_BYTES
        } else {
            MAX_KEY_BYTES
        };
        assert_eq!(stored.len(), escaped + 10);
        assert_eq!(decode_key(&stored), Ok((user, Timestamp::from_nanos(7))));
    }
    assert_eq!(
        check_key(&vec![0; MAX_KEY_BYTES + 1]),
        Err(Error::KeyTooLong {
            bytes: MAX_KEY_BYTES + 1
        })
    );
}

#[test]
fn the_empty_key_is_before_all_others() {
    let (prefix, ts) = (
        encode_prefix(b""),
        Timestamp::from_nanos(u64::from_be_bytes([0xFF; 8])),
    );
    assert_eq!(prefix, TERMINATOR);
    assert_eq!(encode_key(b"", ts), [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(encode_key(b"", Timestamp::MIN) < encode_key(&[0], Timestamp::MAX));
}

#[test]
fn what_is_no_stored_key_is_refused() {
    for stored in [
        &b""[..],
        &[0, 1],
        &[0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(split(stored), None);
        assert_eq!(
            decode_key(stored),
            Err(Error::KeyTerminator {
                stored: text::to_text(stored)
            })
        );
    }
    for (prefix, offset) in [
        (&[0x61, 0x00, 0x00, 0x01][..], 1),
        (&[0x00, 0xFF, 0x00, 0x01, 0x61, 0x00, 0x01], 2),
    ] {
        let stored = text::to_text(prefix);
        assert_eq!(
            decode_prefix(prefix),
            Err(Error::KeyEscape { stored, offset })
        );
    }
    assert_eq!(
        decode_prefix(b"a"),
        Err(Error::KeyTerminator {
            stored: "a".to_owned()
        })
    );
}

#[test]
fn encoding_and_decoding_append() {
    let mut out = b"kept".to_vec();
    encode_into(&mut out, b"a", Timestamp::MAX);
    encode_prefix_into(&mut out, b"b");
    assert_eq!(
        out,
        b"kepta\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00b\x00\x01"
    );
    out.truncate(4);
    assert_eq!(decode_prefix_into(&mut out, b"c\x00\xFF\x00\x01"), Ok(()));
    assert_eq!(out, b"keptc\x00");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn round_trip(user in key(), ts in ts()) {
        let stored = encode_key(&user, ts);
        let prefix = encode_prefix(&user);
        prop_assert!(is_stored_key(&stored));
        prop_assert_eq!(split(&stored), Some((&prefix[..], ts)));
        prop_assert_eq!(decode_prefix(&prefix), Ok(user.clone()));
        prop_assert_eq!(decode_key(&stored), Ok((user, ts)));
    }

    #[test]
    fn order(pair in key_pair(), a_ts in ts(), b_ts in ts()) {
        let (a, b) = ((pair.0, a_ts), (pair.1, b_ts));
        let by_bytes = encode_key(&a.0, a.1).cmp(&encode_key(&b.0, b.1));
        prop_assert_eq!(by_bytes, version_order(&a, &b));
    }

    #[test]
    fn a_bound_is_below_every_version_of_its_key_and_above_those_of_lesser_keys(
        pair in key_pair(), ts in ts(),
    ) {
        let (lesser, greater) = if pair.0 < pair.1 { pair } else { (pair.1, pair.0) };
        let bound = encode_prefix(&greater);
        prop_assert!(bound < encode_key(&greater, Timestamp::MAX));
        prop_assert!(bound < encode_key(&greater, ts));
        if lesser < greater {
            prop_assert!(encode_key(&lesser, Timestamp::MIN) < bound);
            prop_assert!(encode_key(&lesser, ts) < bound);
        }
    }

    #[test]
    fn bounds_hold_exactly_the_range(
        start in key(), end in prop::option::of(key()), user in key(), ts in ts(),
    ) {
        let range = KeyRange::new(start.clone(), end.clone());
        for user in [Some(&user), Some(&start), end.as_ref()].into_iter().flatten() {
            prop_assert!(bounds_are_exact(&range, user, ts));
            prop_assert!(bounds_are_exact(&KeyRange::single(&start), user, ts));
            prop_assert!(bounds_are_exact(&KeyRange::prefix(&start), user, ts));
            prop_assert!(bounds_are_exact(&KeyRange::all(), user, ts));
        }
    }

    #[test]
    fn no_bound_is_taken_for_a_stored_key(user in key()) {
        prop_assert!(!is_stored_key(&encode_prefix(&user)));
    }

    #[test]
    fn whatever_decodes_is_what_encoding_yields(
        middle in key(), tail in prop::array::uniform8(any::<u8>()), terminated: bool,
    ) {
        let terminator = if terminated { &TERMINATOR[..] } else { &[] };
        let stored = [&middle[..], terminator, &tail].concat();
        if let Ok((user, ts)) = decode_key(&stored) {
            prop_assert_eq!(encode_key(&user, ts), stored);
        }
    }

    #[test]
    fn zeros_are_found_where_they_are(bytes in prop::collection::vec(prop_oneof![
        Just(0x00_u8), Just(0x01), Just(0x80), Just(0xFF), any::<u8>()], 0..40), lead in 0..20_usize) {
        let bytes = [vec![0x01; lead], bytes].concat();
        prop_assert_eq!(find_zero(&bytes), bytes.iter().position(|byte| *byte == 0));
    }
}
