//! The operations, and how they are drawn.

use std::collections::BTreeSet;

use icecore_engine::{Compression, Options};
use icecore_mvcc::KeyRange;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use crate::common::small;

/// How many keys are in use.
pub const KEYS: u8 = 24;

/// Picks a time out of those at which something happened, or just before or after.
#[derive(Debug, Clone, Copy)]
pub struct Stamp(pub u16);

/// A put or a delete of one of the keys in use.
#[derive(Debug, Clone)]
pub struct Write {
    key: u8,
    value: Option<u8>,
}

impl Write {
    pub fn key(&self) -> Vec<u8> {
        key(self.key)
    }

    pub fn value(&self) -> Option<Vec<u8>> {
        self.value.map(value)
    }
}

/// A range between two of the keys in use; upside down is allowed, and empty.
#[derive(Debug, Clone)]
pub struct Span {
    pub start: Option<u8>,
    pub end: Option<u8>,
}

impl Span {
    pub fn range(&self) -> KeyRange {
        KeyRange::new(self.start.map(key).unwrap_or_default(), self.end.map(key))
    }
}

#[derive(Debug, Clone)]
pub enum Op {
    Commit {
        space: u8,
        rows: Vec<Write>,
    },
    Transaction {
        space: u8,
        serializable: bool,
        reads: Vec<u8>,
        range: Span,
        writes: Vec<Write>,
        rival: Option<Write>,
    },
    BulkLoad {
        space: u8,
        keys: BTreeSet<u8>,
        value: u8,
    },
    Restore {
        layers: Vec<Vec<(Write, u8)>>,
    },
    Create,
    Drop {
        space: u8,
    },
    Flush,
    Compact {
        space: u8,
    },
    Reopen {
        clean: bool,
    },
    Tick {
        nanos: u64,
    },
    ClockBack,
    Raise {
        space: u8,
        to: Stamp,
    },
    Sweep {
        space: u8,
        max_keys: u8,
    },
    CollectAll,
    Hold {
        at: Stamp,
    },
    Release,
    Check {
        space: u8,
        at: Stamp,
    },
    CheckWindow {
        space: u8,
        after: Stamp,
        until: Stamp,
        range: Span,
        latest: bool,
        parts: u8,
        memory_bytes: usize,
    },
}

/// The keys in use: what codecs and bounds get wrong, then plain ones.
pub fn key(index: u8) -> Vec<u8> {
    const ODD: [&[u8]; 12] = [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x01",
        b"\x00\xff",
        b"a",
        b"a\x00",
        b"a\x00\x01",
        b"a\x01",
        b"ab",
        b"\xff",
        b"\xff\xff\xff",
    ];
    let index = index % KEYS;
    match ODD.get(usize::from(index)) {
        Some(odd) => odd.to_vec(),
        None => format!("key/{index:02}/{}", "x".repeat(usize::from(index))).into_bytes(),
    }
}

/// Values of quite different sizes, each told apart by its byte.
pub fn value(index: u8) -> Vec<u8> {
    const LENGTHS: [usize; 7] = [0, 1, 7, 8, 60, 300, 3000];
    vec![index; LENGTHS[usize::from(index) % LENGTHS.len()]]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![8 => any::<u16>(), 1 => Just(u16::MAX)].prop_map(Stamp)
}

fn write() -> impl Strategy<Value = Write> {
    (0..KEYS, option::weighted(0.75, any::<u8>())).prop_map(|(key, value)| Write { key, value })
}

fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        1 => Just(Span { start: None, end: None }),
        2 => (option::of(0..KEYS), option::of(0..KEYS)).prop_map(|(start, end)| Span { start, end }),
    ]
}

fn commit() -> impl Strategy<Value = Op> {
    (0..4_u8, vec(write(), 1..12)).prop_map(|(space, rows)| Op::Commit { space, rows })
}

fn bulk_load() -> impl Strategy<Value = Op> {
    (0..4_u8, btree_set(0..KEYS, 0..10), any::<u8>())
        .prop_map(|(space, keys, value)| Op::BulkLoad { space, keys, value })
}

fn restore() -> impl Strategy<Value = Op> {
    vec(vec((write(), any::<u8>()), 0..8), 1..4).prop_map(|layers| Op::Restore { layers })
}

fn check_window() -> impl Strategy<Value = Op> {
    let memory = prop_oneof![Just(1_usize), Just(300), Just(1 << 20)];
    (
        0..4_u8,
        stamp(),
        stamp(),
        span(),
        any::<bool>(),
        1..5_u8,
        memory,
    )
        .prop_map(
            |(space, after, until, range, latest, parts, memory_bytes)| Op::CheckWindow {
                space,
                after,
                until,
                range,
                latest,
                parts,
                memory_bytes,
            },
        )
}

fn transaction() -> impl Strategy<Value = Op> {
    (
        0..4_u8,
        any::<bool>(),
        vec(0..KEYS, 0..3),
        span(),
        vec(write(), 0..4),
        option::of(write()),
    )
        .prop_map(
            |(space, serializable, reads, range, writes, rival)| Op::Transaction {
                space,
                serializable,
                reads,
                range,
                writes,
                rival,
            },
        )
}

/// What moves data between memory, files and levels, and takes garbage away.
fn upkeep() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => Just(Op::Flush),
        3 => (0..4_u8).prop_map(|space| Op::Compact { space }),
        1 => any::<bool>().prop_map(|clean| Op::Reopen { clean }),
        3 => (0..4_u8, stamp()).prop_map(|(space, to)| Op::Raise { space, to }),
        3 => (0..4_u8, 1..20_u8).prop_map(|(space, max_keys)| Op::Sweep { space, max_keys }),
        2 => Just(Op::CollectAll),
        2 => stamp().prop_map(|at| Op::Hold { at }),
        2 => Just(Op::Release),
        3 => (1..5000_u64).prop_map(|nanos| Op::Tick { nanos }),
        1 => Just(Op::ClockBack),
    ]
}

/// Everything the engine does.
pub fn general() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => commit(),
        3 => transaction(),
        2 => bulk_load(),
        1 => restore(),
        1 => Just(Op::Create),
        1 => (0..4_u8).prop_map(|space| Op::Drop { space }),
        9 => upkeep(),
        8 => (0..4_u8, stamp()).prop_map(|(space, at)| Op::Check { space, at }),
        2 => check_window(),
    ]
}

/// What matters to the time-bounded iterator.
pub fn windows() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => commit(),
        3 => bulk_load(),
        1 => restore(),
        8 => upkeep(),
        10 => check_window(),
    ]
}

/// Settings that lay the same data out differently.
pub fn option_sets() -> impl Strategy<Value = Options> {
    let codec = prop_oneof![
        Just(Compression::None),
        Just(Compression::Lz4),
        Just(Compression::Zstd)
    ];
    let blocks = prop_oneof![Just(512_usize), Just(4096)];
    let blooms = prop_oneof![Just(0_u32), Just(10)];
    let pooled = prop_oneof![Just(0_usize), Just(1), Just(32)];
    (codec, blocks, blooms, pooled, any::<bool>(), any::<bool>()).prop_map(
        |(
            compression,
            block_bytes,
            bloom_bits_per_key,
            pooled_iterators,
            auto_compactions,
            tiny,
        )| Options {
            compression,
            block_bytes,
            bloom_bits_per_key,
            pooled_iterators,
            auto_compactions,
            write_buffer_bytes: if tiny { 64 << 10 } else { 1 << 20 },
            ..small()
        },
    )
}
