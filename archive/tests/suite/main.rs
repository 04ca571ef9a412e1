//! Collections on local stores, through the public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod common;
mod damage;
mod fault_store;
mod faults;
mod layers;
mod locality;
mod pool;
mod protocol;
mod recovery;
mod retention;
mod sealed;
mod vacant;
