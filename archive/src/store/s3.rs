//! `s3://`: Amazon S3 and what speaks its protocol.
//!
//! Objects that are written once are put with `If-None-Match: *`. The client itself retries twice, which
//! lets it go on inside a listing or a download where it was; everything else is [`super::retry`]'s.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::error::{Error, Result};
use crate::options::{MIN_PART_BYTES, StoreOptions};
use crate::uri::{S3Parameters, check_endpoint};

/// Retries within the client, below those of the decorator.
const CLIENT_RETRIES: usize = 2;

/// Environment variables that say who is asking. Left out where the URI says it.
const IDENTITY_KEYS: [AmazonS3ConfigKey; 9] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::SecretAccessKey,
    AmazonS3ConfigKey::Token,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::RoleArn,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
    AmazonS3ConfigKey::ContainerAuthorizationTokenFile,
    AmazonS3ConfigKey::SkipSignature,
];

/// The client's settings, from the environment and the URI.
pub(super) struct Credentials(Vec<(AmazonS3ConfigKey, String)>);

impl Credentials {
    /// The settings of the environment, overridden by those of the URI.
    pub(super) fn find(parameters: &S3Parameters) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::combine(parameters, environment)
    }

    fn combine(
        parameters: &S3Parameters,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut settings: Vec<(AmazonS3ConfigKey, String)> = environment
            .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
            .filter(|(key, _)| parameters.access_key_id.is_none() || !IDENTITY_KEYS.contains(key))
            .filter(|(key, _)| {
                parameters.endpoint.is_none() || *key != AmazonS3ConfigKey::S3Endpoint
            })
            .collect();
        let given = [
            (AmazonS3ConfigKey::AccessKeyId, &parameters.access_key_id),
            (
                AmazonS3ConfigKey::SecretAccessKey,
                &parameters.secret_access_key,
            ),
            (AmazonS3ConfigKey::Token, &parameters.session_token),
            (AmazonS3ConfigKey::Region, &parameters.region),
            (AmazonS3ConfigKey::Endpoint, &parameters.endpoint),
        ];
        // Later settings win in the builder.
        settings.extend(
            given
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.clone()?))),
        );
        Self(settings)
    }

    /// What must never be printed.
    pub(super) fn secrets(&self) -> Vec<String> {
        let secret = |key: &AmazonS3ConfigKey| {
            matches!(
                key,
                AmazonS3ConfigKey::AccessKeyId
                    | AmazonS3ConfigKey::SecretAccessKey
                    | AmazonS3ConfigKey::Token
            )
        };
        self.0
            .iter()
            .filter(|(key, _)| secret(key))
            .map(|(_, value)| value.clone())
            .collect()
    }

    fn last(&self, wanted: AmazonS3ConfigKey) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.as_str())
    }
}

/// Opens the bucket, below the prefix. Sends nothing yet.
pub(super) fn open(
    location: &str,
    bucket: &str,
    prefix: &str,
    credentials: Credentials,
    options: &StoreOptions,
) -> Result<Arc<dyn ObjectStore>> {
    if options.part_bytes < MIN_PART_BYTES {
        let reason = format!(
            "part_bytes is {}, S3 takes no less than {MIN_PART_BYTES}",
            options.part_bytes
        );
        return Err(Error::InvalidOptions { reason });
    }
    let invalid = |reason: String| Error::InvalidUri {
        uri: location.to_owned(),
        reason,
    };
    let endpoint = credentials
        .last(AmazonS3ConfigKey::S3Endpoint)
        .or(credentials.last(AmazonS3ConfigKey::Endpoint));
    if let Some(endpoint) = endpoint {
        check_endpoint(endpoint).map_err(invalid)?;
    }
    let plain_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    install_crypto();
    let mut builder = AmazonS3Builder::new();
    for (key, value) in credentials.0 {
        builder = builder.with_config(key, value);
    }
    let client = ClientOptions::new()
        .with_allow_http(plain_http)
        .with_timeout_disabled()
        .with_read_timeout(options.request_timeout);
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: options.retry.initial_backoff,
            max_backoff: options.retry.max_backoff,
            base: 2.0,
        },
        max_retries: CLIENT_RETRIES,
        retry_timeout: options.request_timeout,
    };
    let store = builder
        .with_bucket_name(bucket)
        .with_client_options(client)
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .map_err(|error| invalid(super::transient::one_line(&error)))?;
    Ok(if prefix.is_empty() {
        Arc::new(store)
    } else {
        Arc::new(PrefixStore::new(store, Path::from(prefix)))
    })
}

/// Chooses ring for TLS, unless the process has chosen already.
fn install_crypto() {
    // An error says that there is a provider, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> impl Iterator<Item = (String, String)> {
        [
            ("AWS_ACCESS_KEY_ID", "env-id"),
            ("AWS_SECRET_ACCESS_KEY", "env-secret"),
            ("AWS_SESSION_TOKEN", "env-token"),
            ("AWS_REGION", "env-region"),
            ("AWS_ENDPOINT_URL_S3", "https://env.example"),
            ("AWS_UNKNOWN_THING", "x"),
            ("HOME", "/root"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
    }

    fn value(credentials: &Credentials, key: AmazonS3ConfigKey) -> Option<&str> {
        credentials.last(key)
    }

    #[test]
    fn the_environment_serves_where_the_uri_is_silent() {
        let found = Credentials::combine(&S3Parameters::default(), environment());
        assert_eq!(
            value(&found, AmazonS3ConfigKey::AccessKeyId),
            Some("env-id")
        );
        assert_eq!(value(&found, AmazonS3ConfigKey::Region), Some("env-region"));
        assert_eq!(found.secrets(), ["env-id", "env-secret", "env-token"]);
    }

    #[test]
    fn credentials_of_the_uri_are_not_mixed_with_those_of_the_environment() {
        let parameters = S3Parameters {
            access_key_id: Some("uri-id".to_owned()),
            secret_access_key: Some("uri-secret".to_owned()),
            endpoint: Some("http://uri.example".to_owned()),
            ..S3Parameters::default()
        };
        let found = Credentials::combine(&parameters, environment());
        assert_eq!(
            value(&found, AmazonS3ConfigKey::AccessKeyId),
            Some("uri-id")
        );
        assert_eq!(value(&found, AmazonS3ConfigKey::Token), None);
        assert_eq!(value(&found, AmazonS3ConfigKey::Region), Some("env-region"));
        assert_eq!(value(&found, AmazonS3ConfigKey::S3Endpoint), None);
        assert_eq!(
            value(&found, AmazonS3ConfigKey::Endpoint),
            Some("http://uri.example")
        );
        assert_eq!(found.secrets(), ["uri-id", "uri-secret"]);
    }

    #[test]
    fn small_parts_are_refused() {
        let options = StoreOptions {
            part_bytes: 1 << 20,
            ..StoreOptions::default()
        };
        let error = open("s3://b", "b", "", Credentials(vec![]), &options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid store options: part_bytes is 1048576, S3 takes no less than 5242880"
        );
    }
}
