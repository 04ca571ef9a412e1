//! The operations that a sequence is made of.
//!
//! Numbers in them are taken modulo what there is to choose from when the operation comes, so every
//! sequence means something and may be shortened anywhere. A fuzzer makes them of its bytes.

use arbitrary::Arbitrary;

/// An engine's settings and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Sequence {
    /// How the engines are opened.
    pub setup: Setup,
    /// What is done.
    pub ops: Vec<Op>,
}

/// How engines are opened, for a whole sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub struct Setup {
    /// Whether RocksDB compacts by itself. If so, a crash is a reopen.
    pub auto_compactions: bool,
    /// Whether files have bloom filters.
    pub bloom: bool,
    /// Whether the first collection lies in files rather than in memory.
    pub files: bool,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub enum Op {
    /// One commit.
    Write {
        /// What is written; a key written twice keeps the last.
        writes: Vec<Write>,
        /// Synced or buffered.
        sync: bool,
    },
    /// A transaction, with a commit of another in the middle.
    Transact(Transact),
    /// Many keys at one time, as an ingested file.
    BulkLoad {
        /// Which keyspace.
        keyspace: u8,
        /// Which keys of the pool, as bits.
        keys: u16,
        /// Which value.
        value: u8,
    },
    /// Memtables to files.
    Flush,
    /// All files of a keyspace rewritten.
    Compact {
        /// Which keyspace.
        keyspace: u8,
    },
    /// The wall clock goes on.
    Advance {
        /// Which of the steps, from a nanosecond to hours.
        step: u8,
    },
    /// The wall clock is set back.
    SetBack {
        /// Which of the steps.
        step: u8,
    },
    /// A round of garbage collection.
    Collect {
        /// With a TTL of zero instead of the keyspaces' own.
        at_once: bool,
        /// And rewrite all files.
        compact: bool,
    },
    /// New settings for a keyspace.
    Alter {
        /// Which keyspace.
        keyspace: u8,
        /// Which of the TTLs.
        ttl: u8,
        /// Left out of backups.
        exclude: bool,
    },
    /// A keyspace is created.
    Create {
        /// Which of the names.
        name: u8,
    },
    /// A keyspace is dropped.
    Drop {
        /// Which keyspace.
        keyspace: u8,
    },
    /// A time is protected.
    Protect {
        /// Which time; 0 is now.
        age: u8,
        /// For which keyspaces.
        scope: u8,
    },
    /// A protected timestamp is released, one of a backup's too.
    Release {
        /// Which.
        record: u8,
    },
    /// A snapshot is taken and kept.
    Hold {
        /// Of which time; 0 is now.
        age: u8,
    },
    /// A kept snapshot is given up.
    LetGo {
        /// Which.
        reader: u8,
    },
    /// The engine is closed and opened again.
    Reopen {
        /// What the operating system had is opened instead, as after a kill.
        crash: bool,
    },
    /// A full backup.
    Full {
        /// Into which collection.
        collection: bool,
        /// Of which keyspaces.
        scope: u8,
        /// With every version.
        history: bool,
        /// As of which time; 0 is now.
        age: u8,
    },
    /// An incremental.
    Incremental {
        /// Of which chain; 0 is the newest.
        chain: u8,
        /// With every version.
        history: bool,
        /// As of which time; 0 is now.
        age: u8,
        /// A keyspace of which history is gone is taken from zero.
        reexport: bool,
    },
    /// A restore.
    Restore(Restore),
    /// The incrementals of a chain are merged.
    Merge {
        /// Of which chain; 0 is the newest.
        chain: u8,
        /// How many of the newest incrementals are left.
        keep_newest: u8,
    },
    /// All but the newest fulls of each source are given up, at once.
    Expire {
        /// In which collection.
        collection: bool,
        /// How many stay, less one.
        keep_fulls: u8,
    },
    /// Every read at many times.
    Check,
}

/// A put or a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub struct Write {
    /// Of which keyspace.
    pub keyspace: u8,
    /// Which key of the pool.
    pub key: u8,
    /// Which value of the pool; none is a delete.
    pub value: Option<u8>,
}

/// A transaction and its rival.
#[derive(Debug, Clone, PartialEq, Eq, Arbitrary)]
pub struct Transact {
    /// In which keyspace.
    pub keyspace: u8,
    /// Serializable rather than snapshot isolation.
    pub serializable: bool,
    /// Keys that it reads.
    pub reads: Vec<u8>,
    /// Whether it scans the keys below the first that it reads.
    pub scans: bool,
    /// What it writes; the keyspaces in it do not count.
    pub writes: Vec<Write>,
    /// What another commits meanwhile.
    pub rival: Vec<Write>,
    /// Whether it commits.
    pub commits: bool,
}

/// A restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub struct Restore {
    /// Of which chain; 0 is the newest.
    pub chain: u8,
    /// To which point.
    pub point: Point,
    /// Of which keyspaces.
    pub scope: u8,
    /// Only the state at the point.
    pub without_history: bool,
    /// To where.
    pub to: To,
    /// The request at which it is first interrupted.
    pub interrupted: Option<u8>,
    /// What came back is rewritten before it is read.
    pub compact: bool,
}

/// The time to restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum Point {
    /// The chain's end.
    Latest,
    /// The end of a layer.
    LayerEnd(u8),
    /// Any time of interest, counted back from the chain's end.
    Time(u8),
}

/// Where a restore goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Arbitrary)]
pub enum To {
    /// Into a new engine, which is checked and given up.
    Elsewhere,
    /// Into the same engine, under new names.
    Beside,
    /// Into a new engine, with which the sequence goes on: the old one is lost.
    Instead,
}
