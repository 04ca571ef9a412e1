use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions,
};

use super::*;
use crate::error::Error;

type StoreResult<T> = object_store::Result<T>;

/// Fails its first requests, and counts those under way.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn ObjectStore>,
    /// Requests still to fail.
    failures: AtomicU32,
    /// Whether failed requests hang instead.
    hang: bool,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

impl Flaky {
    fn new(inner: Arc<dyn ObjectStore>, failures: u32) -> Self {
        Self {
            inner,
            failures: AtomicU32::new(failures),
            hang: false,
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        }
    }

    async fn request(&self) -> StoreResult<()> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        match left {
            Ok(_) if self.hang => std::future::pending().await,
            Ok(_) => Err(StoreError::Generic {
                store: "flaky",
                source: "503 slow down".into(),
            }),
            Err(_) => Ok(()),
        }
    }
}

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flaky")
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> StoreResult<PutResult> {
        self.request().await?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.request().await?;
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.request().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    /// Breaks off after the first entry while there are failures left.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        let listing = self.inner.list(prefix);
        if left.is_err() {
            return listing;
        }
        let broken = || async {
            Err(StoreError::Generic {
                store: "flaky",
                source: "connection reset".into(),
            })
        };
        listing
            .take(1)
            .chain(futures::stream::once(broken()))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.request().await?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// A store over a flaky one, with everything in between.
fn over(flaky: Flaky, options: StoreOptions) -> (Store, Arc<Flaky>) {
    let flaky = Arc::new(flaky);
    let bottom = flaky.clone();
    let options = StoreOptions {
        decorate: Some(Arc::new(move |_| bottom.clone())),
        ..options
    };
    let store = open(
        &"memory://store-tests".parse().unwrap(),
        &options,
        Root::MustExist,
        Arc::default(),
    )
    .unwrap();
    (store, flaky)
}

fn path(text: &str) -> Path {
    Path::from(text)
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again() {
    let (store, _) = over(
        Flaky::new(Arc::new(InMemory::new()), 5),
        StoreOptions::default(),
    );
    assert_eq!(
        store
            .put_once(&path("a"), Bytes::from("x"), 10)
            .await
            .unwrap(),
        PutOnce::Stored
    );
    assert_eq!(store.get(&path("a"), 10).await.unwrap().unwrap(), "x");
    let counts = store.counts();
    assert_eq!((counts.put, counts.failed, counts.get), (6, 5, 1));
    assert_eq!((counts.sent_bytes, counts.received_bytes), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn enough_is_enough() {
    let (store, _) = over(
        Flaky::new(Arc::new(InMemory::new()), 6),
        StoreOptions::default(),
    );
    let error = store
        .put_once(&path("a"), Bytes::from("x"), 10)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not write a in memory://store-tests, tried 6 times: 503 slow down; \
         check that the store can be reached, then run again"
    );
    assert!(error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_given_up_and_tried_again() {
    let flaky = Flaky {
        hang: true,
        ..Flaky::new(Arc::new(InMemory::new()), 1)
    };
    let (store, _) = over(flaky, StoreOptions::default());
    assert_eq!(
        store
            .put_once(&path("a"), Bytes::from("x"), 10)
            .await
            .unwrap(),
        PutOnce::Stored
    );
    assert_eq!(store.counts().put, 2);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_breaks_off_is_begun_anew_and_repeats_nothing() {
    let memory = Arc::new(InMemory::new());
    for name in ["p/a", "p/b", "p/c"] {
        memory
            .put(&path(name), PutPayload::from_static(b"x"))
            .await
            .unwrap();
    }
    let (store, _) = over(Flaky::new(memory, 3), StoreOptions::default());
    let listed = store.list(&path("p")).await.unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|object| object.location.as_ref())
        .collect();
    assert_eq!(names, ["p/a", "p/b", "p/c"]);
    assert_eq!(store.counts().list, 4);
}

#[tokio::test]
async fn an_object_is_put_once_and_never_replaced() {
    let (store, _) = over(
        Flaky::new(Arc::new(InMemory::new()), 0),
        StoreOptions::default(),
    );
    let a = path("a");
    let put = |bytes: &'static str| store.put_once(&a, Bytes::from(bytes), 10);
    assert_eq!(put("x").await.unwrap(), PutOnce::Stored);
    assert_eq!(put("x").await.unwrap(), PutOnce::Stored);
    assert_eq!(put("y").await.unwrap(), PutOnce::Conflict(Bytes::from("x")));
    assert!(matches!(
        store.put_mine(&path("a"), Bytes::from("y"), 10).await,
        Err(Error::WriteConflict { .. })
    ));
    assert_eq!(store.get(&path("a"), 10).await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn reads_are_bounded() {
    let (store, _) = over(
        Flaky::new(Arc::new(InMemory::new()), 0),
        StoreOptions::default(),
    );
    store
        .put_once(&path("a"), Bytes::from("12345"), 10)
        .await
        .unwrap();
    assert!(matches!(
        store.get(&path("a"), 4).await,
        Err(Error::TooLarge { limit_bytes: 4, .. })
    ));
    assert_eq!(store.get(&path("a"), 5).await.unwrap().unwrap(), "12345");
    assert_eq!(store.get(&path("b"), 5).await.unwrap(), None);
    assert_eq!(
        (
            store.size(&path("a")).await.unwrap(),
            store.size(&path("b")).await.unwrap()
        ),
        (Some(5), None)
    );
}

#[tokio::test(start_paused = true)]
async fn requests_under_way_are_bounded() {
    let options = StoreOptions {
        max_concurrent_requests: NonZeroUsize::new(3).unwrap(),
        ..StoreOptions::default()
    };
    let (store, flaky) = over(Flaky::new(Arc::new(InMemory::new()), 0), options);
    let puts = (0..20).map(|n| {
        let store = store.clone();
        async move {
            store
                .put_once(&path(&format!("o{n}")), Bytes::from("x"), 10)
                .await
                .unwrap()
        }
    });
    futures::future::join_all(puts).await;
    assert_eq!(flaky.most_under_way.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn requests_in_a_second_are_bounded() {
    let options = StoreOptions {
        max_requests_per_second: NonZeroU32::new(10),
        ..StoreOptions::default()
    };
    let (store, _) = over(Flaky::new(Arc::new(InMemory::new()), 0), options);
    let begun = tokio::time::Instant::now();
    for n in 0..21 {
        store
            .put_once(&path(&format!("o{n}")), Bytes::from("x"), 10)
            .await
            .unwrap();
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < Duration::from_millis(2200),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_download_holds_its_place_until_it_is_read() {
    let options = StoreOptions {
        max_concurrent_requests: NonZeroUsize::new(1).unwrap(),
        ..StoreOptions::default()
    };
    let (store, _) = over(Flaky::new(Arc::new(InMemory::new()), 0), options);
    store
        .put_once(&path("a"), Bytes::from("x"), 10)
        .await
        .unwrap();
    let a = path("a");
    let download = store.objects().get(&a).await.unwrap();
    let second = tokio::time::timeout(Duration::from_millis(50), store.get(&a, 10));
    assert!(second.await.is_err(), "the place is taken");
    assert_eq!(download.bytes().await.unwrap(), "x");
    assert_eq!(store.get(&path("a"), 10).await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn deleting_what_is_gone_is_no_error() {
    let (store, _) = over(
        Flaky::new(Arc::new(InMemory::new()), 0),
        StoreOptions::default(),
    );
    store
        .put_once(&path("a"), Bytes::from("x"), 10)
        .await
        .unwrap();
    store.objects().delete(&path("a")).await.unwrap();
    store.objects().delete(&path("a")).await.unwrap();
    assert_eq!(store.get(&path("a"), 5).await.unwrap(), None);
    assert_eq!(store.counts().delete, 2);
}

#[tokio::test]
async fn memory_stores_are_found_again_by_name() {
    let open = |uri: &str| {
        open(
            &uri.parse().unwrap(),
            &StoreOptions::default(),
            Root::MustExist,
            Arc::default(),
        )
        .unwrap()
    };
    open("memory://by-name/in/here")
        .put_once(&path("a"), Bytes::from("x"), 10)
        .await
        .unwrap();
    assert_eq!(
        open("memory://by-name")
            .get(&path("in/here/a"), 10)
            .await
            .unwrap()
            .unwrap(),
        "x"
    );
    assert_eq!(
        open("memory://other-name")
            .get(&path("in/here/a"), 10)
            .await
            .unwrap(),
        None
    );
}

#[test]
fn local_directories() {
    let dir = tempfile::tempdir().unwrap();
    let uri = CollectionUri::from_local_path(dir.path().join("a/b")).unwrap();
    let options = StoreOptions::default();
    assert!(matches!(
        open(&uri, &options, Root::MustExist, Arc::default()),
        Err(Error::NoCollection { .. })
    ));
    assert!(!dir.path().join("a").exists(), "looking makes nothing");
    open(&uri, &options, Root::MayBeCreated, Arc::default()).unwrap();
    open(&uri, &options, Root::MustExist, Arc::default()).unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let file = CollectionUri::from_local_path(dir.path().join("file")).unwrap();
    assert!(matches!(
        open(&file, &options, Root::MayBeCreated, Arc::default()),
        Err(Error::LocalFile { .. })
    ));
}
