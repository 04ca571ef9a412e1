//! A store to whose requests things happen.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use icecore_archive::{Decorate, StoreOptions};

use super::fuse::hasty;
use super::mode::{Kind, Mode};

/// How long a request may go without an answer; those that do not time out do not take that long.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(25);

/// The same where so many time out that a few more do not matter.
const RANDOM_TIMEOUT: Duration = Duration::from_millis(5);

/// When something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// To that one, counted from zero, of the requests that the mode applies to.
    Only(u64, Mode),
    /// To that one and every later one of those.
    From(u64, Mode),
    /// To each with this chance in a thousand, drawn with this seed; of the modes that apply any.
    Random {
        /// The seed.
        seed: u64,
        /// Of a thousand requests so many fail.
        per_mille: u64,
    },
}

/// Does things to requests. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Chaos(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    strike: Strike,
    requests: AtomicU64,
    struck: AtomicU64,
    written: Mutex<HashSet<Path>>,
}

impl Chaos {
    /// One that has done nothing yet.
    #[must_use]
    pub fn new(strike: Strike) -> Self {
        Self(Arc::new(Shared {
            strike,
            requests: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            written: Mutex::default(),
        }))
    }

    /// How often something happened.
    #[must_use]
    pub fn struck(&self) -> u64 {
        self.0.struck.load(Ordering::SeqCst)
    }

    /// Puts it underneath a collection opened with these settings, which retries in haste, gives requests
    /// little time, and uploads small files in parts.
    #[must_use]
    pub fn within(&self, options: StoreOptions) -> StoreOptions {
        let chaos = self.clone();
        let before = options.decorate.clone();
        let decorate: Decorate = Arc::new(move |inner| {
            let chaotic: Arc<dyn ObjectStore> = Arc::new(ChaoticStore {
                inner,
                chaos: chaos.clone(),
            });
            match &before {
                Some(decorate) => decorate(chaotic),
                None => chaotic,
            }
        });
        StoreOptions {
            decorate: Some(decorate),
            retry: hasty(),
            request_timeout: match self.0.strike {
                Strike::Only(..) | Strike::From(..) => REQUEST_TIMEOUT,
                Strike::Random { .. } => RANDOM_TIMEOUT,
            },
            multipart_threshold_bytes: 1 << 10,
            part_bytes: 1 << 10,
            ..options
        }
    }

    /// What happens to the next request, if anything.
    fn next(&self, kind: Kind) -> Option<Mode> {
        let mode = match self.0.strike {
            Strike::Only(at, mode) => {
                let is_due =
                    mode.applies_to(kind) && self.0.requests.fetch_add(1, Ordering::SeqCst) == at;
                is_due.then_some(mode)
            }
            Strike::From(from, mode) => {
                let is_due =
                    mode.applies_to(kind) && self.0.requests.fetch_add(1, Ordering::SeqCst) >= from;
                is_due.then_some(mode)
            }
            Strike::Random { seed, per_mille } => {
                let number = self.0.requests.fetch_add(1, Ordering::SeqCst);
                let drawn = mix(seed ^ mix(number));
                let modes = Mode::ALL.into_iter().filter(|mode| mode.applies_to(kind));
                let modes: Vec<Mode> = modes.collect();
                let chosen = (drawn >> 32) as usize % modes.len().max(1);
                (drawn % 1_000 < per_mille)
                    .then(|| modes.get(chosen).copied())
                    .flatten()
            }
        };
        if mode.is_some() {
            self.0.struck.fetch_add(1, Ordering::SeqCst);
        }
        mode
    }

    fn wrote(&self, path: &Path) {
        let mut written = self
            .0
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        written.insert(path.clone());
    }

    fn is_new(&self, path: &Path) -> bool {
        let written = self
            .0
            .written
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        written.contains(path)
    }

    /// A request that has no content which could be changed.
    async fn run<T>(&self, kind: Kind, request: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next(kind) {
            None => request.await,
            Some(Mode::TimesOut) => std::future::pending().await,
            Some(mode @ Mode::FailsAfter) => {
                request.await?;
                Err(mode.error())
            }
            Some(mode) => Err(mode.error()),
        }
    }

    fn entries(&self, entries: Vec<ObjectMeta>, mode: Option<Mode>) -> Vec<ObjectMeta> {
        match mode {
            Some(Mode::ListsTwice) => entries.iter().chain(&entries).cloned().collect(),
            Some(Mode::ListsStale) => {
                let old = entries.into_iter();
                old.filter(|entry| !self.is_new(&entry.location)).collect()
            }
            _ => entries,
        }
    }
}

/// The finalizer of SplitMix64.
const fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

struct ChaoticStore {
    inner: Arc<dyn ObjectStore>,
    chaos: Chaos,
}

