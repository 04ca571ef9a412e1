//! The decorator that tells observers of every request that reaches the store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart,
};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Write an object, replacing any.
    Put,
    /// Write an object unless there is one.
    PutIfAbsent,
    /// Begin an object of several parts.
    MultipartCreate,
    /// Send a part.
    MultipartPart,
    /// Make an object of the parts.
    MultipartComplete,
    /// Give the parts up.
    MultipartAbort,
    /// Read an object or some of it.
    Get,
    /// Read an object's size.
    Head,
    /// List a prefix: one request for every 1,000 objects on most stores.
    List,
    /// Remove an object.
    Delete,
    /// Copy or rename an object within the store.
    Copy,
}

impl Verb {
    /// The verb as it appears in logs and metrics: `put-if-absent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutIfAbsent => "put-if-absent",
            Self::MultipartCreate => "multipart-create",
            Self::MultipartPart => "multipart-part",
            Self::MultipartComplete => "multipart-complete",
            Self::MultipartAbort => "multipart-abort",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a request ended. A download ends, for this purpose, when its first bytes may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// As asked.
    Done,
    /// There is no such object.
    NotFound,
    /// There is such an object already.
    AlreadyExists,
    /// Otherwise.
    Failed,
}

impl Outcome {
    /// The outcome as it appears in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::Failed => "failed",
        }
    }

    const fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(Error::NotFound { .. }) => Self::NotFound,
            Err(Error::AlreadyExists { .. }) => Self::AlreadyExists,
            Err(_) => Self::Failed,
        }
    }
}

/// Is told of requests. Called on the path of each: must not block.
pub(super) trait Observer: fmt::Debug + Send + Sync {
    /// A request begins. The token is handed back at its end.
    fn begin(&self, verb: Verb, path: &str) -> usize {
        let _ = (verb, path);
        0
    }

    /// A request ended.
    fn end(&self, token: usize, verb: Verb, outcome: Outcome, elapsed: Duration);

    /// Bytes were accepted by the store.
    fn sent(&self, bytes: u64) {
        let _ = bytes;
    }

    /// Bytes came from the store.
    fn received(&self, bytes: u64) {
        let _ = bytes;
    }

    /// The store listed an object.
    fn listed(&self) {}
}

type Observers = Arc<[Arc<dyn Observer>]>;

/// Reports every request to the observers.
#[derive(Debug)]
pub(super) struct ObserveStore {
    inner: Arc<dyn ObjectStore>,
    observers: Observers,
}

impl ObserveStore {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, observers: Vec<Arc<dyn Observer>>) -> Self {
        Self {
            inner,
            observers: observers.into(),
        }
    }
}

/// One request under way.
struct Request {
    observers: Observers,
    tokens: Vec<usize>,
    verb: Verb,
    begun: Instant,
}

impl Request {
    fn begin(observers: &Observers, verb: Verb, path: &str) -> Self {
        let tokens = observers
            .iter()
            .map(|observer| observer.begin(verb, path))
            .collect();
        Self {
            observers: observers.clone(),
            tokens,
            verb,
            begun: Instant::now(),
        }
    }

    fn finish(self, outcome: Outcome) {
        let elapsed = self.begun.elapsed();
        for (observer, token) in self.observers.iter().zip(self.tokens) {
            observer.end(token, self.verb, outcome, elapsed);
        }
    }

    fn end<T>(self, result: Result<T>) -> Result<T> {
        self.finish(Outcome::of(&result));
        result
    }
}

fn report_sent(observers: &Observers, bytes: usize) {
    observers
        .iter()
        .for_each(|observer| observer.sent(bytes as u64));
}

fn report_received(observers: &Observers, bytes: u64) {
    observers
        .iter()
        .for_each(|observer| observer.received(bytes));
}

