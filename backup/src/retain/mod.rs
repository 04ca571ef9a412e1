//! Retention: which backups stay, and how the others go.
//!
//! 1. *Survey* the collection in one listing; read the manifests of what is listed.
//! 2. *Plan* ([`policy`], pure): which chains expire, by count and age; which layers retire, because a merged
//!    layer stands for them and no restorable time is lost.
//! 3. *Mark*: an expiring chain is closed, then marked; it is no longer listed. A layer is marked retired.
//! 4. *Delete* what was marked at least a grace ago: markers first, then manifests, then data. Restores
//!    that began before the mark have ended by then.
//! 5. *Clean up* after runs that died at least a grace ago.
//! 6. *The pool*: files of fast fulls that no layer names any more are marked, and deleted a grace later.
//!
//! A chain goes with all its incrementals or not at all. The newest restorable chain of each source (an
//! engine, and the keyspaces that its backups select) never goes.

mod delete;
mod junk;
mod options;
pub mod policy;
mod pool;
mod report;
mod run;
mod survey;

pub use options::ExpireOptions;
pub use policy::{Policy, Verdict};
pub use report::{ChainReport, ExpireReport, JunkReport, PoolReport, RefusedDelete, RetiredReport};
pub use run::expire;
