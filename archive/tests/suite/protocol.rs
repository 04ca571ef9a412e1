//! The write-once protocol: what is written, in which order, and what a reader then sees.

use std::path::Path as LocalPath;

use crate::common::{
    FULL_END, Files, INCREMENTAL_END, bare, check_golden, full, hash_of, incremental, memory_uri,
    objects, options,
};
use icecore_archive::plan::{self, Target};
use icecore_archive::{
    AppendTarget, BackupSelector, Collection, CollectionUri, Error, FullPath, OperationLog,
    StoreOptions,
};
use icecore_mvcc::Timestamp;

fn selector(text: &str) -> BackupSelector {
    text.parse().unwrap()
}

/// A full and an incremental, written, listed and read back, with every request in order.
async fn round_trip(uri: &CollectionUri, golden: &str) {
    let files = Files::new();
    let (a, b, c) = (
        files.make("a", 3000),
        files.make("b", 0),
        files.make("c", 100),
    );
    let log = OperationLog::new();
    let options = || StoreOptions {
        log: Some(log.clone()),
        ..options()
    };
    let mut script = String::new();
    let mut step = |title: &str| script.push_str(&format!("# {title}\n{}", log.script()));

    assert!(matches!(
        Collection::open(uri, options()).await,
        Err(Error::NoCollection { .. })
    ));
    step("open a collection that is not there");
    let collection = Collection::create_or_open(uri, options()).await.unwrap();
    step("create");
    let first = full(&collection, FULL_END, &[&a, &b]).await.unwrap();
    step("full of two files");
    let AppendTarget::Chain(chain) = collection.append_target(&selector("LATEST")).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(chain.layers(), std::slice::from_ref(&first));
    step("find LATEST");
    let second = incremental(&collection, &chain, INCREMENTAL_END, &[&c])
        .await
        .unwrap();
    step("incremental of one file");

    let again = Collection::open(uri, options()).await.unwrap();
    assert_eq!(again.id(), collection.id());
    step("open");
    let chain = again.open_chain(&selector("LATEST")).await.unwrap();
    assert_eq!(chain.layers(), [first.clone(), second.clone()]);
    let planned = plan::chain(chain.layers(), Target::Latest).unwrap();
    for entry in &planned {
        let manifest = again.read_layer(entry).await.unwrap();
        assert_eq!(manifest.stored_bytes(), entry.stored_bytes);
        for (_, file) in manifest.files() {
            let to = files.path("fetched");
            again.fetch(&entry.path, file, &to).await.unwrap();
            assert_eq!(hash_of(&to), file.blake3);
            again.verify_file(&entry.path, file).await.unwrap();
        }
    }
    step("read everything");
    assert_eq!(again.chains().await.unwrap(), [chain]);
    step("show");
    check_golden(golden, &script);

    assert_eq!(first.path.to_string(), "2022/02/09-155340.13");
    assert_eq!(
        second.path.to_string(),
        "2022/02/09-155340.13/20220210/155530.50"
    );
    assert_eq!(
        (
            second.start,
            second.end,
            second.stored_bytes,
            second.entries
        ),
        (FULL_END, INCREMENTAL_END, 100, 10)
    );
    let (manifest, hash) = again.read_manifest(&second.path).await.unwrap();
    assert_eq!(
        (manifest.parent_manifest, hash),
        (Some(first.manifest_hash), second.manifest_hash)
    );
    let [x, y] = [&a, &b].map(|file: &std::path::PathBuf| std::fs::metadata(file).unwrap().len());
    let mut sizes: Vec<u64> = again
        .stored_files(&first.path)
        .await
        .unwrap()
        .into_values()
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [y, x]);
}

#[tokio::test]
async fn a_full_and_an_incremental_in_memory() {
    round_trip(&memory_uri(), "protocol.log").await;
}

