//! The marks of retention: what a reader makes of them, and a writer that wakes late.

use std::time::Duration;

use icecore_archive::{
    BackupSelector, ChainId, Collection, CollectionUri, Error, FullPath, IncrementalPath,
    LayerPath, MergedParts, RunId,
};

use crate::common::{
    FULL_END, Files, INCREMENTAL_END, bare, finish, full, incremental, latest, manifest,
    memory_uri, objects, options,
};

async fn open(uri: &CollectionUri) -> Collection {
    Collection::create_or_open(uri, options()).await.unwrap()
}

fn chosen(path: &str) -> FullPath {
    path.parse().unwrap()
}

#[tokio::test]
async fn an_expired_chain_is_listed_no_more_and_nothing_extends_it_or_takes_its_name() {
    let (uri, files) = (memory_uri(), Files::new());
    let (collection, a) = (open(&uri).await, files.make("a", 100));
    let weekly = collection
        .begin_full(FULL_END, Some(chosen("weekly")))
        .await
        .unwrap();
    let entry = finish(&collection, weekly, &[&a]).await.unwrap();
    let chain = latest(&collection).await;
    // One that is under way, one that has only planned.
    let late = collection
        .begin_incremental(&chain, INCREMENTAL_END)
        .await
        .unwrap();
    assert!(
        collection
            .close_chain(&chain, RunId::random())
            .await
            .unwrap()
    );
    assert!(latest(&collection).await.is_closed());
    let error = finish(&collection, late, &[&a]).await.unwrap_err();
    assert!(matches!(error, Error::ChainExpired { .. }), "{error}");
    collection
        .mark_expired(&entry, RunId::random())
        .await
        .unwrap();
    // Twice is as good as once, by another run too.
    assert!(
        collection
            .close_chain(&chain, RunId::random())
            .await
            .unwrap()
    );
    collection
        .mark_expired(&entry, RunId::random())
        .await
        .unwrap();
    assert!(collection.fulls().await.unwrap().is_empty());
    assert!(collection.chains().await.unwrap().is_empty());
    let by_path = BackupSelector::Full(chosen("weekly"));
    assert_eq!(
        collection.open_chain(&by_path).await.unwrap().layers(),
        chain.layers()
    );
    let again = collection
        .begin_full(INCREMENTAL_END, Some(chosen("weekly")))
        .await;
    assert!(
        matches!(again, Err(Error::ChainExpired { .. })),
        "{again:?}"
    );
    let inside = collection
        .begin_full(INCREMENTAL_END, Some(chosen("weekly/inside")))
        .await;
    assert!(
        matches!(inside, Err(Error::NestedSubdirectory { .. })),
        "{inside:?}"
    );
    // Everything but the mark goes; the writer that knows the chain from before still finds that.
    let survey = collection.survey().await.unwrap();
    let directories = survey.directories_of(entry.path.full());
    let stored = directories.flat_map(|(_, directory)| &directory.objects);
    let stored = stored.map(|object| object.path.clone());
    let all = stored.chain(survey.markers_of(entry.path.full())).collect();
    assert!(collection.remove(None, all).await.is_empty());
    let error = incremental(&collection, &chain, INCREMENTAL_END, &[&a])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::ChainExpired { .. }), "{error}");
    assert!(collection.fulls().await.unwrap().is_empty());
}

#[tokio::test]
async fn who_is_faster_has_the_slot() {
    let (uri, files) = (memory_uri(), Files::new());
    let (collection, a) = (open(&uri).await, files.make("a", 100));
    full(&collection, FULL_END, &[&a]).await.unwrap();
    let chain = latest(&collection).await;
    incremental(&collection, &chain, INCREMENTAL_END, &[&a])
        .await
        .unwrap();
    // The chain that retention looked at is not the one there is.
    assert!(
        !collection
            .close_chain(&chain, RunId::random())
            .await
            .unwrap()
    );
    assert!(!latest(&collection).await.is_closed());
}

#[tokio::test]
async fn a_tombstone_is_no_layer() {
    let (uri, files) = (memory_uri(), Files::new());
    let (collection, a) = (open(&uri).await, files.make("a", 100));
    let asleep = collection
        .begin_full(FULL_END, Some(chosen("weekly")))
        .await
        .unwrap();
    let layer = asleep.layer().clone();
    let stored = asleep.put_file(&a).await.unwrap();
    assert!(!collection.is_buried(&layer).await.unwrap());
    assert!(collection.bury(&layer, RunId::random()).await.unwrap());
    assert!(collection.bury(&layer, RunId::random()).await.unwrap());
    let missing = collection.read_manifest(&layer).await.unwrap_err();
    assert!(
        matches!(missing, Error::ManifestMissing { .. }),
        "{missing}"
    );
    let content = manifest(
        &collection,
        &asleep,
        ChainId::from_bytes([5; 16]),
        &[stored],
    );
    let error = asleep.commit(content).await.unwrap_err();
    assert!(matches!(error, Error::RunRemoved { .. }), "{error}");
    // A name of choice is gone, and says so before any work is done.
    let again = collection
        .begin_full(FULL_END, Some(chosen("weekly")))
        .await
        .unwrap_err();
    assert!(matches!(again, Error::RunRemoved { .. }), "{again}");
    assert!(collection.chains().await.unwrap().is_empty());
    // What is committed is not buried.
    let entry = full(&collection, FULL_END, &[&a]).await.unwrap();
    assert!(!collection.bury(&entry.path, RunId::random()).await.unwrap());
}

