//! A process that commits, backs up, restores and collects while it is killed.
//!
//! The [child] works on a database and a `file://` collection, and says on standard output what
//! was acknowledged to it. The [parent](Harness) kills it at a random time with SIGKILL, opens the
//! database itself, and holds it against what was said. What each writer of the child writes is a
//! function of its number, so the parent needs no copy of the data to know the state after
//! any commit.
//!
//! Held to, after each kill: I1, I2, I3 and I9 of `docs/correctness.md`.

pub mod child;
mod parent;
mod script;

pub use parent::{Harness, Summary};
