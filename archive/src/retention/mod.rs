//! What retention does to a collection: marks first, deletes later.
//!
//! Nothing here decides what goes; it makes going safe. Each step is an object that is put if absent, so
//! that it does not matter who is at work at the same time, or wakes late:
//!
//! | what goes | first | then, after a grace | a writer that wakes late |
//! |---|---|---|---|
//! | a chain | the slot at its end is *closed*, then the chain is marked *expired* and no longer listed | the full's marker, the other markers, manifests, data | finds its slot closed, or after it was put the mark: [`Error::ChainExpired`](crate::Error::ChainExpired) |
//! | a layer that a merged one stands for | it is marked *retired*: no longer part of the chain | its marker, its manifest, its data | its marker changes nothing: the mark stays, and so does the slot |
//! | what a dead run left | nothing | a *tombstone* at its manifest's place, then its files | finds the tombstone: [`Error::RunRemoved`](crate::Error::RunRemoved) |
//! | a file of the pool that no layer names | it is marked *unused* | the file, then the mark; not as long as a directory without a manifest is older than the mark | finds the mark, right before its manifest: [`Error::FileExpired`](crate::Error::FileExpired) |
//! | a layer whose writer died between its manifest and its marker | – | its markers are written for it | finds its own markers |
//!
//! The age of a mark or of junk is the store's date of the object, against the clock of
//! [`StoreOptions::clock`](crate::StoreOptions::clock). What stays for good of a chain is its expired mark
//! and the lock of its directory; of a dead run the tombstone and the lock.

mod adopt;
mod marks;
mod pool;
mod remove;
mod survey;

pub use remove::Refused;
pub use survey::{Directory, ObjectKind, StoredObject, Survey};
pub(crate) use survey::{foreign_roots, split};
