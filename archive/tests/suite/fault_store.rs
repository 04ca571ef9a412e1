//! A store that fails on request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use icecore_archive::StoreOptions;
use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{
    self, CopyOptions, Error as StoreError, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, RenameOptions, UploadPart,
};

use crate::common::decorated;

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It fails, and nothing was done.
    Before,
    /// It is done, and fails.
    After,
    /// It fails in a way that no retry mends, and nothing was done.
    Broken,
    /// A put stores the first half, and fails.
    Torn,
    /// A put stores the first half, and succeeds.
    SilentlyTorn,
    /// A read gives one byte changed.
    Flipped,
    /// A read ends early.
    Short,
}

/// Which fault a request meets, by its verb, its path and its number from zero.
pub(crate) type Choose = Arc<dyn Fn(&str, &str, u64) -> Fault + Send + Sync>;

/// A store that fails on request.
pub(crate) struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    choose: Choose,
    requests: Arc<AtomicU64>,
}

impl FaultStore {
    /// Options that put one in. The number of requests so far is shared.
    pub(crate) fn options(
        choose: impl Fn(&str, &str, u64) -> Fault + Send + Sync + 'static,
    ) -> (StoreOptions, Arc<AtomicU64>) {
        let (choose, requests): (Choose, _) = (Arc::new(choose), Arc::new(AtomicU64::new(0)));
        let counter = requests.clone();
        let options = decorated(move |inner| {
            Arc::new(Self {
                inner,
                choose: choose.clone(),
                requests: requests.clone(),
            })
        });
        (options, counter)
    }

    fn fault(&self, verb: &str, path: &str) -> Fault {
        (self.choose)(verb, path, self.requests.fetch_add(1, Ordering::SeqCst))
    }
}

fn unavailable<T>() -> object_store::Result<T> {
    Err(StoreError::Generic {
        store: "fault",
        source: "injected".into(),
    })
}

fn broken<T>() -> object_store::Result<T> {
    Err(StoreError::NotSupported {
        source: "injected for good".into(),
    })
}

/// A result under a fault that comes before or after.
async fn under<T>(
    fault: Fault,
    request: impl Future<Output = object_store::Result<T>>,
) -> object_store::Result<T> {
    match fault {
        Fault::Before => unavailable(),
        Fault::Broken => broken(),
        Fault::After => {
            request.await?;
            unavailable()
        }
        _ => request.await,
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.inner)
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> object_store::Result<PutResult> {
        let fault = self.fault("put", location.as_ref());
        if matches!(fault, Fault::Torn | Fault::SilentlyTorn) {
            let whole = Bytes::from(payload);
            let half = whole.slice(..whole.len() / 2);
            let put = self.inner.put_opts(location, half.into(), opts).await?;
            return if fault == Fault::Torn {
                unavailable()
            } else {
                Ok(put)
            };
        }
        under(fault, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let fault = self.fault("multipart-create", location.as_ref());
        let inner = under(fault, self.inner.put_multipart_opts(location, opts)).await?;
        let (choose, requests) = (self.choose.clone(), self.requests.clone());
        Ok(Box::new(FaultUpload {
            inner,
            path: location.to_string(),
            choose,
            requests,
        }))
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let fault = self.fault(if options.head { "head" } else { "get" }, location.as_ref());
        let mut result = under(fault, self.inner.get_opts(location, options)).await?;
        if matches!(fault, Fault::Flipped | Fault::Short) {
            let (meta, range, attributes, extensions) = (
                result.meta.clone(),
                result.range.clone(),
                result.attributes.clone(),
                result.extensions.clone(),
            );
            let mut bytes = result.bytes().await?.to_vec();
            if fault == Fault::Flipped {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            } else {
                bytes.pop();
            }
            let stream = futures::stream::once(async move { Ok(Bytes::from(bytes)) }).boxed();
            result = GetResult {
                payload: GetResultPayload::Stream(stream),
                meta,
                range,
                attributes,
                extensions,
            };
        }
        Ok(result)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.fault("list", prefix.map_or("", AsRef::as_ref)) {
            Fault::Before | Fault::After => futures::stream::once(async { unavailable() }).boxed(),
            Fault::Broken => futures::stream::once(async { broken() }).boxed(),
            _ => self.inner.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        under(
            self.fault("list", prefix.map_or("", AsRef::as_ref)),
            self.inner.list_with_delimiter(prefix),
        )
        .await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        under(
            self.fault("copy", to.as_ref()),
            self.inner.copy_opts(from, to, options),
        )
        .await
    }

    async fn rename_opts(
        &self,
        from: &Path,
        to: &Path,
        options: RenameOptions,
    ) -> object_store::Result<()> {
        under(
            self.fault("copy", to.as_ref()),
            self.inner.rename_opts(from, to, options),
        )
        .await
    }
}

struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    path: String,
    choose: Choose,
    requests: Arc<AtomicU64>,
}

impl FaultUpload {
    fn fault(&self, verb: &str) -> Fault {
        (self.choose)(
            verb,
            &self.path,
            self.requests.fetch_add(1, Ordering::SeqCst),
        )
    }
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultUpload({})", self.path)
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let fault = self.fault("multipart-part");
        let part = self.inner.put_part(data);
        Box::pin(under(fault, part))
    }

    async fn complete(&mut self) -> object_store::Result<PutResult> {
        let fault = self.fault("multipart-complete");
        under(fault, self.inner.complete()).await
    }

    async fn abort(&mut self) -> object_store::Result<()> {
        let fault = self.fault("multipart-abort");
        under(fault, self.inner.abort()).await
    }
}
