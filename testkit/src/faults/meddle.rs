//! A store at which somebody else is at work: between two requests of one, another's whole run; deletes
//! that are refused; objects that are dated by a clock of the test's; a process that dies at a request.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use icecore_archive::{Decorate, StoreOptions};
use icecore_mvcc::{Clock, ManualClock, Timestamp};

use super::hasty;

/// What happens in between.
type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Stands between a collection and its store. Clones share what they do.
#[derive(Clone, Default)]
pub struct Meddler(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    requests: u64,
    hook: Option<(u64, Hook)>,
    dies_at: Option<u64>,
    locked: Option<String>,
    dates: Option<Dates>,
}

/// When objects were written, by a clock of the test's. Clones share it; give one to every collection that
/// is opened at the place.
#[derive(Clone)]
pub struct Dates {
    clock: ManualClock,
    written: Arc<Mutex<HashMap<Path, Timestamp>>>,
}

impl Dates {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(clock: &ManualClock) -> Self {
        Self {
            clock: clock.clone(),
            written: Arc::default(),
        }
    }

    /// An object that was written past the collections is of now.
    pub fn note(&self, path: &Path) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert(path.clone(), self.clock.now());
    }

    /// The same object, with the date that it has here.
    fn dated(&self, mut object: ObjectMeta) -> ObjectMeta {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = written.get(&object.location).copied().unwrap_or_default();
        let nanos = object.last_modified.timestamp_nanos_opt().unwrap_or(0);
        let nanos = u64::try_from(nanos).unwrap_or(0);
        let ahead = Duration::from_nanos(wanted.nanos().saturating_sub(nanos));
        let behind = Duration::from_nanos(nanos.saturating_sub(wanted.nanos()));
        object.last_modified = object.last_modified + ahead - behind;
        object
    }
}

impl Meddler {
    /// Lets everything pass.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Before that request, counted from zero, this runs to its end.
    #[must_use]
    pub fn meanwhile(
        self,
        request: u64,
        hook: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Self {
        self.state().hook = Some((request, Box::new(hook)));
        self
    }

    /// From that request on every one fails, and does nothing.
    #[must_use]
    pub fn dying_at(self, request: u64) -> Self {
        self.state().dies_at = Some(request);
        self
    }

    /// Refuses to delete what has this in its path.
    #[must_use]
    pub fn locking(self, part: &str) -> Self {
        self.state().locked = Some(part.to_owned());
        self
    }

    /// Dates objects.
    #[must_use]
    pub fn dating(self, dates: &Dates) -> Self {
        self.state().dates = Some(dates.clone());
        self
    }

    /// Requests so far.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state().requests
    }

    /// Puts it underneath a collection opened with these settings.
    #[must_use]
    pub fn within(&self, options: StoreOptions) -> StoreOptions {
        let meddler = self.clone();
        let decorate: Decorate = Arc::new(move |inner| {
            Arc::new(MeddledStore {
                inner,
                meddler: meddler.clone(),
            })
        });
        StoreOptions {
            decorate: Some(decorate),
            retry: hasty(),
            ..options
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before each request.
    async fn begin(&self) -> Result<()> {
        let (hook, dies) = {
            let mut state = self.state();
            let number = state.requests;
            state.requests += 1;
            let hook = state.hook.take_if(|(at, _)| *at == number);
            (hook, state.dies_at.is_some_and(|at| number >= at))
        };
        if let Some((_, hook)) = hook {
            hook().await;
        }
        match dies {
            true => Err(refused("the process is dead")),
            false => Ok(()),
        }
    }

    fn note(&self, path: &Path) {
        let dates = self.state().dates.clone();
        if let Some(dates) = dates {
            dates.note(path);
        }
    }

    fn is_locked(&self, path: &Path) -> bool {
        let locked = self.state().locked.clone();
        locked.is_some_and(|part| path.as_ref().contains(&part))
    }

    fn dated(&self, object: ObjectMeta) -> ObjectMeta {
        let dates = self.state().dates.clone();
        match dates {
            Some(dates) => dates.dated(object),
            None => object,
        }
    }
}

/// No retry mends it.
fn refused(why: &'static str) -> Error {
    Error::NotSupported { source: why.into() }
}

struct MeddledStore {
    inner: Arc<dyn ObjectStore>,
    meddler: Meddler,
}

impl fmt::Display for MeddledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meddled({})", self.inner)
    }
}

impl fmt::Debug for MeddledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[async_trait]
impl ObjectStore for MeddledStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.meddler.begin().await?;
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.meddler.note(location);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.meddler.begin().await?;
        self.meddler.note(location);
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meddler.begin().await?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, meddler) = (Arc::clone(&self.inner), self.meddler.clone());
        let deleted = locations.then(move |location| {
            let (inner, meddler) = (Arc::clone(&inner), meddler.clone());
            async move {
                let location = location?;
                meddler.begin().await?;
                if meddler.is_locked(&location) {
                    return Err(refused("the object is locked"));
                }
                let one = stream::once(async { Ok(location) }).boxed();
                let mut outcome = inner.delete_stream(one);
                let none = || refused("the store did not answer");
                outcome.next().await.ok_or_else(none)?
            }
        });
        deleted.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, meddler) = (Arc::clone(&self.inner), self.meddler.clone());
        let prefix = prefix.cloned();
        let begun = async move {
            meddler.begin().await?;
            let listed = inner.list(prefix.as_ref());
            Ok::<_, Error>(listed.map_ok(move |object| meddler.dated(object)))
        };
        stream::once(begun).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meddler.begin().await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.meddler.begin().await?;
        self.inner.copy_opts(from, to, options).await
    }
}
