//! The protocol on a real S3 store: set `ICECORE_TEST_S3_URI` to a bucket, with its parameters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

#[path = "suite/common.rs"]
mod common;

use common::{FULL_END, Files, INCREMENTAL_END, full, hash_of, incremental};
use icecore_archive::plan::{self, Target};
use icecore_archive::{
    BackupSelector, Collection, CollectionUri, Error, RetryOptions, StoreOptions,
};

/// A place of its own in the test's bucket, or `None` where there is no such bucket.
fn uri(test: &str, change: impl Fn(&str) -> String) -> Option<CollectionUri> {
    let Ok(base) = std::env::var("ICECORE_TEST_S3_URI") else {
        eprintln!("skipped: ICECORE_TEST_S3_URI is not set");
        return None;
    };
    let (place, parameters) = base.split_once('?').unwrap_or((&base, ""));
    let place = format!(
        "{}/{test}-{}",
        place.trim_end_matches('/'),
        icecore_archive::RunId::random()
    );
    Some(change(&format!("{place}?{parameters}")).parse().unwrap())
}

fn options() -> StoreOptions {
    StoreOptions {
        part_bytes: 5 << 20,
        multipart_threshold_bytes: 8 << 20,
        ..StoreOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_written_listed_and_read_back() {
    let Some(uri) = uri("chain", str::to_owned) else {
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
    let Some(uri) = uri("race", str::to_owned) else {
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
    let Some(uri) = uri("create", str::to_owned) else {
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
async fn wrong_credentials_are_refused_without_being_shown() {
    let canary = "CANARYKEYID&AWS_SECRET_ACCESS_KEY=CANARYSECRET";
    let change = |uri: &str| {
        let kept = uri.split(['?', '&']).filter(|part| {
            !part.contains("AWS_ACCESS") && !part.contains("AWS_SECRET") && !part.contains("TOKEN")
        });
        let kept: Vec<&str> = kept.collect();
        format!(
            "{}?AWS_ACCESS_KEY_ID={canary}&{}",
            kept[0],
            kept[1..].join("&")
        )
    };
    let Some(uri) = uri("denied", change) else {
        return;
    };
    let error = Collection::create_or_open(&uri, options())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
    assert!(
        !format!("{error} {error:?} {uri:?}").contains("CANARY"),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_store_is_said_to_be_so() {
    // Needs no server: nothing listens on port 1.
    let millis = std::time::Duration::from_millis;
    let retry = RetryOptions {
        max_attempts: std::num::NonZeroU32::new(2).unwrap(),
        initial_backoff: millis(1),
        max_backoff: millis(1),
    };
    for scheme in ["http", "https"] {
        let uri = format!(
            "s3://bucket/p?AWS_ACCESS_KEY_ID=CANARY1&AWS_SECRET_ACCESS_KEY=CANARY2&AWS_ENDPOINT={scheme}://127.0.0.1:1"
        );
        let uri: CollectionUri = uri.parse().unwrap();
        let options = StoreOptions { retry, ..options() };
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
        eprintln!("{error}");
    }
}
