//! The protocol of collections.

use futures::{StreamExt, TryStreamExt};
use icecore_archive::plan::{self, Target};
use icecore_archive::{BackupSelector, ChainId, Collection, Error, FullPath, StoredFile};

use crate::layers::{
    FULL_END, Files, INCREMENTAL_END, finish, full, hash_of, incremental, manifest,
};
use crate::{Place, options};

pub(crate) async fn a_chain_is_written_listed_and_read_back(place: &Place) {
    let uri = place.uri("chain");
    assert!(matches!(
        Collection::open(&uri, options()).await,
        Err(Error::NoCollection { .. })
    ));
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let files = Files::new();
    let (small, large) = (
        files.make("small", 1000),
        files.make("large", (17 << 20) + 3),
    );
    full(&collection, FULL_END, &[&small, &large])
        .await
        .unwrap();
    let requests = collection.requests();
    assert_eq!(
        (
            requests.multipart_create,
            requests.multipart_part,
            requests.multipart_complete
        ),
        (1, 4, 1)
    );
    let chain = collection
        .open_chain(&BackupSelector::Latest)
        .await
        .unwrap();
    incremental(&collection, &chain, INCREMENTAL_END, &[&small])
        .await
        .unwrap();

    let again = Collection::open(&uri, options()).await.unwrap();
    let chain = again.open_chain(&BackupSelector::Latest).await.unwrap();
    assert_eq!(again.chains().await.unwrap(), std::slice::from_ref(&chain));
    let mut read = 0;
    for entry in plan::chain(chain.layers(), Target::Latest).unwrap() {
        for (_, file) in again.read_layer(&entry).await.unwrap().files() {
            let to = files.path("fetched");
            again.fetch(&entry.path, file, &to).await.unwrap();
            assert_eq!(hash_of(&to), file.blake3);
            read += 1;
        }
    }
    assert_eq!(read, 3);
}

pub(crate) async fn one_appender_wins_a_slot(place: &Place) {
    let uri = place.uri("race");
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    full(&collection, FULL_END, &[]).await.unwrap();
    let chain = collection
        .open_chain(&BackupSelector::Latest)
        .await
        .unwrap();
    let appends = (0..6_u64).map(|n| {
        let end = icecore_mvcc::Timestamp::from_nanos(INCREMENTAL_END.nanos() + n);
        incremental(&collection, &chain, end, &[])
    });
    let results = futures::future::join_all(appends).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(error, Error::ChainExtended { .. }), "{error}");
    }
}

pub(crate) async fn two_who_make_one_collection_agree(place: &Place) {
    let uri = place.uri("create");
    let made =
        futures::future::join_all((0..6).map(|_| Collection::create_or_open(&uri, options())))
            .await;
    let ids: Vec<_> = made
        .into_iter()
        .map(|collection| collection.unwrap().id())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

pub(crate) async fn a_name_is_taken_once(place: &Place) {
    let uri = place.uri("taken");
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let name: FullPath = "2022/02/09-155340.13".parse().unwrap();
    let files = Files::new();
    let writers = (0..4_usize).map(|n| {
        let (collection, name) = (collection.clone(), name.clone());
        let file = files.make(&format!("file {n}"), 1000 + n);
        async move {
            let writer = collection.begin_full(FULL_END, Some(name)).await?;
            finish(&collection, writer, &[&file]).await
        }
    });
    let results = futures::future::join_all(writers).await;
    let won: Vec<_> = results.iter().filter_map(|r| r.as_ref().ok()).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    for error in results.iter().filter_map(|r| r.as_ref().err()) {
        assert!(matches!(error, Error::LayerExists { .. }), "{error}");
    }
    let manifest = collection.read_layer(won[0]).await.unwrap();
    for (_, file) in manifest.files() {
        collection.verify_file(&won[0].path, file).await.unwrap();
    }
}

/// S3 and Google list 1,000 objects to a page, Azure 5,000.
pub(crate) async fn a_layer_of_more_files_than_a_page_is_listed_whole(place: &Place) {
    const COUNT: usize = 1_050;
    let uri = place.uri("pages");
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let files = Files::new();
    let file = files.make("small", 10);
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let puts = futures::stream::iter(0..COUNT).map(|_| writer.put_file(&file));
    let stored: Vec<StoredFile> = puts.buffer_unordered(16).try_collect().await.unwrap();
    // Compares a listing with what was put.
    writer.check().await.unwrap();
    let manifest = manifest(&collection, &writer, ChainId::from_bytes([5; 16]), &stored);
    let entry = writer.commit(manifest).await.unwrap();
    let listed = collection.stored_files(&entry.path).await.unwrap();
    assert_eq!(listed.len(), COUNT);
}
