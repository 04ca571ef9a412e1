//! Stores that fail.
//!
//! [`Fuse`] fails at a chosen request, for good or once. [`Chaos`] does to requests what networks, servers
//! and disks do: at a chosen one, or at random. Both lie underneath the retries of a collection.

mod chaos;
mod fuse;
mod meddle;
mod mode;
mod swallow;

pub use chaos::{Chaos, Strike};
pub use fuse::{Fault, Fuse, hasty};
pub use meddle::{Dates, Meddler};
pub use mode::{Kind, Mode};
pub use swallow::swallowing;
