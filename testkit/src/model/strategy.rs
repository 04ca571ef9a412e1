//! How proptest makes sequences.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::ops::{Op, Point, Restore, Sequence, Setup, To, Transact, Write};

/// Sequences of up to that many operations.
pub fn sequences(most_ops: usize) -> impl Strategy<Value = Sequence> {
    let setup = (any::<bool>(), any::<bool>(), any::<bool>());
    let setup = setup.prop_map(|(auto_compactions, bloom, files)| Setup {
        auto_compactions,
        bloom,
        files,
    });
    // One in four is mostly about chains: in the others few grow long enough to be merged.
    let ops = prop_oneof![
        3 => vec(op(), 1..=most_ops),
        1 => vec(op_on_chains(), 1..=most_ops),
    ];
    (setup, ops).prop_map(|(setup, ops)| Sequence { setup, ops })
}

fn op_on_chains() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => data(),
        2 => time(),
        1 => catalog(),
        9 => backups(),
        3 => tending(),
        3 => restore().prop_map(Op::Restore),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        18 => data(),
        5 => upkeep(),
        4 => time(),
        3 => catalog(),
        4 => protection(),
        7 => backups(),
        1 => tending(),
        3 => restore().prop_map(Op::Restore),
        2 => Just(Op::Check),
    ]
}

fn data() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (vec(write(), 1..6), any::<bool>())
            .prop_map(|(writes, sync)| Op::Write { writes, sync }),
        2 => transact().prop_map(Op::Transact),
        2 => (0..3_u8, any::<u16>(), any::<u8>())
            .prop_map(|(keyspace, keys, value)| Op::BulkLoad { keyspace, keys, value }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    // Most writes meet in few keys of few keyspaces.
    let key = prop_oneof![3 => 4..8_u8, 1 => any::<u8>()];
    (0..3_u8, key, option::weighted(0.65, any::<u8>())).prop_map(|(keyspace, key, value)| Write {
        keyspace,
        key,
        value,
    })
}

fn transact() -> impl Strategy<Value = Transact> {
    let flags = (
        0..3_u8,
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.8),
    );
    let keys = (vec(0..8_u8, 0..3), vec(write(), 0..4), vec(write(), 0..3));
    (flags, keys).prop_map(
        |((keyspace, serializable, scans, commits), (reads, writes, rival))| Transact {
            keyspace,
            serializable,
            reads,
            scans,
            writes,
            rival,
            commits,
        },
    )
}

fn upkeep() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Flush),
        2 => (0..3_u8).prop_map(|keyspace| Op::Compact { keyspace }),
        2 => any::<bool>().prop_map(|crash| Op::Reopen { crash }),
        5 => (any::<bool>(), prop::bool::weighted(0.3))
            .prop_map(|(at_once, compact)| Op::Collect { at_once, compact }),
    ]
}

fn time() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any::<u8>().prop_map(|step| Op::Advance { step }),
        1 => any::<u8>().prop_map(|step| Op::SetBack { step }),
    ]
}

fn catalog() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..5_u8).prop_map(|name| Op::Create { name }),
        2 => (0..3_u8).prop_map(|keyspace| Op::Drop { keyspace }),
        3 => (0..3_u8, any::<u8>(), prop::bool::weighted(0.25))
            .prop_map(|(keyspace, ttl, exclude)| Op::Alter { keyspace, ttl, exclude }),
    ]
}

fn protection() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (age(), any::<u8>()).prop_map(|(age, scope)| Op::Protect { age, scope }),
        2 => any::<u8>().prop_map(|record| Op::Release { record }),
        1 => age().prop_map(|age| Op::Hold { age }),
        1 => any::<u8>().prop_map(|reader| Op::LetGo { reader }),
    ]
}

fn backups() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (any::<bool>(), any::<u8>(), any::<bool>(), age()).prop_map(
            |(collection, scope, history, age)| Op::Full { collection, scope, history, age }
        ),
        5 => (chain(), any::<bool>(), age(), prop::bool::weighted(0.4)).prop_map(
            |(chain, history, age, reexport)| Op::Incremental { chain, history, age, reexport }
        ),
    ]
}

fn tending() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (chain(), 0..3_u8).prop_map(|(chain, keep_newest)| Op::Merge { chain, keep_newest }),
        1 => (any::<bool>(), 0..3_u8)
            .prop_map(|(collection, keep_fulls)| Op::Expire { collection, keep_fulls }),
    ]
}

fn restore() -> impl Strategy<Value = Restore> {
    let point = prop_oneof![
        2 => Just(Point::Latest),
        2 => any::<u8>().prop_map(Point::LayerEnd),
        3 => any::<u8>().prop_map(Point::Time),
    ];
    let to = prop_oneof![4 => Just(To::Elsewhere), 2 => Just(To::Beside), 2 => Just(To::Instead)];
    let interrupted = option::weighted(0.2, 0..24_u8);
    let flags = (
        prop::bool::weighted(0.2),
        any::<bool>(),
        prop_oneof![4 => Just(0_u8), 1 => any::<u8>()],
    );
    (chain(), point, to, interrupted, flags).prop_map(
        |(chain, point, to, interrupted, (without_history, compact, scope))| Restore {
            chain,
            point,
            scope,
            without_history,
            to,
            interrupted,
            compact,
        },
    )
}

fn chain() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0_u8), 1 => any::<u8>()]
}

fn age() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0_u8), 1 => 1..12_u8]
}
