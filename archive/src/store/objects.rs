//! Whole objects: put once, read bounded, listed; with errors of this crate.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Error as StoreError, GetOptions, GetResult, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload,
};

use super::count::{Counters, RequestCounts};
use super::transient::{Redactor, is_transient, one_line};
use super::{no_answer, pause};
use crate::error::{Error, Result};
use crate::options::{RetryOptions, StoreOptions};

/// How putting an object once ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PutOnce {
    /// It is there, with these bytes: put now, or by an attempt whose acknowledgement was lost.
    Stored,
    /// Something else is there.
    Conflict(Bytes),
}

/// A collection's store beneath all its decorators, and what is needed to speak of it.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    counts: Arc<Counters>,
    location: Arc<str>,
    redactor: Redactor,
    retry: RetryOptions,
    timeout: Duration,
}

impl Store {
    pub(super) fn new(
        objects: Arc<dyn ObjectStore>,
        counts: Arc<Counters>,
        location: String,
        redactor: Redactor,
        options: &StoreOptions,
    ) -> Self {
        let (retry, timeout) = (options.retry, options.request_timeout);
        Self {
            objects,
            counts,
            location: location.into(),
            redactor,
            retry,
            timeout,
        }
    }

    /// The store itself: for what needs more than whole objects.
    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// Where the collection lies, without credentials.
    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    /// The requests made so far.
    pub(crate) fn counts(&self) -> RequestCounts {
        self.counts.snapshot()
    }

    /// How requests are tried again.
    pub(crate) const fn retry(&self) -> &RetryOptions {
        &self.retry
    }

