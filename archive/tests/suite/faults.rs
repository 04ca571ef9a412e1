//! Requests that fail before, fail after, fail for good or tear; uploads in parts.

use std::path::Path as LocalPath;
use std::sync::atomic::Ordering;

use icecore_archive::{BackupSelector, Collection, CollectionUri, Error, Result, StoreOptions};

use crate::common::{
    FULL_END, Files, INCREMENTAL_END, bare, full, hash_of, in_parts, incremental, memory_uri,
    objects, options, read_all,
};
use crate::fault_store::{Fault, FaultStore};

/// A full of two files and an incremental of one.
async fn run(
    uri: &CollectionUri,
    options: StoreOptions,
    a: &LocalPath,
    b: &LocalPath,
) -> Result<()> {
    let collection = Collection::create_or_open(uri, options).await?;
    full(&collection, FULL_END, &[a, b]).await?;
    let chain = collection.open_chain(&BackupSelector::Latest).await?;
    incremental(&collection, &chain, INCREMENTAL_END, &[a]).await?;
    Ok(())
}

/// A path without its random parts.
fn shape(path: &str) -> String {
    let words = path
        .split(['/', '-', '.'])
        .map(|word| if word.len() > 20 { "*" } else { word });
    words.collect::<Vec<_>>().join("/")
}

async fn shapes(uri: &CollectionUri) -> Vec<String> {
    let mut shapes: Vec<String> = objects(&bare(uri).await)
        .await
        .iter()
        .map(|path| shape(path))
        .collect();
    shapes.sort();
    shapes
}

/// Every request, one at a time, meets the fault once: everything succeeds and nothing is there twice.
async fn each_request_once(fault: Fault, with_parts: bool) {
    let files = Files::new();
    let (a, b) = (files.make("a", 3000), files.make("b", 10));
    let clean = memory_uri();
    let adjust = |options| {
        if with_parts {
            in_parts(options)
        } else {
            options
        }
    };
    run(&clean, adjust(options()), &a, &b).await.unwrap();
    let expected = shapes(&clean).await;
    let mut number = 0;
    loop {
        let uri = memory_uri();
        let (options, requests) =
            FaultStore::options(move |_, _, n| if n == number { fault } else { Fault::None });
        let result = run(&uri, adjust(options), &a, &b).await;
        if requests.load(Ordering::SeqCst) <= number {
            break;
        }
        result.unwrap_or_else(|error| panic!("request {number}: {error}"));
        assert_eq!(read_all(&uri).await, 2, "request {number}");
        let found = shapes(&uri).await;
        // A part whose acknowledgement is lost makes the upload begin anew, before there is an object.
        assert_eq!(found, expected, "request {number}");
        number += 1;
    }
    assert!(number > 15, "only {number} requests were seen");
}

#[tokio::test]
async fn a_lost_acknowledgement_of_any_request_is_harmless() {
    each_request_once(Fault::After, false).await;
    each_request_once(Fault::After, true).await;
}

#[tokio::test]
async fn a_passing_failure_of_any_request_is_harmless() {
    each_request_once(Fault::Before, false).await;
    each_request_once(Fault::Before, true).await;
}

#[tokio::test]
async fn a_lasting_failure_of_any_request_is_a_typed_error_and_lists_nothing_that_does_not_read() {
    let files = Files::new();
    let (a, b) = (files.make("a", 3000), files.make("b", 10));
    let mut number = 0;
    loop {
        let uri = memory_uri();
        let (options, requests) = FaultStore::options(move |_, _, n| {
            if n >= number {
                Fault::Broken
            } else {
                Fault::None
            }
        });
        let result = run(&uri, options, &a, &b).await;
        if requests.load(Ordering::SeqCst) <= number {
            assert_eq!(result, Ok(()));
            break;
        }
        let error = result.unwrap_err();
        assert!(
            matches!(error, Error::Store { .. }),
            "request {number}: {error}"
        );
        assert!(read_all(&uri).await <= 2);
        number += 1;
    }
}