impl fmt::Display for ChaoticStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chaotic({})", self.inner)
    }
}

impl fmt::Debug for ChaoticStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[async_trait]
impl ObjectStore for ChaoticStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.chaos.wrote(location);
        let mode = self.chaos.next(Kind::Write);
        let put = |payload| self.inner.put_opts(location, payload, opts.clone());
        match mode {
            None => put(payload).await,
            Some(Mode::TimesOut) => std::future::pending().await,
            Some(mode @ Mode::FailsAfter) => {
                put(payload).await?;
                Err(mode.error())
            }
            Some(mode @ Mode::TearsUpload) => {
                let whole = bytes::Bytes::from(payload);
                put(whole.slice(..whole.len() / 2).into()).await?;
                Err(mode.error())
            }
            Some(mode) => Err(mode.error()),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.chaos.wrote(location);
        let request = self.inner.put_multipart_opts(location, opts);
        let inner = self.chaos.run(Kind::Write, request).await?;
        Ok(Box::new(ChaoticUpload {
            inner,
            chaos: self.chaos.clone(),
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let is_head = options.head;
        let request = self.inner.get_opts(location, options);
        let mode = match self.chaos.next(Kind::Read) {
            None => return request.await,
            Some(Mode::TimesOut) => return std::future::pending().await,
            Some(mode) => mode,
        };
        if !matches!(
            mode,
            Mode::FailsAfter | Mode::ShortensRead | Mode::FlipsRead
        ) {
            return Err(mode.error());
        }
        let found = request.await?;
        if is_head {
            // It has no content to be damaged.
            return Err(Mode::FailsAfter.error());
        }
        damage(found, mode).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, chaos) = (Arc::clone(&self.inner), self.chaos.clone());
        let one = move |location: Result<Path>| {
            let (inner, chaos) = (Arc::clone(&inner), chaos.clone());
            async move {
                let location = location?;
                let deletion = inner.delete_stream(stream::iter([Ok(location)]).boxed());
                let request = async { deletion.try_collect::<Vec<_>>().await };
                let mut deleted = chaos.run(Kind::Delete, request).await?;
                deleted.pop().ok_or_else(|| Mode::FailsAfter.error())
            }
        };
        locations.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let mode = self.chaos.next(Kind::List);
        match mode {
            Some(Mode::TimesOut) => return stream::pending().boxed(),
            None | Some(Mode::ListsStale | Mode::ListsTwice) => {}
            Some(mode) => return stream::once(async move { Err(mode.error()) }).boxed(),
        }
        let (listing, chaos) = (self.inner.list(prefix), self.chaos.clone());
        let entries = async move {
            let entries: Vec<ObjectMeta> = listing.try_collect().await?;
            let entries = chaos.entries(entries, mode);
            Ok::<_, icecore_archive::object_store::Error>(stream::iter(entries).map(Ok))
        };
        entries.into_stream().try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let request = self.inner.list_with_delimiter(prefix);
        self.chaos.run(Kind::List, request).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.chaos.wrote(to);
        let request = self.inner.copy_opts(from, to, options);
        self.chaos.run(Kind::Write, request).await
    }
}

/// The download with what happens to it.
async fn damage(found: GetResult, mode: Mode) -> Result<GetResult> {
    let (meta, range) = (found.meta.clone(), found.range.clone());
    let (attributes, extensions) = (found.attributes.clone(), found.extensions.clone());
    let mut content = found.bytes().await?.to_vec();
    let half = content.len() / 2;
    let mut pieces = Vec::new();
    match mode {
        Mode::FlipsRead => {
            if let Some(byte) = content.get_mut(half) {
                *byte ^= 1 << (range.end % 8);
            }
            pieces.push(Ok(content.into()));
        }
        Mode::ShortensRead => {
            content.truncate(half);
            pieces.push(Ok(content.into()));
        }
        _ => {
            content.truncate(half);
            pieces.push(Ok(content.into()));
            pieces.push(Err(mode.error()));
        }
    }
    Ok(GetResult {
        payload: GetResultPayload::Stream(stream::iter(pieces).boxed()),
        meta,
        range,
        attributes,
        extensions,
    })
}

struct ChaoticUpload {
    inner: Box<dyn MultipartUpload>,
    chaos: Chaos,
}

impl fmt::Debug for ChaoticUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChaoticUpload")
    }
}

#[async_trait]
impl MultipartUpload for ChaoticUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, chaos) = (self.inner.put_part(data), self.chaos.clone());
        async move { chaos.run(Kind::Write, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.chaos.run(Kind::Write, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.chaos.run(Kind::Write, self.inner.abort()).await
    }
}
