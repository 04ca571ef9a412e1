//! Everything that can go wrong with a collection, in one enum.
//!
//! Each text is one lower-case line that says what happened, to what, and what to do. None of them holds a
//! credential: locations are redacted, and what a store answered is cleaned of known secrets first.

use std::path::PathBuf;

use icecore_mvcc::Timestamp;

use crate::hash::ContentHash;
use crate::ids::KeyId;
use crate::layer::{LayerHolder, in_brackets};
use crate::locality::Locality;
use crate::path::{FullPath, LayerPath};

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a collection failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no collection URI.
    #[error("'{uri}' is not a collection URI: {reason}")]
    InvalidUri {
        /// The text without its parameters.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A parameter that this kind of store does not have.
    #[error("unknown parameter '{name}' in '{uri}'; {known}")]
    UnknownUriParameter {
        /// The text without its parameters.
        uri: String,
        /// The parameter's name.
        name: String,
        /// Which parameters there are.
        known: String,
    },

    /// Tags that do not make a locality.
    #[error("'{text}' is not a locality: {reason}; write tags such as region=us,zone=a")]
    InvalidLocality {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },

    /// URIs that do not make one collection together.
    #[error("these URIs do not make one collection: {reason}")]
    InvalidPlaces {
        /// What is wrong, and the way out.
        reason: String,
    },

    /// A place that is not that of the collection's locality.
    #[error(
        "{location} is not the place of locality {locality} of this collection: {reason}; \
         give the URI that was used when the collection was written, or a place where nothing is"
    )]
    ForeignLocality {
        /// The place, redacted.
        location: String,
        /// What it was to serve.
        locality: Locality,
        /// What is there.
        reason: String,
    },

    /// Files lie in a place that was not given.
    #[error(
        "files of backup '{layer}' lie in the place of locality {locality}, which was not given; \
         add its URI with COCKROACH_LOCALITY={locality}, percent-encoded"
    )]
    MissingLocality {
        /// The locality.
        locality: Locality,
        /// The layer.
        layer: LayerPath,
    },

    /// A setting out of its range.
    #[error("invalid store options: {reason}")]
    InvalidOptions {
        /// Which setting, its value, and what it may be.
        reason: String,
    },

    /// The text cannot name a backup.
    #[error(
        "'{text}' cannot name a backup: {reason}; \
         use LATEST, a path as 'show backups' prints it, or a new one of letters, digits, '.', '-' and '/'"
    )]
    InvalidSubdirectory {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A local file could not be used.
    #[error("could not {action} {}: {reason}; mend that, then run again", path.display())]
    LocalFile {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },

    /// The staging folder could not be used.
    #[error("cannot {action} {}: {reason}; check the disk of the database folder", path.display())]
    Staging {
        /// What was tried.
        action: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },

    /// A thread of a backup or restore panicked.
    #[error(
        "a thread stopped: {cause}; this is a fault of icecore: report it, look with `show backups` or `keyspace list` what was finished, and run again what was not"
    )]
    Stopped {
        /// What it died of.
        cause: String,
    },

    /// The store did not answer, or kept failing, through all retries.
    #[error(
        "could not {action} {path} in {location}, tried {attempts} times: {reason}; \
         check that the store can be reached, then run again"
    )]
    StoreUnavailable {
        /// What was tried.
        action: &'static str,
        /// The object or prefix.
        path: String,
        /// The collection, redacted.
        location: String,
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt met.
        reason: String,
    },

    /// The store refused the credentials, or what they allow.
    #[error(
        "not allowed to {action} {path} in {location}: {reason}; \
         check the credentials and what they allow"
    )]
    AccessDenied {
        /// What was tried.
        action: &'static str,
        /// The object or prefix.
        path: String,
        /// The collection, redacted.
        location: String,
        /// What the store said.
        reason: String,
    },

    /// The store failed in a way that trying again does not mend.
    #[error("could not {action} {path} in {location}: {reason}; mend that, then run again")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The object or prefix.
        path: String,
        /// The collection, redacted.
        location: String,
        /// What the store said.
        reason: String,
    },

    /// There is no collection there.
    #[error("no collection at {location}; check the URI, or take a first backup into it")]
    NoCollection {
        /// The collection, redacted.
        location: String,
    },

    /// Files of a backup lie where a new collection was to be made.
    #[error(
        "{path} in {location} is part of a backup, and no marker says of which collection; bring metadata/COLLECTION back from a \
         copy if it was lost, or choose a place outside of other collections"
    )]
    NotVacant {
        /// The first object that is one.
        path: String,
        /// The place, redacted.
        location: String,
    },

    /// The collection marker cannot be read.
    #[error("{path} in {location} is damaged: {reason}; restore that object from a copy")]
    DamagedMarker {
        /// The object.
        path: String,
        /// The collection, redacted.
        location: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A sealed collection, opened without keys.
    #[error("{location} is sealed; give a key that opens it: --passphrase-file FILE or --kms URI")]
    KeysNeeded {
        /// The collection, redacted.
        location: String,
    },

    /// Keys for a collection that is not sealed.
    #[error(
        "{location} is not sealed, but keys were given: nothing in it is encrypted, and what is not sealed \
         when it is made never is; leave the keys out, or back up into a new collection"
    )]
    NotSealed {
        /// The collection, redacted.
        location: String,
    },

    /// No wrapper of the collection is for keys of that kind.
    #[error(
        "{location} has no wrapper for a {given}; there are: {there}; \
         give a key of that kind, or bring missing objects of metadata/keys back from a copy"
    )]
    NoKeyWrapper {
        /// The collection, redacted.
        location: String,
        /// The kinds of the keys that were given.
        given: String,
        /// The kinds of the wrappers that there are.
        there: String,
    },

    /// There are wrappers of the kind, and none opens.
    #[error(
        "none of the keys given opens {location}: wrong passphrase or key; \
         check which one it is, `collection keys list` shows what it was made with"
    )]
    WrongKey {
        /// The collection, redacted.
        location: String,
    },

    /// Keys are asked for of a collection that has none.
    #[error(
        "{location} is not sealed, so no key opens it; back up into a new collection to seal it"
    )]
    Unsealed {
        /// The collection, redacted.
        location: String,
    },

    /// No key by that id.
    #[error("no key {id} opens {location}; `collection keys list` shows those that do")]
    NoSuchKey {
        /// The id.
        id: KeyId,
        /// The collection, redacted.
        location: String,
    },

    /// The key must not go: no other that was given opens the collection.
    #[error(
        "key {id} stays: none of the keys given opens {location} without it; \
         add another key first, and give that one"
    )]
    LastKey {
        /// The key.
        id: KeyId,
        /// The collection, redacted.
        location: String,
    },

    /// No further key may be added.
    #[error("{location} has {most} keys, the most that there may be; remove one first")]
    TooManyKeys {
        /// The collection, redacted.
        location: String,
        /// How many there may be.
        most: usize,
    },

    /// What was given for a key cannot be one.
    #[error("{key} is no key to use: {reason}; give another one")]
    InvalidKey {
        /// Where it is, never what it is.
        key: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A key-management service did not do what was asked.
    #[error(
        "could not {action} with {key}: {reason}; check the key, its policy and the credentials, then run again"
    )]
    KeyService {
        /// What was asked.
        action: &'static str,
        /// The key's URI, without credentials.
        key: String,
        /// What it answered.
        reason: String,
    },

    /// A sealed object that does not open.
    #[error(
        "{path} is not what was sealed there: {reason}; restore it from a copy, and find out who changed it"
    )]
    Tampered {
        /// The object.
        path: String,
        /// What was found.
        reason: String,
    },

    /// A layer that does not continue the one before it.
    #[error(
        "backup '{layer}' does not continue the layer before it: its parent is {parent}, \
         the layer before it is {before}; restore the missing or changed manifest from a copy"
    )]
    BrokenChain {
        /// The layer.
        layer: LayerPath,
        /// The manifest that it continues, or `none`.
        parent: String,
        /// The manifest of the layer before it, or `none`.
        before: String,
    },

    /// A later version of Icecore wrote it.
    #[error(
        "{path} has format version {found}, this version of icecore reads up to {supported}; \
         use a newer icecore"
    )]
    NewerFormat {
        /// The object.
        path: String,
        /// Its version.
        found: u64,
        /// The newest version that this code reads.
        supported: u64,
    },

    /// `LATEST` in a collection without backups.
    #[error("no backups in {location}; take a full backup first")]
    NoBackups {
        /// The collection, redacted.
        location: String,
    },

    /// No full backup by that name.
    #[error("no backup '{full}' in {location}; 'show backups' lists those there are")]
    NoSuchBackup {
        /// The name.
        full: FullPath,
        /// The collection, redacted.
        location: String,
    },

    /// A full backup lies there already.
    #[error(
        "a backup already lies at '{layer}' in {location}{}; choose another subdirectory",
        in_brackets(.holder)
    )]
    LayerExists {
        /// Its path.
        layer: LayerPath,
        /// The collection, redacted.
        location: String,
        /// Who wrote it, where that is known.
        holder: Option<Box<LayerHolder>>,
    },

    /// An explicit subdirectory within or around another backup.
    #[error(
        "subdirectory '{wanted}' and the backup '{existing}' would lie inside each other; \
         choose another subdirectory"
    )]
    NestedSubdirectory {
        /// The subdirectory asked for.
        wanted: FullPath,
        /// The backup in its way.
        existing: FullPath,
    },

    /// Every name near the layer's end time is taken.
    #[error(
        "no free subdirectory in {location}: '{first}' and the {tries} hundredths of a second after it \
         are taken; run again"
    )]
    NoFreeSubdirectory {
        /// The first name tried.
        first: LayerPath,
        /// How many were tried.
        tries: u32,
        /// The collection, redacted.
        location: String,
    },

    /// An incremental that would cover nothing.
    #[error(
        "an incremental of '{full}' up to {end} would cover nothing: \
         the chain reaches {chain_end} already; choose a later time"
    )]
    EmptyWindow {
        /// The chain.
        full: FullPath,
        /// The end asked for.
        end: Timestamp,
        /// The end of the chain.
        chain_end: Timestamp,
    },

    /// Someone else appended to the chain first.
    #[error(
        "backup '{full}' was extended from {end} by '{holder}'{} meanwhile; \
         nothing of this layer is listed; run again to continue from there",
        in_brackets(.by)
    )]
    ChainExtended {
        /// The chain.
        full: FullPath,
        /// Where both layers begin.
        end: Timestamp,
        /// The layer that was first.
        holder: LayerPath,
        /// Who wrote it, where that is known.
        by: Option<Box<LayerHolder>>,
    },

    /// Retention took the chain.
    #[error(
        "backup '{full}' was expired by retention, so nothing can extend it or take its place; \
         nothing of this layer is listed; take a new full backup, under another name"
    )]
    ChainExpired {
        /// The chain.
        full: FullPath,
    },

    /// Retention took the run for dead, and cleaned up after it.
    #[error(
        "retention took the run that writes '{layer}' in {location} for dead and removed what it wrote; \
         nothing of this layer is listed; run again, under another name if you chose this one, \
         and give `collection expire` a --grace longer than a backup takes"
    )]
    RunRemoved {
        /// The layer.
        layer: LayerPath,
        /// The collection, redacted.
        location: String,
    },

    /// Retention is about to take a file of the pool that was to be used again.
    #[error(
        "retention is about to remove {path} in {location}, which this backup was to use again; \
         nothing of this layer is listed; run it again: it stores that file anew"
    )]
    FileExpired {
        /// The file.
        path: String,
        /// The collection, redacted.
        location: String,
    },

    /// An object that is written once holds something else.
    #[error(
        "{path} in {location} already holds other bytes; nothing was overwritten; \
         check what else writes to this collection"
    )]
    WriteConflict {
        /// The object.
        path: String,
        /// The collection, redacted.
        location: String,
    },

    /// What was written is not what the store holds.
    #[error(
        "wrote {expected} bytes to {path} in {location}, but the store holds {actual}; \
         the layer was not committed; run again"
    )]
    WriteLost {
        /// The object.
        path: String,
        /// The collection, redacted.
        location: String,
        /// Bytes written.
        expected: u64,
        /// Bytes there, or `none`.
        actual: String,
    },

    /// A layer's manifest is not there.
    #[error(
        "backup '{layer}' has no manifest: {path} is missing from {location}; restore it from a copy"
    )]
    ManifestMissing {
        /// The layer.
        layer: LayerPath,
        /// The object.
        path: String,
        /// The collection, redacted.
        location: String,
    },

    /// Not a frame of the kind expected.
    #[error(
        "{path} is not an icecore {kind}: it begins with {found}, expected {expected}; restore it from a copy"
    )]
    BadMagic {
        /// The object.
        path: String,
        /// What it should be.
        kind: &'static str,
        /// Its first bytes, in hex.
        found: String,
        /// What they should be, in hex.
        expected: String,
    },

    /// Shorter than it says.
    #[error("{path} is truncated: {actual} bytes of {expected}; restore it from a copy")]
    Truncated {
        /// The object.
        path: String,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        actual: u64,
    },

    /// Longer than it says.
    #[error(
        "{path} has bytes after its end: {actual} instead of {expected}; restore it from a copy"
    )]
    TrailingBytes {
        /// The object.
        path: String,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        actual: u64,
    },

    /// The framed payload fails its checksum.
    #[error(
        "{path} is damaged: CRC32 is {actual:08x}, expected {expected:08x}; restore it from a copy"
    )]
    FrameChecksum {
        /// The object.
        path: String,
        /// The checksum in the header.
        expected: u32,
        /// The checksum of the payload.
        actual: u32,
    },

    /// Larger than this code is willing to read.
    #[error(
        "{path} is larger than {limit_bytes} bytes, the most that is read of such an object; restore it from a copy"
    )]
    TooLarge {
        /// The object.
        path: String,
        /// The bound.
        limit_bytes: u64,
    },

    /// Well framed, but what it says cannot be.
    #[error("{path} is not a valid manifest: {reason}; restore it from a copy")]
    InvalidManifest {
        /// The object.
        path: String,
        /// What is wrong.
        reason: String,
    },

    /// Not the object that the index or the parent names.
    #[error("{path} is not the object that was committed: BLAKE3 is {actual}, expected {expected}")]
    HashMismatch {
        /// The object.
        path: String,
        /// The hash on record.
        expected: ContentHash,
        /// The hash of what is there.
        actual: ContentHash,
    },

    /// A file that a manifest names is not there.
    #[error("{path} is missing from {location}, and a backup needs it; restore it from a copy")]
    MissingObject {
        /// The object.
        path: String,
        /// The collection, redacted.
        location: String,
    },

    /// A file is not what its manifest says.
    #[error(
        "{path} in {location} is corrupt: {check} is {actual}, expected {expected}; restore it from a copy"
    )]
    CorruptFile {
        /// The object.
        path: String,
        /// The collection, redacted.
        location: String,
        /// Which property differs: `size`, `CRC32` or `BLAKE3`.
        check: &'static str,
        /// What the manifest says.
        expected: String,
        /// What the file has.
        actual: String,
    },

    /// The chain holds nothing.
    #[error(
        "the chain has no full backup, so no time can be restored from it; choose another backup"
    )]
    EmptyChain,

    /// The time lies outside what the layers cover.
    #[error(
        "{target} is outside the backup, which covers {from} to {until}; choose a time in between"
    )]
    OutsideCoverage {
        /// The time asked for.
        target: Timestamp,
        /// The earliest time that can be restored.
        from: Timestamp,
        /// The latest.
        until: Timestamp,
    },

    /// A layer between is missing.
    #[error(
        "the chain has a gap: no layer covers {after} to {before}, which {target} needs; \
         restore to {after} or earlier, or bring the missing layer back"
    )]
    ChainGap {
        /// The time asked for.
        target: Timestamp,
        /// The last time that the layers before the gap reach.
        after: Timestamp,
        /// Where the layers go on.
        before: Timestamp,
    },

    /// Inside a layer that keeps only its end state.
    #[error(
        "{target} lies inside a layer without revision history; \
         the nearest times to restore are {before} and {after}"
    )]
    NotInHistory {
        /// The time asked for.
        target: Timestamp,
        /// The nearest restorable time before.
        before: Timestamp,
        /// The nearest restorable time after.
        after: Timestamp,
    },
}

impl Error {
    /// Whether the same call may well succeed later, with nothing changed but the store's mood.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::StoreUnavailable { .. })
    }
}

#[cfg(test)]
mod tests;
