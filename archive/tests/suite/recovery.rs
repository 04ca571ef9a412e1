//! What dead writers leave behind and racing writers do to each other.

use icecore_archive::{Collection, CollectionUri, Error};

use crate::common::{
    FULL_END, Files, INCREMENTAL_END, bare, full, incremental, latest, memory_uri, objects,
    options, read_all,
};
use crate::fault_store::{Fault, FaultStore};
use std::path::Path as LocalPath;

/// A collection with one full, and a store that breaks for good at the request that puts this marker.
async fn broken_at(uri: &CollectionUri, marker: &'static str) -> Collection {
    let (options, _) = FaultStore::options(move |verb, path, _| {
        if verb == "put" && path.contains(marker) {
            Fault::Broken
        } else {
            Fault::None
        }
    });
    Collection::create_or_open(uri, options).await.unwrap()
}

#[tokio::test]
async fn a_layer_whose_writer_died_after_the_slot_counts_and_is_healed() {
    let files = Files::new();
    let a = files.make("a", 100);
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    full(&collection, FULL_END, &[&a]).await.unwrap();
    let dying = broken_at(&uri, "/layer-").await;
    let error = incremental(&dying, &latest(&dying).await, INCREMENTAL_END, &[&a])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Store { .. }), "{error}");
    let markers = async || {
        objects(&bare(&uri).await)
            .await
            .iter()
            .filter(|path| path.contains("/layer-"))
            .count()
    };
    assert_eq!(markers().await, 1);

    let chain = latest(&collection).await;
    assert_eq!(chain.layers().len(), 2, "the slot names it");
    assert_eq!(chain.head().unwrap().end, INCREMENTAL_END);
    assert_eq!(
        collection.chains().await.unwrap(),
        std::slice::from_ref(&chain)
    );
    assert_eq!(markers().await, 1, "reading heals nothing");
    let third = incremental(&collection, &chain, INCREMENTAL_END.next(), &[&a])
        .await
        .unwrap();
    assert_eq!(third.start, INCREMENTAL_END);
    assert_eq!(markers().await, 3);
    assert_eq!(read_all(&uri).await, 3);
}

#[tokio::test]
async fn a_layer_whose_writer_died_before_the_slot_is_junk() {
    let files = Files::new();
    let a = files.make("a", 100);
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    full(&collection, FULL_END, &[&a]).await.unwrap();
    let dying = broken_at(&uri, "/slot-").await;
    incremental(&dying, &latest(&dying).await, INCREMENTAL_END, &[&a])
        .await
        .unwrap_err();
    assert_eq!(latest(&collection).await.layers().len(), 1);
    // The next one, to the same end, steps aside and is not in the junk's way.
    let next = incremental(
        &collection,
        &latest(&collection).await,
        INCREMENTAL_END,
        &[&a],
    )
    .await
    .unwrap();
    assert_eq!(
        next.path.to_string(),
        "2022/02/09-155340.13/20220210/155530.51"
    );
    assert_eq!(read_all(&uri).await, 2);
}

#[tokio::test]
async fn a_full_whose_writer_died_before_its_last_marker_is_found_by_path_and_healed() {
    let files = Files::new();
    let a = files.make("a", 100);
    let uri = memory_uri();
    let dying = broken_at(&uri, "metadata/latest/").await;
    full(&dying, FULL_END, &[&a]).await.unwrap_err();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    assert_eq!(collection.latest().await.unwrap(), None);
    let chain = collection
        .chain(&"2022/02/09-155340.13".parse().unwrap())
        .await
        .unwrap();
    incremental(&collection, &chain, INCREMENTAL_END, &[])
        .await
        .unwrap();
    assert_eq!(collection.latest().await.unwrap().unwrap().end, FULL_END);
    assert_eq!(read_all(&uri).await, 2);
}

#[tokio::test]
async fn of_two_incrementals_from_one_end_the_first_wins_and_is_named() {
    let files = Files::new();
    let a = files.make("a", 100);
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    full(&collection, FULL_END, &[&a]).await.unwrap();
    let chain = latest(&collection).await;
    let files: [&LocalPath; 1] = [&a];
    let one = incremental(&collection, &chain, INCREMENTAL_END, &files);
    let other = incremental(&collection, &chain, INCREMENTAL_END.next(), &files);
    let (one, other) = tokio::join!(one, other);
    let (winner, error) = match (one, other) {
        (Ok(winner), Err(error)) | (Err(error), Ok(winner)) => (winner, error),
        both => panic!("{both:?}"),
    };
    let by = collection.holder(&winner.path).await.map(Box::new);
    assert_eq!(by.as_ref().unwrap().pid, Some(std::process::id()));
    assert_eq!(
        error,
        Error::ChainExtended {
            full: chain.full().clone(),
            end: FULL_END,
            holder: winner.path.clone(),
            by
        }
    );
    assert_eq!(latest(&collection).await.layers().last(), Some(&winner));
    assert_eq!(read_all(&uri).await, 2);
}

#[tokio::test]
async fn many_appenders_make_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let uri = CollectionUri::from_local_path(dir.path().join("c")).unwrap();
    let files = Files::new();
    let a = files.make("a", 100);
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    full(&collection, FULL_END, &[]).await.unwrap();
    let appenders = (1..=8_u64).map(|n| {
        let (uri, a) = (uri.clone(), a.clone());
        tokio::spawn(async move {
            let collection = Collection::open(&uri, options()).await.unwrap();
            let mut wins = 0;
            for round in 0..4 {
                let chain = latest(&collection).await;
                let end = chain.head().unwrap().end.nanos() + n + round;
                match incremental(
                    &collection,
                    &chain,
                    icecore_mvcc::Timestamp::from_nanos(end),
                    &[&a],
                )
                .await
                {
                    Ok(_) => wins += 1,
                    Err(Error::ChainExtended { .. } | Error::EmptyWindow { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            wins
        })
    });
    let wins: usize = futures::future::join_all(appenders)
        .await
        .into_iter()
        .map(|wins| wins.unwrap())
        .sum();
    let chain = latest(&collection).await;
    assert_eq!(chain.layers().len(), wins + 1);
    assert!(
        chain
            .layers()
            .windows(2)
            .all(|pair| pair[0].end == pair[1].start)
    );
    assert_eq!(read_all(&uri).await, wins + 1);
}

#[tokio::test]
async fn of_two_fulls_at_one_chosen_path_the_first_wins() {
    let files = Files::new();
    let a = files.make("a", 100);
    let uri = memory_uri();
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let begin = async || {
        collection
            .begin_full(FULL_END, Some("chosen".parse().unwrap()))
            .await
            .unwrap()
    };
    let (one, two) = (begin().await, begin().await);
    crate::common::finish(&collection, one, &[&a])
        .await
        .unwrap();
    let error = crate::common::finish(&collection, two, &[&a])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LayerExists { .. }), "{error}");
    assert_eq!(read_all(&uri).await, 1);
}

#[tokio::test]
async fn two_who_make_one_collection_agree_on_its_identity() {
    let uri = memory_uri();
    let make = || Collection::create_or_open(&uri, options());
    let ids: Vec<_> = futures::future::join_all((0..8).map(|_| make())).await;
    let first = ids[0].as_ref().unwrap().id();
    assert!(
        ids.iter()
            .all(|collection| collection.as_ref().unwrap().id() == first)
    );
}
