//! What is damaged, missing, exchanged or newer is told apart and refused.

use std::path::Path as LocalPath;
use std::sync::atomic::Ordering;

use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{ObjectStoreExt, PutPayload};
use icecore_archive::{Collection, CollectionUri, Error, Result, StoreOptions};

use crate::common::{
    FULL_END, Files, INCREMENTAL_END, bare, full, hash_of, latest, memory_uri, objects, options,
    with_crc,
};
use crate::fault_store::{Fault, FaultStore};

/// A full of one 3,000-byte file, and its only file's path.
async fn one_file(uri: &CollectionUri, files: &Files) -> Path {
    let a = files.make("a", 3000);
    let collection = Collection::create_or_open(uri, options()).await.unwrap();
    let entry = full(&collection, FULL_END, &[&a]).await.unwrap();
    let id = *collection
        .stored_files(&entry.path)
        .await
        .unwrap()
        .keys()
        .next()
        .unwrap();
    Path::from(format!("{}/data/{id}.sst", entry.path))
}

/// Fetches the only file of the only full.
async fn fetch_one(uri: &CollectionUri, options: StoreOptions, to: &LocalPath) -> Result<()> {
    let collection = Collection::open(uri, options).await?;
    let entry = latest(&collection).await.layers()[0].clone();
    let manifest = collection.read_layer(&entry).await?;
    let (_, file) = manifest.files().next().unwrap();
    collection.fetch(&entry.path, file, to).await
}

#[tokio::test]
async fn a_read_that_is_cut_or_changed_on_the_way_is_repeated() {
    for fault in [Fault::Flipped, Fault::Short, Fault::Before, Fault::After] {
        let (uri, files) = (memory_uri(), Files::new());
        one_file(&uri, &files).await;
        let once = std::sync::atomic::AtomicBool::new(true);
        let (options, _) = FaultStore::options(move |_, path, _| {
            if path.ends_with(".sst") && once.swap(false, Ordering::SeqCst) {
                fault
            } else {
                Fault::None
            }
        });
        let to = files.path("to");
        fetch_one(&uri, options, &to).await.unwrap();
        assert_eq!(hash_of(&to), hash_of(&files.path("a")));
    }
}

#[tokio::test]
async fn a_corrupt_file_is_named_with_what_differs_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    for uri in [
        memory_uri(),
        CollectionUri::from_local_path(dir.path().join("c")).unwrap(),
    ] {
        let files = Files::new();
        let path = one_file(&uri, &files).await;
        let store = bare(&uri).await;
        let good = store
            .get(&path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .to_vec();
        let mut flipped = good.clone();
        flipped[1234] ^= 0x40;
        let longer = [good.as_slice(), b"x"].concat();
        let to = files.path("to");
        for (bad, expected_check) in [
            (flipped, "CRC32"),
            (longer, "size"),
            (good[..2999].to_vec(), "size"),
            (vec![], "size"),
        ] {
            store.put(&path, PutPayload::from(bad)).await.unwrap();
            let error = fetch_one(&uri, options(), &to).await.unwrap_err();
            let Error::CorruptFile {
                path: named,
                check,
                expected,
                actual,
                ..
            } = &error
            else {
                panic!("{error}")
            };
            assert_eq!((named.as_str(), *check), (path.as_ref(), expected_check));
            assert_ne!(expected, actual);
            assert!(!to.exists());
        }
        store.delete(&path).await.unwrap();
        let error = fetch_one(&uri, options(), &to).await.unwrap_err();
        assert!(
            matches!(&error, Error::MissingObject { path: named, .. } if *named == path.to_string()),
            "{error}"
        );
        store.put(&path, PutPayload::from(good)).await.unwrap();
        fetch_one(&uri, options(), &to).await.unwrap();
    }
}

