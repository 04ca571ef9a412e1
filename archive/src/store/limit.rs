//! The decorator that bounds requests under way at once, and requests begun in a second.
//!
//! Every request holds a place until it is answered; a download holds it until its last byte was read, or
//! it is dropped. A multipart upload holds a place for each part under way, not for itself, so that an
//! upload can never wait for a place that it holds.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result, UploadPart,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::options::StoreOptions;

/// Hands out places for requests.
#[derive(Debug)]
struct Gate {
    places: Arc<Semaphore>,
    /// The least time between the beginnings of two requests; zero for no limit.
    interval: Duration,
    /// When the next request may begin.
    next: Mutex<Instant>,
}

impl Gate {
    /// Waits for a place and for the time to begin.
    async fn enter(&self) -> Result<OwnedSemaphorePermit> {
        let place = self.places.clone().acquire_owned().await;
        // The semaphore is never closed.
        let place = place.map_err(|error| Error::Generic {
            store: "limit",
            source: Box::new(error),
        })?;
        if !self.interval.is_zero() {
            let begin = {
                let mut next = self.next.lock();
                let begin = (*next).max(Instant::now());
                *next = begin + self.interval;
                begin
            };
            tokio::time::sleep_until(begin).await;
        }
        Ok(place)
    }
}

/// Lets requests through one gate.
#[derive(Debug)]
pub(super) struct LimitStore {
    inner: Arc<dyn ObjectStore>,
    gate: Arc<Gate>,
}

impl LimitStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, options: &StoreOptions) -> Self {
        let interval = options
            .max_requests_per_second
            .map_or(Duration::ZERO, |most| Duration::from_secs(1) / most.get());
        let places = Arc::new(Semaphore::new(
            options
                .max_concurrent_requests
                .get()
                .min(Semaphore::MAX_PERMITS),
        ));
        Self {
            inner,
            gate: Arc::new(Gate {
                places,
                interval,
                next: Mutex::new(Instant::now()),
            }),
        }
    }

    /// A stream that waits for a place first, and holds it until it ends or is dropped.
    fn gated<T: Send + 'static>(
        &self,
        begin: impl FnOnce(&Arc<dyn ObjectStore>) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let (gate, inner) = (self.gate.clone(), self.inner.clone());
        let stream = async move {
            match gate.enter().await {
                Ok(place) => hold(begin(&inner), place),
                Err(error) => futures::stream::once(async { Err(error) }).boxed(),
            }
        };
        stream.into_stream().flatten().boxed()
    }
}

/// The stream, which keeps the place as long as it lives.
fn hold<T: Send + 'static>(
    stream: BoxStream<'static, Result<T>>,
    place: OwnedSemaphorePermit,
) -> BoxStream<'static, Result<T>> {
    futures::stream::unfold((stream, place), |(mut stream, place)| async move {
        stream.next().await.map(|item| (item, (stream, place)))
    })
    .boxed()
}

impl fmt::Display for LimitStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Limit({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for LimitStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let _place = self.gate.enter().await?;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let _place = self.gate.enter().await?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(LimitUpload {
            inner,
            gate: self.gate.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let place = self.gate.enter().await?;
        let mut result = self.inner.get_opts(location, options).await?;
        if let GetResultPayload::Stream(stream) = result.payload {
            result.payload = GetResultPayload::Stream(hold(stream, place));
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let _place = self.gate.enter().await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.gated(move |inner| inner.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.gated(move |inner| inner.list(prefix.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.gated(move |inner| inner.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let _place = self.gate.enter().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let _place = self.gate.enter().await?;
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let _place = self.gate.enter().await?;
        self.inner.rename_opts(from, to, options).await
    }
}

/// Lets each part through the gate.
#[derive(Debug)]
struct LimitUpload {
    inner: Box<dyn MultipartUpload>,
    gate: Arc<Gate>,
}

#[async_trait]
impl MultipartUpload for LimitUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let gate = self.gate.clone();
        let part = self.inner.put_part(data);
        Box::pin(async move {
            let _place = gate.enter().await?;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let _place = self.gate.enter().await?;
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        let _place = self.gate.enter().await?;
        self.inner.abort().await
    }
}
