//! The data model of Icecore, free of I/O: no RocksDB, no async, no files.
//!
//! A keyspace maps user keys to versions; a version is a value or a tombstone, written once at a
//! [`Timestamp`] and never rewritten. This crate says how that is spelled in bytes and in text, which
//! versions garbage collection may drop, and, as a [reference model](model), what every read must answer.
//!
//! | concept | where |
//! |---|---|
//! | points in time and where they come from | [`Timestamp`], [`Clock`], [`parse_timestamp`], [`parse_duration`] |
//! | stored keys: escaped user key, terminator, inverted timestamp | [`key`] |
//! | stored values: tag byte, then the bytes | [`value`] |
//! | spans of user keys | [`KeyRange`] |
//! | what may be dropped at a threshold | [`retention`] |
//! | what reads must answer | [`model`] |
//! | keyspaces: ids, names, patterns, settings, descriptors | [`KeyspaceId`], [`KeyspaceName`], [`NamePattern`], [`KeyspaceSettings`], [`Descriptor`] |
//! | which rows a state has, in 32 bytes | [`Fingerprint`] |
//! | keys as text for people and JSON | [`text`] |
//!
//! Every failure is an [`Error`]: its text says what is wrong, with what, and what to do.
//!
//! ```
//! use icecore_mvcc::{Timestamp, key};
//!
//! let old = key::encode_key(b"flight/1", Timestamp::from_nanos(10));
//! let new = key::encode_key(b"flight/1", Timestamp::from_nanos(20));
//! let next = key::encode_key(b"flight/2", Timestamp::from_nanos(5));
//! assert!(new < old && old < next, "keys ascend, versions of one key run newest first");
//! assert_eq!(key::decode_key(&new)?, (b"flight/1".to_vec(), Timestamp::from_nanos(20)));
//! # Ok::<(), icecore_mvcc::Error>(())
//! ```

#![forbid(unsafe_code)]

mod clock;
mod descriptor;
mod duration;
mod engine_id;
mod error;
mod fingerprint;
pub mod key;
pub mod model;
mod name;
mod range;
pub mod retention;
pub mod text;
mod timestamp;
mod timestamp_text;
pub mod value;
mod version;

pub use clock::{Clock, ManualClock, SystemClock};
pub use descriptor::{DEFAULT_GC_TTL, Descriptor, KeyspaceId, KeyspaceSettings, parse_locality};
pub use duration::{duration_text, format_duration, parse_duration};
pub use engine_id::EngineId;
pub use error::{Error, Result};
pub use fingerprint::{Fingerprint, Fingerprinter, ParseFingerprintError};
pub use name::{KeyspaceName, MAX_NAME_BYTES, NamePattern};
pub use range::KeyRange;
pub use timestamp::Timestamp;
pub use timestamp_text::parse_timestamp;
pub use value::Value;
pub use version::Version;
