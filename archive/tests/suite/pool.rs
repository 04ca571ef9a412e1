//! The pool that fast fulls share.

use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{ObjectStore, ObjectStoreExt};
use icecore_archive::{
    ChainId, Collection, ContentHash, CopiedFile, Error, FileEntry, LayerEntry, LayerWriter, RunId,
    StoredFile,
};
use icecore_mvcc::Timestamp;

use crate::common::*;

fn copied(stored: StoredFile, source: &str) -> FileEntry {
    FileEntry {
        copied: Some(CopiedFile {
            source: ContentHash::of(source.as_bytes()),
            level: 6,
        }),
        min_ts: Timestamp::MIN,
        ..entry(stored, Timestamp::MIN, FULL_END)
    }
}

async fn begin(collection: &Collection, name: &str) -> LayerWriter {
    let path = name.parse().unwrap();
    collection.begin_full(FULL_END, Some(path)).await.unwrap()
}

async fn commit(
    collection: &Collection,
    writer: LayerWriter,
    files: Vec<FileEntry>,
) -> Result<LayerEntry, Error> {
    let mut manifest = manifest(collection, &writer, ChainId::random(), &[]);
    manifest.revision_history = true;
    manifest.keyspaces[0].files = files;
    writer.commit(manifest).await
}

/// A full `one` with files `a` and `b` in the pool, and the store that it lies in.
async fn filled() -> (Collection, std::sync::Arc<dyn ObjectStore>, Files) {
    let (uri, files) = (memory_uri(), Files::new());
    let store = bare(&uri).await;
    let collection = Collection::open(&uri, options()).await.unwrap();
    let writer = begin(&collection, "one").await;
    let mut entries = Vec::new();
    for name in ["a", "b"] {
        let stored = writer
            .put_pooled(None, &files.make(name, 500))
            .await
            .unwrap();
        entries.push(copied(stored, name));
    }
    let own = writer.put_file(&files.make("own", 100)).await.unwrap();
    entries.push(entry(own, Timestamp::MIN, FULL_END));
    commit(&collection, writer, entries).await.unwrap();
    (collection, store, files)
}

#[tokio::test]
async fn files_of_the_pool_lie_beside_the_layers_and_are_read_there() {
    let (collection, store, files) = filled().await;
    let chain = latest(&collection).await;
    let entry = chain.layers().first().unwrap().clone();
    let manifest = collection.read_layer(&entry).await.unwrap();
    let listed = objects(&store).await;
    for (_, file) in manifest.files() {
        assert!(listed.contains(&manifest.layer.file_path(file)));
        collection.verify_file(&entry.path, file).await.unwrap();
        let to = files.path("fetched");
        collection.fetch(&entry.path, file, &to).await.unwrap();
    }
    assert_eq!(collection.pool_files().await.unwrap().len(), 2);
    assert_eq!(collection.stored_files(&entry.path).await.unwrap().len(), 1);
    assert_eq!(
        collection.stored_files_of(&manifest).await.unwrap().len(),
        3
    );
}

#[tokio::test]
async fn what_a_listed_full_names_is_used_again() {
    let (collection, _store, _files) = filled().await;
    let reusable = collection.reusable_files(&[]).await.unwrap();
    let a = &reusable[&ContentHash::of(b"a")];
    assert_eq!((reusable.len(), a.len()), (2, 1));
    let writer = begin(&collection, "two").await;
    writer.reuse(&a[0]);
    commit(&collection, writer, a.clone()).await.unwrap();
    // Both fulls name it, and it is still one file.
    let reusable = collection.reusable_files(&[]).await.unwrap();
    assert_eq!(reusable[&ContentHash::of(b"a")].len(), 1);
}

#[tokio::test]
async fn what_no_listed_full_names_is_not() {
    let (collection, _store, files) = filled().await;
    let writer = begin(&collection, "never").await;
    writer
        .put_pooled(None, &files.make("c", 500))
        .await
        .unwrap();
    drop(writer);
    assert_eq!(collection.pool_files().await.unwrap().len(), 3);
    assert_eq!(collection.reusable_files(&[]).await.unwrap().len(), 2);
}

/// A file that is removed from the pool between the check and the manifest is found out in time.
#[tokio::test]
async fn a_file_that_goes_before_the_manifest_is_missed() {
    for checked in [false, true] {
        let (collection, store, _files) = filled().await;
        let reusable = collection.reusable_files(&[]).await.unwrap();
        let a = reusable[&ContentHash::of(b"a")].clone();
        let writer = begin(&collection, "two").await;
        writer.reuse(&a[0]);
        if checked {
            writer.check().await.unwrap();
        }
        let path = Path::from(format!("data/{}.sst", a[0].id));
        store.delete(&path).await.unwrap();
        let refused = commit(&collection, writer, a).await.unwrap_err();
        assert!(
            matches!(&refused, Error::WriteLost { path: lost, .. } if *lost == path.to_string()),
            "{refused}"
        );
        let reusable = collection.reusable_files(&[]).await.unwrap();
        assert_eq!(reusable.len(), 1, "what is gone is no candidate");
        let fulls = collection.fulls().await.unwrap();
        assert!(fulls.iter().all(|full| full.path.as_str() != "two"));
    }
}

/// A file that retention marks is no candidate any more, and is found out by who took it for one before.
#[tokio::test]
async fn a_file_that_is_marked_is_named_by_nobody_who_looks() {
    for checked in [false, true] {
        let (collection, _store, files) = filled().await;
        let reusable = collection.reusable_files(&[]).await.unwrap();
        let a = reusable[&ContentHash::of(b"a")].clone();
        let writer = begin(&collection, "two").await;
        writer.reuse(&a[0]);
        if checked {
            writer.check().await.unwrap();
        }
        let run = RunId::random();
        collection.mark_unused(a[0].id, None, run).await.unwrap();
        collection
            .mark_unused(a[0].id, None, RunId::random())
            .await
            .unwrap();
        let refused = commit(&collection, writer, a.clone()).await.unwrap_err();
        let expected = format!("data/{}.sst", a[0].id);
        assert!(
            matches!(&refused, Error::FileExpired { path, .. } if *path == expected),
            "{refused}"
        );
        let reusable = collection.reusable_files(&a).await.unwrap();
        assert_eq!(reusable.len(), 1, "whoever put it");
        let survey = collection.survey().await.unwrap();
        assert_eq!((survey.pool.len(), survey.unused.len()), (2, 1));
        // Others go on.
        let writer = begin(&collection, "three").await;
        let own = writer
            .put_pooled(None, &files.make("e", 100))
            .await
            .unwrap();
        commit(&collection, writer, vec![copied(own, "e")])
            .await
            .unwrap();
        let mark = vec![collection.unused_mark(a[0].id)];
        assert_eq!(collection.remove(None, mark).await, []);
        assert_eq!(collection.reusable_files(&[]).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn a_manifest_names_copied_files_only_as_they_were_put() {
    let (collection, _store, files) = filled().await;
    let writer = begin(&collection, "two").await;
    let own = writer.put_file(&files.make("d", 100)).await.unwrap();
    let wrong = commit(&collection, writer, vec![copied(own, "d")]).await;
    assert!(matches!(wrong, Err(Error::InvalidManifest { .. })));
    let writer = begin(&collection, "three").await;
    let pooled = writer
        .put_pooled(None, &files.make("e", 100))
        .await
        .unwrap();
    let plain = entry(pooled, Timestamp::MIN, FULL_END);
    let wrong = commit(&collection, writer, vec![plain]).await;
    assert!(matches!(wrong, Err(Error::InvalidManifest { .. })));
}