#[tokio::test]
async fn random_faults_never_list_what_does_not_read() {
    let files = Files::new();
    let (a, b) = (files.make("a", 3000), files.make("b", 10));
    let rounds: u64 = std::env::var("ICECORE_FAULT_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(200);
    let mut succeeded = 0;
    for seed in 0..rounds {
        let uri = memory_uri();
        let (options, _) = FaultStore::options(move |verb, _, n| {
            let mut random = (seed << 32 | n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            random ^= random >> 29;
            random = random.wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let put = verb == "put";
            match random >> 60 {
                0 => Fault::Before,
                1 => Fault::After,
                2 if put => Fault::Torn,
                3 if verb == "get" => Fault::Short,
                4 if verb == "get" => Fault::Flipped,
                _ => Fault::None,
            }
        });
        let result = run(
            &uri,
            if seed % 2 == 0 {
                options
            } else {
                in_parts(options)
            },
            &a,
            &b,
        )
        .await;
        let layers = read_all(&uri).await;
        match result {
            Ok(()) => {
                assert_eq!(layers, 2, "seed {seed}");
                succeeded += 1;
            }
            Err(_) => assert!(layers <= 2, "seed {seed}"),
        }
    }
    assert!(succeeded > rounds / 4, "{succeeded} of {rounds}");
}

#[tokio::test]
async fn a_torn_data_file_is_put_again_under_another_name() {
    let files = Files::new();
    let a = files.make("a", 500);
    let uri = memory_uri();
    let torn = std::sync::atomic::AtomicBool::new(true);
    let (options, _) = FaultStore::options(move |verb, path, _| {
        let data = verb == "put" && path.contains("/data/");
        if data && torn.swap(false, Ordering::SeqCst) {
            Fault::Torn
        } else {
            Fault::None
        }
    });
    let collection = Collection::create_or_open(&uri, options).await.unwrap();
    let entry = full(&collection, FULL_END, &[&a]).await.unwrap();
    assert_eq!(
        collection.stored_files(&entry.path).await.unwrap().len(),
        2,
        "the torn one is left as junk"
    );
    assert_eq!(read_all(&uri).await, 1);
}

#[tokio::test]
async fn large_files_go_in_parts_within_the_memory_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    for uri in [
        memory_uri(),
        CollectionUri::from_local_path(dir.path().join("c")).unwrap(),
    ] {
        let files = Files::new();
        let paths: Vec<_> = (0..6)
            .map(|n| files.make(&format!("f{n}"), 999 + n * 401))
            .collect();
        let collection = Collection::create_or_open(&uri, in_parts(options()))
            .await
            .unwrap();
        let writer = collection.begin_full(FULL_END, None).await.unwrap();
        // Memory for two parts serves six uploads at once.
        let puts = futures::future::join_all(paths.iter().map(|path| writer.put_file(path))).await;
        let stored: Vec<_> = puts.into_iter().map(|put| put.unwrap()).collect();
        for (path, stored) in paths.iter().zip(&stored) {
            assert_eq!(hash_of(path), stored.blake3);
        }
        let requests = collection.requests();
        assert_eq!(
            (
                requests.multipart_create,
                requests.multipart_complete,
                requests.multipart_abort
            ),
            (5, 5, 0)
        );
        assert_eq!(requests.multipart_part, 4 + 5 + 6 + 7 + 8);
        let manifest = crate::common::manifest(
            &collection,
            &writer,
            icecore_archive::ChainId::random(),
            &stored,
        );
        writer.commit(manifest).await.unwrap();
        assert_eq!(read_all(&uri).await, 1);
    }
}

#[tokio::test]
async fn a_local_file_that_is_missing_is_named() {
    let collection = Collection::create_or_open(&memory_uri(), options())
        .await
        .unwrap();
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let error = writer
        .put_file(LocalPath::new("/nowhere/at/all.sst"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not read /nowhere/at/all.sst: No such file or directory (os error 2); mend that, then run again"
    );
}

#[tokio::test]
async fn a_read_only_directory_is_an_error_at_once() {
    // Root may write anywhere, so the failure is made by a file where a directory must be.
    let dir = tempfile::tempdir().unwrap();
    let uri = CollectionUri::from_local_path(dir.path().join("c")).unwrap();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    std::fs::write(dir.path().join("c/2022"), "x").unwrap();
    let error = collection.begin_full(FULL_END, None).await.unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    assert_eq!(collection.requests().put, 2, "no retries");
}
