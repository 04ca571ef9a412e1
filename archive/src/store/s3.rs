//! `s3://`: Amazon S3 and what speaks its protocol.
//!
//! Objects that are written once are put with `If-None-Match: *`. The client itself retries twice, which
//! lets it go on inside a listing or a download where it was; everything else is [`super::retry`]'s.
//!
//! Where the client's settings come from is [`settings`]'s.

mod settings;

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::transient::one_line;
use crate::error::{Error, Result};
use crate::options::{MIN_PART_BYTES, StoreOptions};
use crate::uri::check_endpoint;

pub(super) use settings::Settings;

/// Retries within the client, below those of the decorator.
const CLIENT_RETRIES: usize = 2;

/// Opens the bucket, below the prefix. Sends nothing yet.
pub(super) fn open(
    location: &str,
    bucket: &str,
    prefix: &str,
    settings: &Settings,
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
    let endpoint = settings
        .last(AmazonS3ConfigKey::S3Endpoint)
        .or(settings.last(AmazonS3ConfigKey::Endpoint));
    if let Some(endpoint) = endpoint {
        check_endpoint(endpoint).map_err(invalid)?;
    }
    let plain_http = endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"));
    install_crypto();
    // In place of all client options: what the environment says of them first, then what is ours to say.
    let mut client = ClientOptions::new();
    for (key, value) in settings.of_the_connection()? {
        client = client.with_config(key, value);
    }
    let client = client
        .with_allow_http(plain_http)
        .with_timeout_disabled()
        .with_read_timeout(options.request_timeout);
    let mut builder = AmazonS3Builder::new().with_client_options(client);
    for (key, value) in settings.of_the_store() {
        builder = builder.with_config(key, value);
    }
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
        .with_retry(retry)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .map_err(|error| invalid(settings.redactor().clean(&one_line(&error))))?;
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
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use object_store::ObjectStoreExt;

    use super::*;
    use crate::uri::S3Parameters;

    #[test]
    fn small_parts_are_refused() {
        let options = StoreOptions {
            part_bytes: 1 << 20,
            ..StoreOptions::default()
        };
        let error = open("s3://b", "b", "", &Settings::default(), &options).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid store options: part_bytes is 1048576, S3 takes no less than 5242880"
        );
    }

    fn environment(variables: &[(&str, &str)]) -> Settings {
        let variables = variables.iter();
        let variables = variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::combine(&S3Parameters::default(), variables)
    }

    /// Bug: the client's options replaced those of the environment, the proxy among them.
    #[tokio::test(flavor = "multi_thread")]
    async fn requests_go_through_the_proxy_of_the_environment() {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = proxy.local_addr().unwrap();
        let seen = std::thread::spawn(move || {
            let (mut stream, _) = proxy.accept().unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let answer =
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer).unwrap();
            String::from_utf8_lossy(request.get(..read).unwrap()).into_owned()
        });
        let settings = environment(&[
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT", "http://store.invalid"),
            ("AWS_PROXY_URL", &format!("http://user:CANARY@{address}")),
        ]);
        let store = open("s3://b", "b", "p", &settings, &StoreOptions::default()).unwrap();
        let missing = store.get(&Path::from("x")).await.unwrap_err();
        assert!(matches!(missing, object_store::Error::NotFound { .. }));
        let request = seen.join().unwrap();
        assert!(
            request.starts_with("GET http://store.invalid/b/p/x HTTP/1.1\r\n"),
            "{request}"
        );
        let told = settings
            .redactor()
            .clean(&format!("http://user:CANARY@{address} CANARY"));
        assert!(!told.contains("CANARY"), "{told}");
    }

    #[test]
    fn a_proxy_that_is_no_url_is_refused_by_its_name() {
        for wrong in ["proxy.example:3128", "socks5://proxy.example", "http://"] {
            let settings = environment(&[("AWS_PROXY_URL", wrong)]);
            let error = open("s3://b", "b", "", &settings, &StoreOptions::default()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "invalid store options: the variable AWS_PROXY_URL must begin with http:// or https:// and name a host"
            );
        }
    }
}