#[tokio::test]
async fn a_full_and_an_incremental_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let uri = CollectionUri::from_local_path(dir.path().join("collection")).unwrap();
    // One missing directory is known without a request; nothing else may differ.
    let golden = "protocol-file.log";
    round_trip(&uri, golden).await;
    let read = |name: &str| {
        std::fs::read_to_string(
            LocalPath::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/golden")
                .join(name),
        )
        .unwrap()
    };
    let of_memory = read("protocol.log").replacen("get metadata/COLLECTION -> not-found\n", "", 1);
    assert_eq!(read(golden), of_memory);
}

#[tokio::test]
async fn latest_is_the_newest_by_end_time_not_by_writing() {
    let files = Files::new();
    let a = files.make("a", 10);
    let collection = Collection::create_or_open(&memory_uri(), options())
        .await
        .unwrap();
    assert!(matches!(
        collection.open_chain(&selector("LATEST")).await,
        Err(Error::NoBackups { .. })
    ));
    assert!(matches!(
        collection.append_target(&selector("latest")).await,
        Err(Error::NoBackups { .. })
    ));
    assert_eq!(collection.latest().await.unwrap(), None);
    full(&collection, INCREMENTAL_END, &[&a]).await.unwrap();
    full(&collection, FULL_END, &[&a]).await.unwrap();
    let ends: Vec<Timestamp> = collection
        .fulls()
        .await
        .unwrap()
        .iter()
        .map(|full| full.end)
        .collect();
    assert_eq!(ends, [INCREMENTAL_END, FULL_END]);
    assert_eq!(
        collection
            .open_chain(&selector("LATEST"))
            .await
            .unwrap()
            .full()
            .as_str(),
        "2022/02/10-155530.50"
    );
    let by_path = collection
        .open_chain(&selector("2022/02/09-155340.13"))
        .await
        .unwrap();
    assert_eq!(by_path.full().as_str(), "2022/02/09-155340.13");
    let shown: Vec<String> = collection
        .chains()
        .await
        .unwrap()
        .iter()
        .map(|chain| chain.full().to_string())
        .collect();
    assert_eq!(shown, ["2022/02/10-155530.50", "2022/02/09-155340.13"]);
}

#[tokio::test]
async fn a_path_where_nothing_is_takes_a_full_there() {
    let files = Files::new();
    let a = files.make("a", 10);
    let collection = Collection::create_or_open(&memory_uri(), options())
        .await
        .unwrap();
    let path: FullPath = "weekly/one".parse().unwrap();
    assert!(matches!(
        collection.chain(&path).await,
        Err(Error::NoSuchBackup { .. })
    ));
    let target = collection
        .append_target(&selector("weekly/one"))
        .await
        .unwrap();
    assert_eq!(target, AppendTarget::NewFull(path.clone()));
    let writer = collection
        .begin_full(FULL_END, Some(path.clone()))
        .await
        .unwrap();
    let entry = crate::common::finish(&collection, writer, &[&a])
        .await
        .unwrap();
    assert_eq!(entry.path.full(), &path);
    let AppendTarget::Chain(chain) = collection
        .append_target(&selector("weekly/one"))
        .await
        .unwrap()
    else {
        panic!()
    };
    incremental(&collection, &chain, INCREMENTAL_END, &[])
        .await
        .unwrap();

    let begin = |text: &str| collection.begin_full(FULL_END, Some(text.parse().unwrap()));
    assert!(matches!(
        begin("weekly/one").await,
        Err(Error::LayerExists { .. })
    ));
    assert!(matches!(
        begin("weekly").await,
        Err(Error::NestedSubdirectory { .. })
    ));
    assert!(matches!(
        begin("weekly/one/x").await,
        Err(Error::NestedSubdirectory { .. })
    ));
    begin("weekly/two").await.unwrap();
}