impl fmt::Display for ObserveStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observe({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for ObserveStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let verb = if opts.mode == PutMode::Create {
            Verb::PutIfAbsent
        } else {
            Verb::Put
        };
        let bytes = payload.content_length();
        let request = Request::begin(&self.observers, verb, location.as_ref());
        let result = request.end(self.inner.put_opts(location, payload, opts).await)?;
        report_sent(&self.observers, bytes);
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let request = Request::begin(&self.observers, Verb::MultipartCreate, location.as_ref());
        let inner = request.end(self.inner.put_multipart_opts(location, opts).await)?;
        Ok(Box::new(ObserveUpload {
            inner,
            path: location.to_string(),
            observers: self.observers.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let verb = if head { Verb::Head } else { Verb::Get };
        let request = Request::begin(&self.observers, verb, location.as_ref());
        let mut result = request.end(self.inner.get_opts(location, options).await)?;
        if !head {
            result.payload = match result.payload {
                GetResultPayload::File(file, path) => {
                    report_received(
                        &self.observers,
                        result.range.end.saturating_sub(result.range.start),
                    );
                    GetResultPayload::File(file, path)
                }
                GetResultPayload::Stream(stream) => {
                    let observers = self.observers.clone();
                    let counted = stream
                        .inspect_ok(move |bytes| report_received(&observers, bytes.len() as u64));
                    GetResultPayload::Stream(counted.boxed())
                }
            };
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let request = Request::begin(&self.observers, Verb::Get, location.as_ref());
        let pieces = request.end(self.inner.get_ranges(location, ranges).await)?;
        report_received(
            &self.observers,
            pieces.iter().map(|piece| piece.len() as u64).sum(),
        );
        Ok(pieces)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let begun = self.observers.clone();
        let locations = locations.inspect_ok(move |location| {
            // The result does not say which location it is of, so the request ends where it begins.
            Request::begin(&begun, Verb::Delete, location.as_ref()).finish(Outcome::Done);
        });
        self.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let request = Request::begin(
            &self.observers,
            Verb::List,
            prefix.map_or("", AsRef::as_ref),
        );
        observe_listing(request, self.inner.list(prefix))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let request = Request::begin(
            &self.observers,
            Verb::List,
            prefix.map_or("", AsRef::as_ref),
        );
        observe_listing(request, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let request = Request::begin(
            &self.observers,
            Verb::List,
            prefix.map_or("", AsRef::as_ref),
        );
        let result = request.end(self.inner.list_with_delimiter(prefix).await)?;
        for _ in &result.objects {
            self.observers.iter().for_each(|observer| observer.listed());
        }
        Ok(result)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let request = Request::begin(&self.observers, Verb::Copy, to.as_ref());
        request.end(self.inner.copy_opts(from, to, options).await)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let request = Request::begin(&self.observers, Verb::Copy, to.as_ref());
        request.end(self.inner.rename_opts(from, to, options).await)
    }
}

/// Ends the request at the listing's first error, or at its end.
fn observe_listing(
    request: Request,
    listing: BoxStream<'static, Result<ObjectMeta>>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let observers = request.observers.clone();
    futures::stream::unfold(
        (Some(request), listing),
        move |(mut request, mut listing)| {
            let observers = observers.clone();
            async move {
                let item = listing.next().await;
                let ended = match &item {
                    Some(Ok(_)) => None,
                    Some(failed) => Some(Outcome::of(failed)),
                    None => Some(Outcome::Done),
                };
                match ended {
                    None => observers.iter().for_each(|observer| observer.listed()),
                    Some(outcome) => request
                        .take()
                        .into_iter()
                        .for_each(|request: Request| request.finish(outcome)),
                }
                item.map(|item| (item, (request, listing)))
            }
        },
    )
    .boxed()
}

/// Reports the requests of a multipart upload.
#[derive(Debug)]
struct ObserveUpload {
    inner: Box<dyn MultipartUpload>,
    path: String,
    observers: Observers,
}

#[async_trait]
impl MultipartUpload for ObserveUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let bytes = data.content_length();
        let observers = self.observers.clone();
        let path = self.path.clone();
        let part = self.inner.put_part(data);
        Box::pin(async move {
            let request = Request::begin(&observers, Verb::MultipartPart, &path);
            request.end(part.await)?;
            report_sent(&observers, bytes);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let request = Request::begin(&self.observers, Verb::MultipartComplete, &self.path);
        request.end(self.inner.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        let request = Request::begin(&self.observers, Verb::MultipartAbort, &self.path);
        request.end(self.inner.abort().await)
    }
}
