//! What the clients of all stores in a network share: TLS, time-outs, retries, the prefix.
//!
//! A client itself retries twice, which lets it go on inside a listing or a download where it was;
//! everything else is [`super::retry`]'s.

use std::sync::Arc;

use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::settings::{Key, Settings};
use super::transient::{Redactor, one_line};
use super::{azure, gcs, s3};
use crate::error::{Error, Result};
use crate::options::{MIN_PART_BYTES, StoreOptions};
use crate::uri::{Parameters, Service, check_endpoint};

/// Retries within the client, below those of the decorator.
const CLIENT_RETRIES: usize = 2;

/// A bucket and what its messages call it.
pub(super) struct Bucket<'a> {
    pub(super) location: &'a str,
    pub(super) name: &'a str,
    pub(super) prefix: &'a str,
}

/// Opens a bucket, below its prefix, and tells what its errors must not show. Sends nothing yet.
pub(super) fn open(
    service: Service,
    bucket: &Bucket<'_>,
    parameters: &Parameters,
    options: &StoreOptions,
) -> Result<(Arc<dyn ObjectStore>, Redactor)> {
    match service {
        Service::S3 => {
            let settings = s3::settings(parameters);
            Ok((s3::open(bucket, &settings, options)?, settings.redactor()))
        }
        Service::Azure => {
            let settings = azure::settings(parameters);
            Ok((
                azure::open(bucket, &settings, options)?,
                settings.redactor(),
            ))
        }
        Service::Gcs => {
            let settings = gcs::settings(parameters).map_err(|reason| bucket.invalid(reason))?;
            Ok((gcs::open(bucket, &settings, options)?, settings.redactor()))
        }
    }
}

impl Bucket<'_> {
    pub(super) fn invalid(&self, reason: String) -> Error {
        Error::InvalidUri {
            uri: self.location.to_owned(),
            reason,
        }
    }

    /// Why a client could not be built.
    pub(super) fn failed<K: Key>(
        &self,
        settings: &Settings<K>,
        error: &object_store::Error,
    ) -> Error {
        self.invalid(settings.redactor().clean(&one_line(error)))
    }

    /// The store below the prefix.
    pub(super) fn below(&self, store: impl ObjectStore) -> Arc<dyn ObjectStore> {
        if self.prefix.is_empty() {
            Arc::new(store)
        } else {
            Arc::new(PrefixStore::new(store, Path::from(self.prefix)))
        }
    }

    /// Whether the endpoint, if one is given, is reached without TLS.
    pub(super) fn plain_http(&self, service: Service, endpoint: Option<&str>) -> Result<bool> {
        let Some(endpoint) = endpoint else {
            return Ok(false);
        };
        check_endpoint(service.endpoint(), endpoint).map_err(|reason| self.invalid(reason))?;
        Ok(endpoint.starts_with("http://"))
    }
}

/// The options of a client: what the environment says of them first, then what is ours to say.
pub(super) fn client<K: Key>(
    settings: &Settings<K>,
    plain_http: bool,
    options: &StoreOptions,
) -> Result<ClientOptions> {
    // Chooses ring for TLS, unless the process has chosen already: that is what an error says.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = ClientOptions::new();
    for (key, value) in settings.of_the_connection()? {
        client = client.with_config(key, value);
    }
    Ok(client
        .with_allow_http(plain_http)
        .with_timeout_disabled()
        .with_read_timeout(options.request_timeout))
}

pub(super) fn retry(options: &StoreOptions) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: options.retry.initial_backoff,
            max_backoff: options.retry.max_backoff,
            base: 2.0,
        },
        max_retries: CLIENT_RETRIES,
        retry_timeout: options.request_timeout,
    }
}

/// Refuses parts that a service would not take.
pub(super) fn check_parts(service: &str, options: &StoreOptions) -> Result<()> {
    if options.part_bytes >= MIN_PART_BYTES {
        return Ok(());
    }
    let reason = format!(
        "part_bytes is {}, {service} takes no less than {MIN_PART_BYTES}",
        options.part_bytes
    );
    Err(Error::InvalidOptions { reason })
}
