//! Every error text, pinned by `tests/golden/errors.txt`.

use std::path::Path;

use icecore_golden::{error_names, errors};
use icecore_mvcc::Timestamp;

use super::Error;
use crate::{ContentHash, FullPath, KeyId, LayerHolder, LayerPath, RunId};

error_names!(Error:
    InvalidUri, UnknownUriParameter, InvalidLocality, InvalidPlaces, ForeignLocality, MissingLocality, InvalidOptions, InvalidSubdirectory,
    LocalFile, Staging, Stopped, StoreUnavailable, AccessDenied, Store, NoCollection, NotVacant, DamagedMarker,
    NewerFormat, NoBackups, NoSuchBackup, LayerExists, NestedSubdirectory, NoFreeSubdirectory,
    EmptyWindow, ChainExtended, ChainExpired, RunRemoved, FileExpired, WriteConflict, WriteLost, ManifestMissing, BadMagic, Truncated,
    TrailingBytes, FrameChecksum, TooLarge, InvalidManifest, HashMismatch, MissingObject,
    KeysNeeded, NotSealed, NoKeyWrapper, WrongKey, Unsealed, NoSuchKey, LastKey, TooManyKeys, InvalidKey, KeyService, Tampered, BrokenChain,
    CorruptFile, EmptyChain, OutsideCoverage, ChainGap, NotInHistory,
);

