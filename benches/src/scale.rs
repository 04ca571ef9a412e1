//! How much data, how many operations, how many rounds.

/// The size of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// Its name, as printed.
    pub name: &'static str,
    /// Counted rounds of each figure; one more is thrown away.
    pub rounds: usize,
    /// Keys of the data set that points, scans and compactions read.
    pub keys: usize,
    /// Bytes of each of its values.
    pub value_bytes: usize,
    /// Rows put in a round of a buffered figure, singly and in batches.
    pub rows_per_round: usize,
    /// Commits in a round of a synced figure.
    pub synced_commits_per_round: usize,
    /// Point reads in a round.
    pub reads_per_round: usize,
    /// Keys of the data set of the time-bounded iterator.
    pub window_keys: usize,
    /// Bytes of each of its values.
    pub window_value_bytes: usize,
    /// Counted rounds of each figure of backups and restores, which take seconds each.
    pub backup_rounds: usize,
    /// Keys of the data set that backups are taken of.
    pub backup_keys: usize,
    /// Bytes of each of its values.
    pub backup_value_bytes: usize,
    /// Keys of the data set whose backup's and restore's memory is measured.
    pub memory_keys: usize,
    /// Layers of the collection that is listed.
    pub listed_layers: usize,
}

impl Scale {
    /// What the bars are stated for: 1 M keys of 16 bytes with values of 200; 4 M keys with values of
    /// 300 bytes (1.3 GB) for the time-bounded iterator; 3 M keys with values of 400 (1.2 GB) for backups
    /// and restores, 10 M (4.2 GB) for their memory.
    #[must_use]
    pub const fn full() -> Self {
        Self {
            name: "full",
            rounds: 9,
            keys: 1_000_000,
            value_bytes: 200,
            rows_per_round: 100_000,
            synced_commits_per_round: 500,
            reads_per_round: 200_000,
            window_keys: 4_000_000,
            window_value_bytes: 300,
            backup_rounds: 5,
            backup_keys: 3_000_000,
            backup_value_bytes: 400,
            memory_keys: 10_000_000,
            listed_layers: 1_000,
        }
    }

    /// A smoke run of every figure in about a minute. Its ratios mean little: the data set of the
    /// time-bounded iterator fits in the block cache, and a 0.1 % window of it is 200 keys.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            name: "small",
            rounds: 5,
            keys: 100_000,
            rows_per_round: 20_000,
            synced_commits_per_round: 50,
            reads_per_round: 50_000,
            window_keys: 200_000,
            backup_rounds: 2,
            backup_keys: 100_000,
            memory_keys: 200_000,
            listed_layers: 50,
            ..Self::full()
        }
    }
}