#[tokio::test]
async fn manifests_that_are_missing_damaged_or_exchanged_are_told_apart() {
    let (uri, files) = (memory_uri(), Files::new());
    let a = files.make("a", 10);
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let one = full(&collection, FULL_END, &[&a]).await.unwrap();
    let two = full(&collection, INCREMENTAL_END, &[&a]).await.unwrap();
    let store = bare(&uri).await;
    let path = Path::from(format!("{}/BACKUP_MANIFEST", one.path));
    let good = store
        .get(&path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap()
        .to_vec();
    let other = store
        .get(&Path::from(format!("{}/BACKUP_MANIFEST", two.path)))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    let put = async |bytes: Vec<u8>| {
        store.put(&path, PutPayload::from(bytes)).await.unwrap();
        collection.read_layer(&one).await.unwrap_err()
    };
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    assert!(matches!(
        put(b"<Error>not found</Error>".to_vec()).await,
        Error::BadMagic { .. }
    ));
    assert!(matches!(
        put(changed(4, 9)).await,
        Error::NewerFormat {
            found: 9,
            supported: 1,
            ..
        }
    ));
    assert!(matches!(
        put(changed(30, !good[30])).await,
        Error::FrameChecksum { .. }
    ));
    assert!(matches!(
        put(good[..good.len() - 1].to_vec()).await,
        Error::Truncated { .. }
    ));
    assert!(matches!(
        put([&good[..], b"\n"].concat()).await,
        Error::TrailingBytes { .. }
    ));
    assert!(matches!(
        put(vec![0; 70 << 20]).await,
        Error::TooLarge { .. }
    ));
    assert!(matches!(
        put(other.to_vec()).await,
        Error::HashMismatch { .. }
    ));
    let swapped = collection.read_manifest(&one.path).await.unwrap_err();
    assert!(
        matches!(swapped, Error::InvalidManifest { .. }),
        "{swapped}"
    );
    store.delete(&path).await.unwrap();
    let missing = collection.read_layer(&one).await.unwrap_err();
    assert!(
        matches!(missing, Error::ManifestMissing { .. }),
        "{missing}"
    );
    store.put(&path, PutPayload::from(good)).await.unwrap();
    collection.read_layer(&one).await.unwrap();
}

#[tokio::test]
async fn a_collection_marker_of_a_newer_version_or_damaged_is_refused() {
    let uri = memory_uri();
    let store = bare(&uri).await;
    let path = Path::from("metadata/COLLECTION");
    let newer = "metadata/COLLECTION has format version 2, this version of icecore reads up to 1; \
                 use a newer icecore";
    for (content, expected) in [
        (with_crc(r#"{"format_version":2,"shape":"unknown"}"#), newer),
        (
            with_crc(r#"{"format_version":0}"#),
            "is damaged: format version 0 does not exist",
        ),
        (
            with_crc(r#"{"format_version":1}"#),
            "is damaged: missing field `collection_id`",
        ),
        (
            r#"{"format_version":1}"#.to_owned(),
            "is damaged: it is not two lines of text",
        ),
        (with_crc("{}").replace('{', "["), "is damaged: its CRC32 is"),
        (String::new(), "is damaged: it is not two lines of text"),
    ] {
        store.put(&path, PutPayload::from(content)).await.unwrap();
        for result in [
            Collection::open(&uri, options()).await,
            Collection::create_or_open(&uri, options()).await,
        ] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

#[tokio::test]
async fn a_slot_that_names_a_layer_of_elsewhere_is_refused() {
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let entry = full(&collection, FULL_END, &[]).await.unwrap();
    let store = bare(&uri).await;
    let slot = Path::from(format!(
        "metadata/chain/{}/slot-{:020}",
        entry.path.full().flat(),
        FULL_END.nanos()
    ));
    for content in [serde_json::to_string(&entry).unwrap(), "{}".to_owned()] {
        store.put(&slot, PutPayload::from(content)).await.unwrap();
        let chain = collection.chain(entry.path.full()).await.unwrap();
        assert_eq!(chain.layers(), std::slice::from_ref(&entry));
        assert!(matches!(chain.damage(), [Error::DamagedMarker { .. }]));
        let error = collection
            .begin_incremental(&chain, INCREMENTAL_END)
            .await
            .unwrap_err();
        assert_eq!(error, chain.damage()[0]);
    }
}

#[tokio::test]
async fn a_file_that_the_store_lost_or_cut_is_found_before_the_manifest() {
    let files = Files::new();
    let a = files.make("a", 500);
    let uri = memory_uri();
    let (options, _) = FaultStore::options(|_, path, _| {
        if path.contains("/data/") {
            Fault::SilentlyTorn
        } else {
            Fault::None
        }
    });
    let collection = Collection::create_or_open(&uri, options).await.unwrap();
    let error = full(&collection, FULL_END, &[&a]).await.unwrap_err();
    assert!(
        matches!(&error, Error::WriteLost { expected: 500, actual, .. } if actual == "250"),
        "{error}"
    );

    let collection = Collection::create_or_open(&uri, crate::common::options())
        .await
        .unwrap();
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let stored = writer.put_file(&a).await.unwrap();
    let store = bare(&uri).await;
    store
        .delete(&Path::from(format!(
            "{}/data/{}.sst",
            writer.layer(),
            stored.id
        )))
        .await
        .unwrap();
    let manifest = crate::common::manifest(
        &collection,
        &writer,
        icecore_archive::ChainId::random(),
        &[stored],
    );
    let error = writer.commit(manifest).await.unwrap_err();
    assert!(
        matches!(&error, Error::WriteLost { actual, .. } if actual == "none"),
        "{error}"
    );
    assert!(
        !objects(&store)
            .await
            .iter()
            .any(|path| path.contains("BACKUP_MANIFEST"))
    );
}
