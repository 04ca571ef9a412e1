//! The decorator that tries requests again.
//!
//! What may pass is retried after a growing random wait; [`RetryOptions`] says how often and how long. A
//! request that takes longer than its time is given up and counts as such a failure. A listing is taken
//! whole before any of it is handed on, so that a retry neither repeats nor loses an entry.
//!
//! Not retried here: reading a download's bytes (the reader knows what it has got), and the parts and the
//! completion of a multipart upload, which cannot be repeated through this interface: S3 repeats parts by
//! the policy that is handed down, the uploader begins anew otherwise.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use object_store::client::HttpErrorKind;
use object_store::path::Path;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

use super::transient::{Redactor, is_transient, one_line};
use crate::options::{RetryOptions, StoreOptions};

/// Locations deleted in one go; S3 takes as many in one request.
const DELETE_BATCH: usize = 1000;

/// Tries requests again.
#[derive(Debug)]
pub(super) struct RetryStore {
    inner: Arc<dyn ObjectStore>,
    retrier: Retrier,
}

/// When to try again, and how long each attempt may go without an answer.
#[derive(Debug, Clone)]
struct Retrier {
    options: RetryOptions,
    timeout: Duration,
    redactor: Redactor,
}

impl RetryStore {
    pub(super) fn new(
        inner: Arc<dyn ObjectStore>,
        options: &StoreOptions,
        redactor: Redactor,
    ) -> Self {
        Self {
            inner,
            retrier: Retrier {
                options: options.retry,
                timeout: options.request_timeout,
                redactor,
            },
        }
    }

    /// Runs a request, each attempt within its time, until it succeeds or fails for good.
    async fn run<T, F>(&self, action: &'static str, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.retrier
            .run(action, || self.retrier.timed(request()))
            .await
    }
}

impl Retrier {
    /// Runs the request until it succeeds, fails for good, or has been tried often enough.
    async fn run<T, F>(&self, action: &'static str, request: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut failed = 0;
        loop {
            match request().await {
                Err(error) if is_transient(&error) => {
                    failed += 1;
                    if failed >= self.options.max_attempts.get() {
                        return Err(error);
                    }
                    pause(
                        &self.options,
                        action,
                        failed,
                        &self.redactor.clean(&one_line(&error)),
                    )
                    .await;
                }
                other => return other,
            }
        }
    }

    /// The request, or a failure that may pass if it does not answer in time.
    async fn timed<T>(&self, request: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(self.timeout, request)
            .await
            .unwrap_or_else(|_| Err(no_answer(self.timeout)))
    }

    /// A whole listing, each entry of which must come in time.
    async fn collect(
        &self,
        mut listing: BoxStream<'static, Result<ObjectMeta>>,
    ) -> Result<Vec<ObjectMeta>> {
        let mut objects = Vec::new();
        while let Some(object) = self.timed(listing.next().map(Ok)).await? {
            objects.push(object?);
        }
        Ok(objects)
    }
}

/// The failure of a request that took too long.
pub(crate) fn no_answer(timeout: Duration) -> Error {
    Error::Generic {
        store: "timeout",
        source: format!("no answer within {timeout:?}").into(),
    }
}

/// Waits before the next attempt, and says so. The reason must be redacted.
pub(crate) async fn pause(options: &RetryOptions, action: &'static str, failed: u32, reason: &str) {
    let wait = options.backoff(failed, rand::random());
    tracing::warn!(
        action,
        failed,
        wait_ms = wait.as_millis(),
        reason,
        "trying a request to the store again"
    );
    metrics::counter!("icecore_archive_retries_total", "action" => action).increment(1);
    tokio::time::sleep(wait).await;
}

/// Repeats parts of multipart uploads on S3.
#[derive(Debug)]
struct PartRetries(RetryOptions);

#[async_trait]
impl RetryPolicy for PartRetries {
    async fn retry(&self, context: RetryContext) -> bool {
        let failed = u32::try_from(context.attempt).unwrap_or(u32::MAX);
        let passes = match context.failure {
            RetryFailure::Status(status) => {
                !status.is_client_error() || matches!(status.as_u16(), 408 | 429)
            }
            RetryFailure::Transport(kind) => kind != HttpErrorKind::Decode,
            _ => false,
        };
        if !passes || failed >= self.0.max_attempts.get() {
            return false;
        }
        pause(
            &self.0,
            "send part",
            failed,
            "the store failed or could not be reached",
        )
        .await;
        true
    }
}

impl fmt::Display for RetryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry({})", self.inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for RetryStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.run("put", || {
            self.inner.put_opts(location, payload.clone(), opts.clone())
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let opts = opts.with_retry_policy(Arc::new(PartRetries(self.retrier.options)));
        self.run("begin upload", || {
            self.inner.put_multipart_opts(location, opts.clone())
        })
        .await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.run("get", || self.inner.get_opts(location, options.clone()))
            .await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.run("get", || self.inner.get_ranges(location, ranges))
            .await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, retrier) = (self.inner.clone(), self.retrier.clone());
        locations
            .try_chunks(DELETE_BATCH)
            .map_err(|error| error.1)
            .and_then(move |batch| {
                let (inner, retrier) = (inner.clone(), retrier.clone());
                async move {
                    retrier
                        .run("delete", || retrier.timed(delete_batch(&inner, &batch)))
                        .await?;
                    Ok(futures::stream::iter(batch.into_iter().map(Ok)))
                }
            })
            .try_flatten()
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, retrier, prefix) = (self.inner.clone(), self.retrier.clone(), prefix.cloned());
        whole(async move {
            retrier
                .run("list", || retrier.collect(inner.list(prefix.as_ref())))
                .await
        })
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, retrier, prefix, offset) = (
            self.inner.clone(),
            self.retrier.clone(),
            prefix.cloned(),
            offset.clone(),
        );
        whole(async move {
            retrier
                .run("list", || {
                    retrier.collect(inner.list_with_offset(prefix.as_ref(), &offset))
                })
                .await
        })
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.run("list", || self.inner.list_with_delimiter(prefix))
            .await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run("copy", || self.inner.copy_opts(from, to, options.clone()))
            .await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        // A rename that was lost on the way back cannot be told from one that failed.
        self.inner.rename_opts(from, to, options).await
    }
}

/// Removes the objects; one that is gone already was removed by an attempt before.
async fn delete_batch(inner: &Arc<dyn ObjectStore>, batch: &[Path]) -> Result<()> {
    let locations: Vec<_> = batch.iter().cloned().map(Ok).collect();
    let mut results = inner.delete_stream(futures::stream::iter(locations).boxed());
    while let Some(result) = results.next().await {
        match result {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A listing that arrives all at once.
fn whole(
    listing: impl Future<Output = Result<Vec<ObjectMeta>>> + Send + 'static,
) -> BoxStream<'static, Result<ObjectMeta>> {
    listing
        .map_ok(|objects| futures::stream::iter(objects.into_iter().map(Ok)))
        .into_stream()
        .try_flatten()
        .boxed()
}
