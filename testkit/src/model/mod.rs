//! Sequences of operations, run against an engine and the reference model at once.
//!
//! A [`Sequence`] writes, deletes, collects, backs up, loses and restores; after each operation every
//! kind of read is compared with what `icecore_mvcc::model` says, at times drawn from all that can be
//! read. Whether an operation may be refused, what a layer must hold and how far back a restored
//! keyspace is true is worked out by [rules of its own](self), not by the code under test. What the
//! model knows is never collected, so reads down to the threshold are compared with the whole truth.
//!
//! ```
//! use std::rc::Rc;
//!
//! use icecore_testkit::model::{Op, Sequence, Setup, Write, run};
//!
//! # fn main() -> icecore_testkit::Result<()> {
//! let put = Write { keyspace: 0, key: 5, value: Some(1) };
//! let delete = Write { value: None, ..put };
//! let sequence = Sequence {
//!     setup: Setup { auto_compactions: false, bloom: true, files: false },
//!     ops: vec![
//!         Op::Write { writes: vec![put], sync: true },
//!         Op::Full { collection: false, scope: 0, history: false, age: 0 },
//!         Op::Write { writes: vec![delete], sync: true },
//!         Op::Incremental { chain: 0, history: true, age: 0, reexport: false },
//!         Op::Check,
//!     ],
//! };
//! let runtime = Rc::new(icecore_testkit::scratch::runtime()?);
//! run(&sequence, &runtime, None)
//! # }
//! ```

mod backups;
mod bugs;
mod chains;
mod check;
mod collect;
mod data;
mod in_place;
mod known;
mod ops;
mod pool;
mod restores;
mod strategy;
mod tend;
mod world;

pub use bugs::Bug;
pub use ops::{Op, Point, Restore, Sequence, Setup, To, Transact, Write};
pub use strategy::sequences;
pub use world::run;
