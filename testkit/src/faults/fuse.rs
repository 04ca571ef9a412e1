//! A store that fails at chosen requests.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use icecore_archive::{Decorate, RetryOptions, StoreOptions};

/// Which requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Those from this number on, counted from zero, for good and before they do anything.
    From(u64),
    /// That one alone, for good, before it does anything.
    Only(u64),
    /// That one alone: it is done, and its acknowledgement is lost. A retry may follow.
    AfterOnly(u64),
}

/// Counts requests, and fails those that are due. Clones share the count.
#[derive(Debug, Clone)]
pub struct Fuse {
    fault: Fault,
    requests: Arc<AtomicU64>,
}

/// What becomes of a request.
enum Fate {
    Passes,
    Refused,
    Unacknowledged,
}

impl Fuse {
    /// A fuse that has not counted anything yet.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            requests: Arc::default(),
        }
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }

    /// Whether the request that it waits for has come.
    #[must_use]
    pub fn is_blown(&self) -> bool {
        let (Fault::From(at) | Fault::Only(at) | Fault::AfterOnly(at)) = self.fault;
        self.requests() > at
    }

    /// Puts it underneath a collection opened with these settings.
    #[must_use]
    pub fn within(&self, options: StoreOptions) -> StoreOptions {
        let fuse = self.clone();
        let decorate: Decorate = Arc::new(move |inner| {
            Arc::new(FusedStore {
                inner,
                fuse: fuse.clone(),
            })
        });
        let decorate = Some(decorate);
        StoreOptions {
            decorate,
            retry: hasty(),
            ..options
        }
    }

    fn next(&self) -> Fate {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::From(at) if number >= at => Fate::Refused,
            Fault::Only(at) if number == at => Fate::Refused,
            Fault::AfterOnly(at) if number == at => Fate::Unacknowledged,
            _ => Fate::Passes,
        }
    }

    async fn run<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next() {
            Fate::Passes => request.await,
            Fate::Refused => Err(refused()),
            Fate::Unacknowledged => {
                request.await?;
                Err(unacknowledged())
            }
        }
    }
}

/// Retries that wait next to nothing.
#[must_use]
pub fn hasty() -> RetryOptions {
    RetryOptions {
        initial_backoff: std::time::Duration::from_nanos(1),
        max_backoff: std::time::Duration::from_nanos(10),
        ..RetryOptions::default()
    }
}

/// No retry mends it.
fn refused() -> Error {
    Error::NotSupported {
        source: "injected fault".into(),
    }
}

/// A retry may mend it.
fn unacknowledged() -> Error {
    Error::Generic {
        store: "fused",
        source: "injected: the acknowledgement was lost".into(),
    }
}

struct FusedStore {
    inner: Arc<dyn ObjectStore>,
    fuse: Fuse,
}

impl fmt::Display for FusedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fused({})", self.inner)
    }
}

impl fmt::Debug for FusedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[async_trait]
impl ObjectStore for FusedStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.fuse
            .run(self.inner.put_opts(location, payload, opts))
            .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fuse
            .run(self.inner.put_multipart_opts(location, opts))
            .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.fuse.run(self.inner.get_opts(location, options)).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fuse.next() {
            Fate::Passes => self.inner.list(prefix),
            Fate::Refused => futures::stream::once(async { Err(refused()) }).boxed(),
            Fate::Unacknowledged => futures::stream::once(async { Err(unacknowledged()) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fuse.run(self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.fuse.run(self.inner.copy_opts(from, to, options)).await
    }
}
