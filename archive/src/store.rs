//! The store beneath a collection, and the one stack of decorators that every request goes through.
//!
//! From the caller down: [`retry`] tries again what may pass; [`limit`] bounds requests under way and per
//! second; [`observe`] reports each request that is really made to the counters ([`count`]), the metrics
//! ([`metrics`]) and, if wanted, the operation log ([`log`]); then what
//! [`StoreOptions::decorate`] puts in; then the store itself ([`mod@file`], [`memory`], or
//! through [`cloud`] one of [`s3`], [`azure`], [`gcs`]), whose root is the collection's.
//!
//! [`objects`] is what the rest of the crate uses: whole objects, put once, read bounded, and errors of
//! this crate.

mod azure;
mod cloud;
mod count;
mod file;
mod gcs;
mod limit;
mod log;
mod memory;
mod metrics;
mod objects;
mod observe;
mod retry;
mod s3;
mod settings;
mod transient;

use std::sync::Arc;

use object_store::ObjectStore;

pub use count::RequestCounts;
pub use log::{Operation, OperationLog};
pub use observe::{Outcome, Verb};

pub(crate) use count::Counters;
pub(crate) use file::sync_dir;
pub(crate) use objects::{PutOnce, Store};
pub(crate) use retry::{no_answer, pause};
pub(crate) use s3::AwsAccess;
pub(crate) use transient::{Redactor, is_transient};

use crate::error::Result;
use crate::options::StoreOptions;
use crate::uri::{CollectionUri, Target};

/// Whether a missing local directory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Root {
    MustExist,
    MayBeCreated,
}

/// Builds the store of a URI and everything around it. What is asked of it is added to the counts.
pub(crate) fn open(
    uri: &CollectionUri,
    options: &StoreOptions,
    root: Root,
    counts: Arc<Counters>,
) -> Result<Store> {
    options.validate()?;
    let location = uri.place();
    let mut redactor = Redactor::default();
    let bare: Arc<dyn ObjectStore> = match &uri.target {
        Target::File { root: path, .. } => file::open(path, &location, root)?,
        Target::Memory { name, prefix } => memory::open(name, prefix),
        Target::Bucket {
            service,
            bucket,
            prefix,
            parameters,
        } => {
            let bucket = cloud::Bucket {
                location: &location,
                name: bucket,
                prefix,
            };
            let (store, secrets) = cloud::open(*service, &bucket, parameters, options)?;
            redactor = secrets;
            store
        }
    };
    let decorated = match &options.decorate {
        Some(decorate) => decorate(bare),
        None => bare,
    };
    let mut observers: Vec<Arc<dyn observe::Observer>> =
        vec![counts.clone(), Arc::new(metrics::Metrics)];
    observers.extend(
        options
            .log
            .iter()
            .map(|log| Arc::new(log.clone()) as Arc<dyn observe::Observer>),
    );
    let observed = Arc::new(observe::ObserveStore::new(decorated, observers));
    let limited = Arc::new(limit::LimitStore::new(observed, options));
    let retried = Arc::new(retry::RetryStore::new(limited, options, redactor.clone()));
    Ok(Store::new(retried, counts, location, redactor, options))
}

#[cfg(test)]
mod tests;
