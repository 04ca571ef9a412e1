//! A store that goes away at a chosen request and comes back when it is told to.

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
use icecore_testkit::faults::hasty;

/// Requests that still pass; clones share the count.
#[derive(Clone)]
pub(crate) struct Flaky(Arc<AtomicU64>);

impl Default for Flaky {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Flaky {
    /// Lets so many requests pass, and none after them.
    pub(crate) fn fail_from(&self, requests: u64) {
        self.0.store(requests, Ordering::SeqCst);
    }

    /// Lets all pass again.
    pub(crate) fn heal(&self) {
        self.0.store(u64::MAX, Ordering::SeqCst);
    }

    pub(crate) fn within(&self, options: StoreOptions) -> StoreOptions {
        let flaky = self.clone();
        let decorate: Decorate = Arc::new(move |inner| {
            Arc::new(FlakyStore {
                inner,
                flaky: flaky.clone(),
            })
        });
        StoreOptions {
            decorate: Some(decorate),
            retry: RetryOptions {
                max_attempts: 2.try_into().unwrap(),
                ..hasty()
            },
            ..options
        }
    }

    fn pass(&self) -> Result<()> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                let less = if left == u64::MAX {
                    left
                } else {
                    left.checked_sub(1)?
                };
                Some(less)
            });
        left.map(|_| ()).map_err(|_| Error::Generic {
            store: "flaky",
            source: "injected: the store went away".into(),
        })
    }
}

struct FlakyStore {
    inner: Arc<dyn ObjectStore>,
    flaky: Flaky,
}

impl fmt::Display for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flaky({})", self.inner)
    }
}

impl fmt::Debug for FlakyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[async_trait]
impl ObjectStore for FlakyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.flaky.pass()?;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.flaky.pass()?;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.flaky.pass()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.flaky.pass() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.flaky.pass()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.flaky.pass()?;
        self.inner.copy_opts(from, to, options).await
    }
}
