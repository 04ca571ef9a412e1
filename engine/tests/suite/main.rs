//! What the engine promises, topic by topic, through its public interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod bulk_load;
mod capture;
mod catalog;
mod checkpoint;
mod clock;
mod commit;
mod common;
mod feed;
mod feed_mirror;
mod folder;
mod gc;
mod handles;
mod properties;
mod read_only;
mod reads;
mod restore;
mod sst_files;
mod sst_reader;
mod transactions;
mod walk;
mod window;
mod world;
