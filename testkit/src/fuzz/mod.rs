//! What the fuzz targets check: each a function from a fuzzer's bytes to a verdict.
//!
//! | target | in | must hold |
//! |---|---|---|
//! | [`key_codec`] | two stored keys, and any bytes as one | round trip; order; what decodes encodes to itself |
//! | [`manifest`] | an object, JSON, changes to a manifest | an error, or a manifest that is written and read as it is |
//! | [`chain_plan`] | any list of layers | the shortest path without a gap, and only if there is one |
//! | [`uri`] | any text, and a URI with secrets | round trip; no secret in any text |
//! | [`names`] | any text | round trip of keyspaces, patterns, paths and markers |
//! | [`texts`] | any text, any bytes | round trip of times, durations, keys and tags |
//! | [`sealed`] | objects and wrappers, genuine and changed | an object opens to what was sealed or not at all; no key but the right one, at a bounded cost |
//! | `restore_plan` | manifests that a chain may have | all that is needed, nothing after the target |
//! | `engine_ops` | operations | an engine and its backups do as the [model](crate::model) says |
//!
//! The last two need RocksDB, so they are there with the feature `engine`.
//!
//! The programs in `fuzz/fuzz_targets/` hand these functions to libFuzzer. `tests/fuzz.rs` runs them in any
//! `cargo test`, on the seeds of `fuzz/seeds/` and on [inputs made of them](Inputs), and shows for each
//! [`Bug`] that it is caught.

mod bug;
pub mod chain_plan;
#[cfg(feature = "engine")]
pub mod engine_ops;
mod inputs;
mod json_edits;
pub mod key_codec;
pub mod manifest;
pub mod names;
#[cfg(feature = "engine")]
pub mod restore_plan;
pub mod sealed;
pub mod texts;
pub mod uri;

pub use bug::Bug;
pub use inputs::Inputs;

use crate::failure::{Result, ensure};

/// What a target does with an input. A planted bug makes the subject do something wrong.
pub type Check = fn(&[u8], Option<Bug>) -> Result<()>;

/// A target and its name, which its program and its folders of inputs have too.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// What it does.
    pub check: Check,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "key_codec",
        check: key_codec::check,
    },
    Target {
        name: "manifest",
        check: manifest::check,
    },
    Target {
        name: "chain_plan",
        check: chain_plan::check,
    },
    Target {
        name: "uri",
        check: uri::check,
    },
    Target {
        name: "names",
        check: names::check,
    },
    Target {
        name: "texts",
        check: texts::check,
    },
    Target {
        name: "sealed",
        check: sealed::check,
    },
    #[cfg(feature = "engine")]
    Target {
        name: "restore_plan",
        check: restore_plan::check,
    },
    #[cfg(feature = "engine")]
    Target {
        name: "engine_ops",
        check: engine_ops::check,
    },
];

/// What is displayed must be read back as the same.
fn reads_back<T, E>(what: &str, value: &T) -> Result<()>
where
    T: std::fmt::Display + std::fmt::Debug + std::str::FromStr<Err = E> + PartialEq,
    E: std::fmt::Debug,
{
    let text = value.to_string();
    let read = text.parse::<T>();
    ensure!(
        read.as_ref().is_ok_and(|read| read == value),
        "{what} {value:?} displays as {text:?}, which reads as {read:?}"
    );
    Ok(())
}
