//! Cutting keys into parts.

use icecore_mvcc::Timestamp;
use proptest::prelude::*;

use super::*;

/// A key, and a time of one of its versions.
type Version = (Vec<u8>, u64);

fn arena(versions: &[Version]) -> Arena {
    let mut arena = Arena::default();
    for (user, ts) in versions {
        let put = SizeClass::of(user.len());
        let encode = |out: &mut Vec<u8>| key::encode_into(out, user, Timestamp::from_nanos(*ts));
        arena.push((ts % 3 != 0).then_some(put), encode);
    }
    arena
}

fn keys(arena: &Arena) -> Vec<Vec<u8>> {
    let all = (0..arena.len()).map(|index| arena.get(index).unwrap().0.to_vec());
    all.collect()
}

/// Why the parts are not a right cut of the keys.
fn fault(versions: &[Version], parts: &[Arena]) -> Option<String> {
    let mut whole = arena(versions);
    whole.sort();
    let joined: Vec<Vec<u8>> = parts.iter().flat_map(keys).collect();
    if joined != keys(&whole) {
        return Some("the parts are not the sorted keys".to_owned());
    }
    let prefix = |stored: Option<&Vec<u8>>| key::split(stored?).map(|(prefix, _)| prefix.to_vec());
    let parts: Vec<Vec<Vec<u8>>> = parts.iter().map(keys).filter(|k| !k.is_empty()).collect();
    let torn = parts
        .windows(2)
        .any(|two| prefix(two[0].last()) == prefix(two[1].first()));
    torn.then(|| "the versions of a key are in two parts".to_owned())
}

fn cut(versions: &[Version], parts: usize, sorted_before: bool) -> Vec<Arena> {
    let mut whole = arena(versions);
    if sorted_before {
        whole.sort();
    }
    let mut cut = whole.cut(parts);
    assert!(cut.len() <= parts.max(1), "{} of {parts} parts", cut.len());
    cut.iter_mut().for_each(Arena::sort);
    cut
}

/// Keys that are alike: few bytes, zeros, beginnings of one another, and many versions of one.
fn versions() -> impl Strategy<Value = Vec<Version>> {
    let byte = prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()];
    let user = prop_oneof![
        Just(b"one key".to_vec()),
        proptest::collection::vec(byte, 0..12)
    ];
    proptest::collection::vec((user, 0..50_u64), 0..400)
}

proptest! {
    #[test]
    fn parts_are_the_sorted_keys_and_tear_no_key(
        versions in versions(),
        parts in prop_oneof![0..9_usize, Just(5000)],
        sorted_before in any::<bool>(),
    ) {
        let cut = cut(&versions, parts, sorted_before);
        prop_assert_eq!(fault(&versions, &cut), None);
    }
}

#[test]
fn parts_are_of_similar_count() {
    let versions: Vec<Version> = (0..20_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).to_be_bytes().to_vec(), 1))
        .collect();
    for parts in [2, 3, 8] {
        let cut = cut(&versions, parts, false);
        assert_eq!(cut.len(), parts);
        let fair = versions.len() / parts;
        for part in &cut {
            assert!(
                part.len() > fair * 3 / 4 && part.len() < fair * 5 / 4,
                "{}",
                part.len()
            );
        }
        assert_eq!(fault(&versions, &cut), None);
    }
}

#[test]
fn planted_faults_of_a_cut_are_told() {
    let versions: Vec<Version> = (0..600_u32)
        .flat_map(|i| [(i.to_be_bytes().to_vec(), 1), (i.to_be_bytes().to_vec(), 2)])
        .collect();
    let parts = || cut(&versions, 3, false);
    assert_eq!(fault(&versions, &parts()), None);
    let mut swapped = parts();
    swapped.reverse();
    assert!(fault(&versions, &swapped).is_some());
    let mut lost = parts();
    lost.pop();
    assert!(fault(&versions, &lost).is_some());
    let mut torn = parts();
    let slot = torn[0].slots.pop().unwrap();
    torn[1].slots.insert(0, slot);
    assert!(fault(&versions, &torn).is_some());
}
