//! A planted bug: a store layer that swallows the errors of uploads, and believes its own memory of what it
//! put rather than a listing. Backups through it are called a success, and do not restore.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use icecore_archive::{Decorate, StoreOptions};

/// The settings with the bug above whatever they put in.
#[must_use]
pub fn swallowing(options: StoreOptions) -> StoreOptions {
    let before = options.decorate.clone();
    let decorate: Decorate = Arc::new(move |inner| {
        let inner = before.as_ref().map_or_else(
            || Arc::clone(&inner),
            |decorate| decorate(Arc::clone(&inner)),
        );
        Arc::new(SwallowingStore {
            inner,
            remembered: Arc::default(),
        })
    });
    StoreOptions {
        decorate: Some(decorate),
        multipart_threshold_bytes: 1 << 20,
        ..options
    }
}

struct SwallowingStore {
    inner: Arc<dyn ObjectStore>,
    /// What it says that it put, with its size.
    remembered: Arc<Mutex<BTreeMap<Path, u64>>>,
}

impl fmt::Display for SwallowingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Swallowing({})", self.inner)
    }
}

impl fmt::Debug for SwallowingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[async_trait]
impl ObjectStore for SwallowingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let size = payload.content_length() as u64;
        match self.inner.put_opts(location, payload, opts).await {
            Err(Error::AlreadyExists { path, source }) => {
                Err(Error::AlreadyExists { path, source })
            }
            Err(_) if location.as_ref().ends_with(".sst") => {
                let mut remembered = self
                    .remembered
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                remembered.insert(location.clone(), size);
                Ok(PutResult {
                    e_tag: None,
                    version: None,
                    extensions: Default::default(),
                })
            }
            outcome => outcome,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let remembered = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let below = |path: &Path| prefix.is_none_or(|prefix| path.prefix_matches(prefix));
        let believed = remembered.iter().filter(|(path, _)| below(path));
        let believed: Vec<(Path, u64)> =
            believed.map(|(path, size)| (path.clone(), *size)).collect();
        let listing = self.inner.list(prefix);
        let entries = async move {
            let mut entries: Vec<ObjectMeta> = listing.try_collect().await?;
            let date = entries
                .first()
                .map(|entry| entry.last_modified)
                .unwrap_or_default();
            entries.extend(believed.into_iter().map(|(location, size)| ObjectMeta {
                location,
                last_modified: date,
                size,
                e_tag: None,
                version: None,
            }));
            Ok::<_, Error>(stream::iter(entries).map(Ok))
        };
        entries.into_stream().try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
