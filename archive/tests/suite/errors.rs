//! Every error text, pinned.

use icecore_archive::{
    Collection, CollectionUri, ContentHash, Error, FullPath, LayerPath, RetryOptions, StoreOptions,
};
use icecore_mvcc::Timestamp;

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
    let time =
        |seconds: u64| Timestamp::from_nanos(1_644_422_020_000_000_000 + seconds * 1_000_000_000);
    vec![
        Error::InvalidUri {
            uri: text("gs://b"),
            reason: text("unknown scheme 'gs'; known are file, memory and s3"),
        },
        Error::UnknownUriParameter {
            uri: text("file:///a"),
            name: text("x"),
            known: text("file takes none"),
        },
        Error::LocalityUnsupported {
            uri: text("s3://b"),
            name: text("COCKROACH_LOCALITY"),
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
        Error::NoCollection {
            location: location(),
        },
        Error::DamagedMarker {
            path: text("metadata/COLLECTION"),
            location: location(),
            reason: text("missing field `collection_id`"),
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
fn every_error_text() {
    let lines: String = all().iter().map(|error| format!("{error}\n")).collect();
    crate::common::check_golden("errors.txt", &lines);
}

#[test]
fn every_error_is_one_line_that_begins_in_lower_case_or_with_a_name() {
    for error in all() {
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
        assert!(
            !text.starts_with(|c: char| c.is_ascii_uppercase()),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_said_to_be_so() {
    // Needs no server: nothing listens on port 1.
    let retry = RetryOptions {
        max_attempts: std::num::NonZeroU32::new(2).unwrap(),
        ..crate::common::options().retry
    };
    for scheme in ["http", "https"] {
        let uri = format!(
            "s3://bucket/p?AWS_ACCESS_KEY_ID=CANARY1&AWS_SECRET_ACCESS_KEY=CANARY2&AWS_ENDPOINT={scheme}://127.0.0.1:1"
        );
        let uri: CollectionUri = uri.parse().unwrap();
        let options = StoreOptions {
            retry,
            ..StoreOptions::default()
        };
        let error = Collection::open(&uri, options).await.unwrap_err();
        assert!(
            matches!(error, Error::StoreUnavailable { attempts: 2, .. }),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("could not read metadata/COLLECTION in s3://bucket/p?"),
            "{error}"
        );
        assert!(
            !format!("{error} {error:?}").contains("CANARY"),
            "{error:?}"
        );
    }
}