#[tokio::test]
async fn a_taken_hundredth_steps_forward() {
    let collection = Collection::create_or_open(&memory_uri(), options())
        .await
        .unwrap();
    let mut paths = Vec::new();
    for _ in 0..100 {
        paths.push(
            collection
                .begin_full(FULL_END, None)
                .await
                .unwrap()
                .layer()
                .to_string(),
        );
    }
    assert_eq!(paths[0], "2022/02/09-155340.13");
    assert_eq!(paths[1], "2022/02/09-155340.14");
    assert_eq!(paths[99], "2022/02/09-155341.12");
    let error = collection.begin_full(FULL_END, None).await.unwrap_err();
    assert!(
        matches!(error, Error::NoFreeSubdirectory { tries: 99, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_incremental_needs_a_time_after_the_chain() {
    let collection = Collection::create_or_open(&memory_uri(), options())
        .await
        .unwrap();
    full(&collection, FULL_END, &[]).await.unwrap();
    let chain = collection.open_chain(&selector("LATEST")).await.unwrap();
    for end in [FULL_END, Timestamp::MIN] {
        let error = collection.begin_incremental(&chain, end).await.unwrap_err();
        assert!(matches!(error, Error::EmptyWindow { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_manifest_of_another_layer_or_of_other_files_is_not_committed() {
    let files = Files::new();
    let a = files.make("a", 10);
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let chain_id = icecore_archive::ChainId::random();
    let changes: [fn(&mut icecore_archive::Manifest); 4] = [
        |manifest| manifest.collection_id = icecore_archive::CollectionId::random(),
        |manifest| manifest.end = manifest.end.next(),
        |manifest| manifest.keyspaces[0].files[0].crc32 ^= 1,
        |manifest| manifest.keyspaces[0].files[0].id = icecore_archive::FileId::random(),
    ];
    for change in changes {
        let writer = collection.begin_full(FULL_END, None).await.unwrap();
        let stored = writer.put_file(&a).await.unwrap();
        let mut manifest = crate::common::manifest(&collection, &writer, chain_id, &[stored]);
        change(&mut manifest);
        assert!(matches!(
            writer.commit(manifest).await,
            Err(Error::InvalidManifest { .. })
        ));
    }
    assert!(
        !objects(&bare(&uri).await)
            .await
            .iter()
            .any(|path| path.contains("BACKUP_MANIFEST"))
    );
}

#[tokio::test]
async fn a_long_file_list_goes_through_side_files() {
    let collection = Collection::create_or_open(&memory_uri(), options())
        .await
        .unwrap();
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let files = Files::new();
    let a = files.make("a", 1);
    let mut stored = Vec::new();
    for _ in 0..10_001 {
        stored.push(writer.put_file(&a).await.unwrap());
    }
    let manifest = crate::common::manifest(
        &collection,
        &writer,
        icecore_archive::ChainId::random(),
        &stored,
    );
    let before = collection.requests();
    let entry = writer.commit(manifest.clone()).await.unwrap();
    let requests = collection.requests() - before;
    assert_eq!((requests.put, requests.list, requests.total()), (5, 1, 6));
    assert_eq!(collection.read_layer(&entry).await.unwrap(), manifest);
}

#[tokio::test]
async fn every_byte_of_the_markers() {
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let entry = full(&collection, FULL_END, &[]).await.unwrap();
    let chain = collection.open_chain(&selector("LATEST")).await.unwrap();
    let second = incremental(&collection, &chain, INCREMENTAL_END, &[])
        .await
        .unwrap();
    let store = bare(&uri).await;
    let mut text = String::new();
    for path in objects(&store)
        .await
        .iter()
        .filter(|path| !path.contains("BACKUP"))
    {
        let got = icecore_archive::object_store::ObjectStoreExt::get(&store, &path.as_str().into())
            .await
            .unwrap();
        let content = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
        // The CRC32 follows from random identities too, so it is compared rather than printed.
        let (json, crc32) = content
            .strip_suffix('\n')
            .unwrap()
            .split_once('\n')
            .unwrap();
        assert_eq!(crc32, format!("{:08x}", crc32fast::hash(json.as_bytes())));
        text.push_str(&format!("{path}\n  {json}\n"));
    }
    // Identities are random, hashes follow from them.
    for (random, name) in [
        (collection.id().to_string(), "<collection>"),
        (entry.manifest_hash.to_string(), "<full's manifest>"),
        (second.manifest_hash.to_string(), "<incremental's manifest>"),
    ] {
        text = text.replace(&random, name);
    }
    check_golden("markers.txt", &text);
}