/// One of each kind.
fn all() -> Vec<Error> {
    let text = str::to_owned;
    let location = || text("s3://bucket/prefix");
    let full: FullPath = "2022/02/09-155340.13".parse().unwrap();
    let layer = LayerPath::full_at(full.clone());
    let incremental =
        LayerPath::incremental_at(full.clone(), "20220210/155530.50".parse().unwrap());
    let manifest = || format!("{full}/BACKUP_MANIFEST");
    let file = || format!("{full}/data/00000000000000000000000000000000.sst");
    let locality = || "region=us".parse().unwrap();
    let time =
        |seconds: u64| Timestamp::from_nanos(1_644_422_020_000_000_000 + seconds * 1_000_000_000);
    vec![
        Error::InvalidUri {
            uri: text("ftp://b"),
            reason: text("unknown scheme 'ftp'; known are file, memory, s3, azure and gs"),
        },
        Error::UnknownUriParameter {
            uri: text("file:///a"),
            name: text("x"),
            known: text("file takes none"),
        },
        Error::InvalidLocality {
            text: text("us"),
            reason: text("\"us\" has no '='"),
        },
        Error::InvalidPlaces {
            reason: text("both 's3://a' and 's3://b' are the default"),
        },
        Error::ForeignLocality {
            location: text("s3://b"),
            locality: locality(),
            reason: text("a collection lies there"),
        },
        Error::MissingLocality {
            locality: locality(),
            layer: layer.clone(),
        },
        Error::InvalidOptions {
            reason: text("request_timeout must not be zero"),
        },
        "a_b".parse::<FullPath>().unwrap_err(),
        Error::LocalFile {
            action: "read",
            path: "/x/y.sst".into(),
            reason: text("No such file or directory (os error 2)"),
        },
        Error::Staging {
            action: "create a folder in",
            path: "/db/staging".into(),
            reason: text("No space left on device (os error 28)"),
        },
        Error::Stopped {
            cause: text("task 7 panicked"),
        },
        Error::StoreUnavailable {
            action: "write",
            path: manifest(),
            location: location(),
            attempts: 6,
            reason: text("connection refused"),
        },
        Error::AccessDenied {
            action: "list",
            path: text("metadata/latest"),
            location: location(),
            reason: text("InvalidAccessKeyId"),
        },
        Error::Store {
            action: "read",
            path: manifest(),
            location: location(),
            reason: text("No space left on device (os error 28)"),
        },
        Error::NotVacant {
            path: manifest(),
            location: location(),
        },
        Error::NoCollection {
            location: location(),
        },
        Error::DamagedMarker {
            path: text("metadata/COLLECTION"),
            location: location(),
            reason: text("missing field `collection_id`"),
        },
        Error::KeysNeeded {
            location: location(),
        },
        Error::NotSealed {
            location: location(),
        },
        Error::NoKeyWrapper {
            location: location(),
            given: text("key"),
            there: text("passphrase"),
        },
        Error::WrongKey {
            location: location(),
        },
        Error::Unsealed {
            location: location(),
        },
        Error::NoSuchKey {
            id: KeyId::from_bytes([7; 16]),
            location: location(),
        },
        Error::LastKey {
            id: KeyId::from_bytes([7; 16]),
            location: location(),
        },
        Error::TooManyKeys {
            location: location(),
            most: 64,
        },
        Error::InvalidKey {
            key: text("file:/etc/key"),
            reason: text("a key is 32 bytes, or 64 hex digits"),
        },
        Error::KeyService {
            action: "decrypt",
            key: text("aws-kms:///alias/backup?region=eu-west-1"),
            reason: text("400 DisabledException alias/backup is disabled."),
        },
        Error::Tampered {
            path: manifest(),
            reason: text("it goes on after its end"),
        },
        Error::BrokenChain {
            layer: incremental.clone(),
            parent: ContentHash::of(b"parent").to_string(),
            before: ContentHash::of(b"another").to_string(),
        },
        Error::NewerFormat {
            path: manifest(),
            found: 2,
            supported: 1,
        },
        Error::NoBackups {
            location: location(),
        },
        Error::NoSuchBackup {
            full: full.clone(),
            location: location(),
        },
        Error::LayerExists {
            layer: layer.clone(),
            location: location(),
            holder: None,
        },
        Error::NestedSubdirectory {
            wanted: "weekly".parse().unwrap(),
            existing: "weekly/one".parse().unwrap(),
        },
        Error::NoFreeSubdirectory {
            first: layer.clone(),
            tries: 99,
            location: location(),
        },
        Error::EmptyWindow {
            full: full.clone(),
            end: time(0),
            chain_end: time(10),
        },
        Error::ChainExtended {
            full: full.clone(),
            end: time(0),
            holder: incremental,
            by: Some(Box::new(LayerHolder {
                run: RunId::from_bytes([0x22; 16]),
                claimed: time(5),
                host: Some(text("web1")),
                pid: Some(4711),
                job: Some(text("33333333-3333-3333-3333-333333333333")),
            })),
        },
        Error::ChainExpired { full: full.clone() },
        Error::RunRemoved {
            layer: layer.clone(),
            location: location(),
        },
        Error::FileExpired {
            path: text("data/11111111-1111-1111-1111-111111111111.sst"),
            location: location(),
        },
        Error::WriteConflict {
            path: text("metadata/COLLECTION"),
            location: location(),
        },
        Error::WriteLost {
            path: file(),
            location: location(),
            expected: 100,
            actual: text("none"),
        },
        Error::ManifestMissing {
            layer,
            path: manifest(),
            location: location(),
        },
        Error::BadMagic {
            path: manifest(),
            kind: "manifest",
            found: text("3c457272"),
            expected: text("4943454d"),
        },
        Error::Truncated {
            path: manifest(),
            expected: 100,
            actual: 99,
        },
        Error::TrailingBytes {
            path: manifest(),
            expected: 100,
            actual: 101,
        },
        Error::FrameChecksum {
            path: manifest(),
            expected: 0xcbf4_3926,
            actual: 0x00ab,
        },
        Error::TooLarge {
            path: manifest(),
            limit_bytes: 64 << 20,
        },
        Error::InvalidManifest {
            path: manifest(),
            reason: text("its JSON does not read: EOF while parsing a value at line 1 column 0"),
        },
        Error::HashMismatch {
            path: manifest(),
            expected: ContentHash::of(b"a"),
            actual: ContentHash::of(b"b"),
        },
        Error::MissingObject {
            path: file(),
            location: location(),
        },
        Error::CorruptFile {
            path: file(),
            location: location(),
            check: "CRC32",
            expected: text("cbf43926"),
            actual: text("000000ab"),
        },
        Error::EmptyChain,
        Error::OutsideCoverage {
            target: time(99),
            from: time(0),
            until: time(10),
        },
        Error::ChainGap {
            target: time(30),
            after: time(10),
            before: time(20),
        },
        Error::NotInHistory {
            target: time(15),
            before: time(10),
            after: time(20),
        },
    ]
}

#[test]
fn every_text() {
    let rows: Vec<_> = all().iter().map(|e| (name(e), e.to_string())).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/errors.txt");
    errors::check(&file, NAMES, &rows);
}