    /// A failure of the store as an error of this crate.
    pub(crate) fn error(&self, action: &'static str, path: &Path, error: &StoreError) -> Error {
        let (path, location) = (path.to_string(), self.location.to_string());
        let reason = self.reason(error);
        match error {
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
                Error::AccessDenied {
                    action,
                    path,
                    location,
                    reason,
                }
            }
            error if is_transient(error) => Error::StoreUnavailable {
                action,
                path,
                location,
                attempts: self.retry.max_attempts.get(),
                reason,
            },
            _ => Error::Store {
                action,
                path,
                location,
                reason,
            },
        }
    }

    /// Why the store failed, in one line without secrets.
    pub(crate) fn reason(&self, error: &StoreError) -> String {
        self.redactor.clean(&one_line(error))
    }

    /// Waits before another attempt at something that the decorators do not retry.
    pub(crate) async fn pause(&self, action: &'static str, failed: u32, reason: &str) {
        pause(&self.retry, action, failed, reason).await;
    }

    /// Puts an object that is written once.
    ///
    /// An object of the same bytes counts as put: an earlier attempt's answer was lost. Nothing is ever
    /// overwritten.
    pub(crate) async fn put_once(
        &self,
        path: &Path,
        bytes: Bytes,
        limit_bytes: u64,
    ) -> Result<PutOnce> {
        let mut failed = 0;
        loop {
            let options = PutOptions::from(PutMode::Create);
            match self
                .objects
                .put_opts(path, PutPayload::from(bytes.clone()), options)
                .await
            {
                Ok(_) => return Ok(PutOnce::Stored),
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => return Err(self.error("write", path, &error)),
            }
            if let Some(outcome) = self.compare(path, &bytes, limit_bytes).await? {
                return Ok(outcome);
            }
            // S3 says so too when another put of the same object is under way, which then may fail.
            failed += 1;
            if failed >= self.retry.max_attempts.get() {
                return Err(Error::Store {
                    action: "write",
                    path: path.to_string(),
                    location: self.location.to_string(),
                    reason: "the store says both that it exists and that it does not".to_owned(),
                });
            }
            let reason = "another put of the same object was under way";
            self.pause("write", failed, reason).await;
        }
    }

    /// Whether the object that is there is the one that was to be put; `None` if there is none after all.
    async fn compare(
        &self,
        path: &Path,
        bytes: &Bytes,
        limit_bytes: u64,
    ) -> Result<Option<PutOnce>> {
        let mut other = None;
        // Twice before it is called a conflict: the first read may have been damaged.
        for _ in 0..2 {
            match self.get(path, limit_bytes).await? {
                Some(found) if found == *bytes => return Ok(Some(PutOnce::Stored)),
                found => other = found,
            }
        }
        Ok(other.map(PutOnce::Conflict))
    }

    /// Puts an object that no one else could have put with other bytes.
    ///
    /// # Errors
    /// [`Error::WriteConflict`] if someone did.
    pub(crate) async fn put_mine(&self, path: &Path, bytes: Bytes, limit_bytes: u64) -> Result<()> {
        match self.put_once(path, bytes, limit_bytes).await? {
            PutOnce::Stored => Ok(()),
            PutOnce::Conflict(_) => Err(Error::WriteConflict {
                path: path.to_string(),
                location: self.location.to_string(),
            }),
        }
    }

    /// Removes an object; one that is not there is removed.
    pub(crate) async fn remove(&self, path: &Path) -> Result<()> {
        match self.objects.delete(path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("remove", path, &error)),
        }
    }

    /// Reads an object whole; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if it exceeds the limit; no more than that is ever held.
    pub(crate) async fn get(&self, path: &Path, limit_bytes: u64) -> Result<Option<Bytes>> {
        let whole = self.get_with(path, GetOptions::default(), limit_bytes);
        Ok(whole.await?.map(|(bytes, _)| bytes))
    }

    /// Reads a part of an object, with the size of the whole; `None` if there is none.
    pub(crate) async fn get_range(
        &self,
        path: &Path,
        range: Range<u64>,
    ) -> Result<Option<(Bytes, u64)>> {
        let bytes = range.end.saturating_sub(range.start);
        let options = GetOptions {
            range: Some(range.into()),
            ..GetOptions::default()
        };
        self.get_with(path, options, bytes).await
    }

    /// What was asked for, and the size of the object.
    async fn get_with(
        &self,
        path: &Path,
        options: GetOptions,
        limit_bytes: u64,
    ) -> Result<Option<(Bytes, u64)>> {
        let too_large = || Error::TooLarge {
            path: path.to_string(),
            limit_bytes,
        };
        let mut failed = 0;
        loop {
            let result = match self.objects.get_opts(path, options.clone()).await {
                Ok(result) => result,
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(self.error("read", path, &error)),
            };
            let size = result.meta.size;
            if result.range.end.saturating_sub(result.range.start) > limit_bytes {
                return Err(too_large());
            }
            match self.collect(result, limit_bytes).await {
                Ok(Some(bytes)) => return Ok(Some((bytes, size))),
                Ok(None) => return Err(too_large()),
                Err(error) => {
                    failed += 1;
                    if !is_transient(&error) || failed >= self.retry.max_attempts.get() {
                        return Err(self.error("read", path, &error));
                    }
                    self.pause("read", failed, &self.reason(&error)).await;
                }
            }
        }
    }

    /// Reads an object whole and makes sense of it; `None` if there is none.
    ///
    /// What makes no sense is read once more, in case it was the way that was at fault.
    pub(crate) async fn read<T>(
        &self,
        path: &Path,
        limit_bytes: u64,
        parse: impl Fn(&[u8]) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(content) = self.get(path, limit_bytes).await? else {
            return Ok(None);
        };
        match parse(&content) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(error) => {
                tracing::warn!(%path, %error, "an object makes no sense, reading it again");
                let again = self.get(path, limit_bytes).await?;
                again.map(|content| parse(&content)).transpose()
            }
        }
    }

    /// The bytes of a download; `None` if there are more than the limit.
    async fn collect(
        &self,
        result: GetResult,
        limit_bytes: u64,
    ) -> Result<Option<Bytes>, StoreError> {
        let expected = result.range.end.saturating_sub(result.range.start);
        let mut stream = result.into_stream();
        let mut bytes = BytesMut::new();
        while let Some(piece) = self.next_piece(&mut stream).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit_bytes {
                return Ok(None);
            }
        }
        if (bytes.len() as u64) < expected {
            let reason = format!(
                "the download ended after {} of {expected} bytes",
                bytes.len()
            );
            return Err(StoreError::Generic {
                store: "download",
                source: reason.into(),
            });
        }
        Ok(Some(bytes.freeze()))
    }

    /// The next piece of a download, which must come within the request's time.
    pub(crate) async fn next_piece(
        &self,
        stream: &mut (impl futures::Stream<Item = Result<Bytes, StoreError>> + Unpin + Send),
    ) -> Result<Option<Bytes>, StoreError> {
        match tokio::time::timeout(self.timeout, stream.next()).await {
            Ok(piece) => piece.transpose(),
            Err(_) => Err(no_answer(self.timeout)),
        }
    }

    /// An object's size in bytes; `None` if there is none.
    pub(crate) async fn size(&self, path: &Path) -> Result<Option<u64>> {
        match self.objects.head(path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("look for", path, &error)),
        }
    }

    /// Everything below a prefix, by path.
    pub(crate) async fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>> {
        let listing = self
            .objects
            .list(Some(prefix))
            .try_collect::<Vec<_>>()
            .await;
        let mut objects = listing.map_err(|error| self.error("list", prefix, &error))?;
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        objects.dedup_by(|a, b| a.location == b.location);
        Ok(objects)
    }
}