#[tokio::test]
async fn a_retired_layer_is_no_part_of_its_chain_and_its_slot_is_not_looked_at() {
    let (uri, files) = (memory_uri(), Files::new());
    let (collection, a) = (open(&uri).await, files.make("a", 100));
    let first = full(&collection, FULL_END, &[&a]).await.unwrap();
    let mut parts = Vec::new();
    for step in 1..3 {
        let chain = latest(&collection).await;
        let end = icecore_mvcc::Timestamp::from_nanos(FULL_END.nanos() + step * 1_000_000_000);
        parts.push(incremental(&collection, &chain, end, &[&a]).await.unwrap());
    }
    let chain = latest(&collection).await;
    let merges: Vec<_> = parts.iter().map(|part| part.manifest_hash).collect();
    let of = MergedParts {
        parent: first.manifest_hash,
        start: first.end,
        end: parts[1].end,
        merges,
    };
    let writer = collection.begin_merged(&chain, of).await.unwrap();
    let merged = finish(&collection, writer, &[&a]).await.unwrap();
    assert_eq!(latest(&collection).await.layers().len(), 4);
    for part in &parts {
        collection
            .mark_retired(part, RunId::random())
            .await
            .unwrap();
    }
    collection
        .mark_retired(&first, RunId::random())
        .await
        .unwrap();
    let chain = latest(&collection).await;
    assert_eq!(
        chain.layers(),
        [first.clone(), merged.clone()],
        "a full does not retire"
    );
    assert_eq!(chain.retired().len(), 2);
    let gone = parts
        .iter()
        .map(|part| collection.layer_marker(part))
        .collect();
    assert!(collection.remove(None, gone).await.is_empty());
    let marks = parts
        .iter()
        .filter_map(|p| collection.retired_mark(&p.path, p.manifest_hash));
    assert!(collection.remove(None, marks.collect()).await.is_empty());
    // The slots of the parts are there, and name layers that are not.
    let chain = latest(&collection).await;
    assert_eq!(chain.layers(), [first, merged.clone()]);
    assert!(chain.damage().is_empty());
    let next = incremental(&collection, &chain, INCREMENTAL_END, &[&a])
        .await
        .unwrap();
    assert_eq!(next.start, merged.end);
}

#[tokio::test]
async fn a_survey_tells_layers_apart_and_leaves_other_collections_alone() {
    let (uri, files) = (memory_uri(), Files::new());
    let (outer, a) = (open(&uri).await, files.make("a", 100));
    let inner: CollectionUri = format!("{uri}/inner").parse().unwrap();
    let inner = open(&inner).await;
    full(&inner, FULL_END, &[&a]).await.unwrap();
    inner.begin_full(INCREMENTAL_END, None).await.unwrap();
    let listed = full(&outer, FULL_END, &[&a]).await.unwrap();
    let chain = latest(&outer).await;
    let dead = outer
        .begin_incremental(&chain, INCREMENTAL_END)
        .await
        .unwrap();
    // A name of choice that looks like an incremental's.
    let odd = outer
        .begin_full(FULL_END, Some(chosen("odd/20220210/155530.50")))
        .await
        .unwrap();
    let survey = outer.survey().await.unwrap();
    let found: Vec<&LayerPath> = survey.directories.keys().collect();
    let mut expected = [&listed.path, dead.layer(), odd.layer()];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(survey.directories[&listed.path].data().len(), 1);
    assert!(survey.directories[dead.layer()].manifest().is_none());
    assert_eq!(survey.chains.len(), 1);
    let path: IncrementalPath = "20220210/155530.50".parse().unwrap();
    assert_eq!(dead.layer().incremental(), Some(&path));
    // The store's dates are later than the clock of the test: nothing is old but without a grace.
    let newest = survey.directories[dead.layer()].newest();
    assert!(survey.is_due(newest, Duration::ZERO));
    assert!(!survey.is_due(newest, Duration::from_secs(1)));
}

#[tokio::test]
async fn a_layer_without_its_markers_is_listed_as_its_writer_would_have() {
    let (uri, files) = (memory_uri(), Files::new());
    let (collection, a) = (open(&uri).await, files.make("a", 100));
    let first = full(&collection, FULL_END, &[&a]).await.unwrap();
    let chain = latest(&collection).await;
    let second = incremental(&collection, &chain, INCREMENTAL_END, &[&a])
        .await
        .unwrap();
    let store = bare(&uri).await;
    let whole = objects(&store).await;
    let markers = whole
        .iter()
        .filter(|path| path.starts_with("metadata/") && !path.ends_with("COLLECTION"));
    assert!(
        collection
            .remove(None, markers.cloned().collect())
            .await
            .is_empty()
    );
    assert!(collection.chains().await.unwrap().is_empty());
    for entry in [&first, &second] {
        let (manifest, hash) = collection.read_manifest(&entry.path).await.unwrap();
        assert!(collection.is_adoptable(&manifest, hash).await.unwrap());
        let adopted = collection.adopt(&manifest, hash).await.unwrap();
        assert_eq!(adopted.as_ref(), Some(entry));
    }
    assert_eq!(objects(&store).await, whole);
    // One whose slot another has is not.
    let third = collection
        .begin_incremental(&chain, INCREMENTAL_END)
        .await
        .unwrap();
    let stored = third.put_file(&a).await.unwrap();
    let content = manifest(&collection, &third, ChainId::from_bytes([5; 16]), &[stored]);
    third.commit(content.clone()).await.unwrap_err();
    let (_, hash) = collection.read_manifest(&content.layer).await.unwrap();
    assert!(!collection.is_adoptable(&content, hash).await.unwrap());
    assert_eq!(collection.adopt(&content, hash).await.unwrap(), None);
}
