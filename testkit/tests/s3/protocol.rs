//! The protocol of collections, on a real S3 store.

use futures::{StreamExt, TryStreamExt};
use icecore_archive::plan::{self, Target};
use icecore_archive::{
    BackupSelector, ChainId, Collection, CollectionUri, Error, FullPath, StoredFile,
};

use crate::layers::{
    FULL_END, Files, INCREMENTAL_END, finish, full, hash_of, incremental, manifest,
};
use crate::{options, store};

/// A place of its own, or `None` where there is no store.
fn uri(test: &str) -> Option<CollectionUri> {
    Some(store()?.uri(test).parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_written_listed_and_read_back() {
    let Some(uri) = uri("chain") else {
        return;
    };
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

#[tokio::test(flavor = "multi_thread")]
async fn one_appender_wins_a_slot() {
    let Some(uri) = uri("race") else {
        return;
    };
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

#[tokio::test(flavor = "multi_thread")]
async fn two_who_make_one_collection_agree() {
    let Some(uri) = uri("create") else {
        return;
    };
    let made =
        futures::future::join_all((0..6).map(|_| Collection::create_or_open(&uri, options())))
            .await;
    let ids: Vec<_> = made
        .into_iter()
        .map(|collection| collection.unwrap().id())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_once() {
    let Some(uri) = uri("taken") else {
        return;
    };
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

/// S3 lists 1,000 objects to a page.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_of_more_files_than_a_page_is_listed_whole() {
    const COUNT: usize = 1_050;
    let Some(uri) = uri("pages") else {
        return;
    };
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

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_refused_without_being_shown() {
    let Some(s3) = store() else {
        return;
    };
    let right = s3.uri("denied");
    let (place, rest) = (s3.place("denied"), s3.parameters_without_credentials());
    let known = right
        .split(['?', '&'])
        .find(|part| part.starts_with("AWS_ACCESS_KEY_ID="));
    // A key that the store does not know, and a known one with a wrong secret.
    for id in std::iter::once("AWS_ACCESS_KEY_ID=CANARYKEYID").chain(known) {
        let uri = format!("{place}?{id}&AWS_SECRET_ACCESS_KEY=CANARY%2FSECRET&{rest}");
        let uri: CollectionUri = uri.parse().unwrap();
        let error = Collection::create_or_open(&uri, options())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
        let id = id.split_once('=').unwrap().1;
        for told in [error.to_string(), format!("{error:?} {uri} {uri:?}")] {
            assert!(!told.contains("CANARY") && !told.contains(id), "{told}");
        }
    }
}
