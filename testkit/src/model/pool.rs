//! What operations choose from: few keys, so that they meet, and the nastiest ones there are.

use std::time::Duration;

use icecore_mvcc::{KeyRange, NamePattern};

use crate::dice::Dice;

/// How many keys there are.
pub(crate) const KEYS: usize = 16;

/// The key of this number.
pub(crate) fn key(number: u8) -> Vec<u8> {
    match usize::from(number) % KEYS {
        0 => Vec::new(),
        1 => vec![0],
        2 => vec![0, 0],
        3 => vec![0, 1],
        4 => vec![0, 0xFF],
        5 => b"a".to_vec(),
        6 => b"a\x00".to_vec(),
        7 => b"a\x00\x01".to_vec(),
        8 => b"a\x00\xff".to_vec(),
        9 => b"a\x01".to_vec(),
        10 => b"ab".to_vec(),
        11 => b"b".to_vec(),
        12 => vec![b'k'; 300],
        13 => vec![0xFF],
        14 => vec![0xFF; 9],
        _ => vec![0; 20],
    }
}

/// All keys, ascending.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<_> = (0..KEYS as u8).map(key).collect();
    keys.sort();
    keys
}

/// The value of this number: different numbers, different bytes; 0 is empty, a few are long.
pub(crate) fn value(number: u8) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        n if n % 32 == 31 => vec![n; 1500],
        n => vec![n; usize::from(n % 5) + 1],
    }
}

/// Names of keyspaces that are created.
const NAMES: [&str; 5] = [
    "bank.customers",
    "audit",
    "bank.orders",
    "bank.eu.west",
    "log.events",
];

/// The name of this number.
pub(crate) fn name(number: u8) -> &'static str {
    let [first, ..] = NAMES;
    NAMES
        .get(usize::from(number) % NAMES.len())
        .unwrap_or(&first)
}

/// The selections of keyspaces; the first is everything.
pub(crate) fn scope(number: u8) -> Vec<NamePattern> {
    let texts: &[&str] = match number % 6 {
        0..=2 => &[],
        3 => &["bank.*"],
        4 => &["audit"],
        _ => &["log.*", "bank.customers"],
    };
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// Steps of the clock.
pub(crate) fn step(number: u8) -> Duration {
    match number % 8 {
        0 => Duration::from_nanos(1),
        1 => Duration::from_millis(1),
        2 => Duration::from_millis(20),
        3 => Duration::from_millis(500),
        4 => Duration::from_secs(2),
        5 => Duration::from_secs(15),
        6 => Duration::from_secs(3600),
        _ => Duration::from_secs(5 * 3600),
    }
}

/// TTLs.
pub(crate) fn ttl(number: u8) -> Duration {
    match number % 4 {
        0 => Duration::ZERO,
        1 => Duration::from_secs(1),
        2 => Duration::from_secs(10),
        _ => Duration::from_secs(4 * 3600),
    }
}

/// A range between keys of the pool, sometimes all of it, sometimes empty.
pub(crate) fn range(dice: &mut Dice) -> KeyRange {
    let mut any = || key(dice.below(KEYS) as u8);
    let (a, b) = (any(), any());
    match dice.below(6) {
        0 | 1 => KeyRange::all(),
        2 => KeyRange::prefix(&a),
        3 => KeyRange::single(&a),
        4 => KeyRange::new(a, None),
        _ => KeyRange::new(a, Some(b)),
    }
}
