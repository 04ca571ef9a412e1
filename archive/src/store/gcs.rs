//! `gs://`: Google Cloud Storage. Objects that are written once are put with
//! `x-goog-if-generation-match: 0`.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{ClientConfigKey, ObjectStore};

use super::cloud::{self, Bucket};
use super::settings::{Given, Key, Settings};
use crate::error::Result;
use crate::options::StoreOptions;
use crate::uri::{Parameters, Service};

impl Key for GoogleConfigKey {
    const PREFIX: &'static str = "GOOGLE_";

    const OTHER_NAMES: &'static [(&'static str, Self)] = &[("GOOGLE_ENDPOINT", Self::BaseUrl)];

    const IDENTITY: &'static [Self] = &[
        Self::ServiceAccount,
        Self::ServiceAccountKey,
        Self::ApplicationCredentials,
        Self::BearerToken,
        Self::SkipSignature,
    ];

    /// The bucket is the URI's, plain http the endpoint's to say, time is `StoreOptions`'.
    const DECIDED_ELSEWHERE: &'static [Self] = &[
        Self::Bucket,
        Self::Client(ClientConfigKey::AllowHttp),
        Self::Client(ClientConfigKey::Timeout),
        Self::Client(ClientConfigKey::ReadTimeout),
    ];

    fn of_connection(key: ClientConfigKey) -> Self {
        Self::Client(key)
    }

    fn connection(self) -> Option<ClientConfigKey> {
        match self {
            Self::Client(key) => Some(key),
            _ => None,
        }
    }

    fn secrets(self, value: &str) -> Vec<String> {
        match self {
            Self::ServiceAccountKey => secrets_of_account(value),
            Self::BearerToken => vec![value.to_owned()],
            _ => Vec::new(),
        }
    }
}

/// The key of a service account, whole and as lines, and its id.
fn secrets_of_account(json: &str) -> Vec<String> {
    let mut secrets = vec![json.to_owned(), BASE64_STANDARD.encode(json)];
    let account: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
    for name in [
        "private_key",
        "private_key_id",
        "client_secret",
        "refresh_token",
    ] {
        if let Some(secret) = account.get(name).and_then(serde_json::Value::as_str) {
            secrets.push(secret.to_owned());
            secrets.extend(secret.lines().map(str::to_owned));
        }
    }
    secrets
}

/// The client's settings.
///
/// # Errors
/// Credentials that are none, in one line.
pub(super) fn settings(parameters: &Parameters) -> Result<Settings<GoogleConfigKey>, String> {
    Ok(Settings::find(given(parameters)?))
}

fn given(parameters: &Parameters) -> Result<Given<GoogleConfigKey>, String> {
    let mut settings = Vec::new();
    if let Some(credentials) = parameters.get("CREDENTIALS") {
        let json = account(credentials)
            .ok_or("CREDENTIALS must be the JSON of a service account's key, in base64")?;
        settings.push((GoogleConfigKey::ServiceAccountKey, json));
    }
    settings.extend(parameters.as_settings(&[
        (GoogleConfigKey::BearerToken, "BEARER_TOKEN"),
        (GoogleConfigKey::BaseUrl, "GOOGLE_ENDPOINT"),
    ]));
    Ok(Given {
        settings,
        identity: parameters.get("CREDENTIALS").is_some()
            || parameters.get("BEARER_TOKEN").is_some(),
        instead_of: Vec::new(),
    })
}

/// The JSON of a service account.
fn account(base64: &str) -> Option<String> {
    let text = String::from_utf8(BASE64_STANDARD.decode(base64).ok()?).ok()?;
    let json: serde_json::Value = serde_json::from_str(&text).ok()?;
    json.is_object().then_some(text)
}

/// Opens the bucket, below the prefix. Sends nothing yet.
pub(super) fn open(
    bucket: &Bucket<'_>,
    settings: &Settings<GoogleConfigKey>,
    options: &StoreOptions,
) -> Result<Arc<dyn ObjectStore>> {
    cloud::check_parts("Google Cloud Storage", options)?;
    let endpoint = settings.last(GoogleConfigKey::BaseUrl);
    let plain_http = bucket.plain_http(Service::Gcs, endpoint)?;
    let client = cloud::client(settings, plain_http, options)?;
    let mut builder = GoogleCloudStorageBuilder::new().with_client_options(client);
    for (key, value) in settings.of_the_store() {
        // The client joins it to a path that begins with a slash.
        let value = match key {
            GoogleConfigKey::BaseUrl => value.trim_end_matches('/').to_owned(),
            _ => value,
        };
        builder = builder.with_config(key, value);
    }
    let store = builder
        .with_bucket_name(bucket.name)
        .with_retry(cloud::retry(options))
        .build()
        .map_err(|error| bucket.failed(settings, &error))?;
    Ok(bucket.below(store))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::store::settings::guide;

    const ACCOUNT: &str = r#"{"type":"service_account","private_key":"-----BEGIN\nCANARY1\n-----END","private_key_id":"CANARY2","client_email":"a@b"}"#;

    fn combined(
        parameters: &[(&'static str, &str)],
        environment: &[(&str, &str)],
    ) -> Result<Settings<GoogleConfigKey>, String> {
        let mut of_uri = Parameters::default();
        for (name, value) in parameters {
            assert_eq!(
                of_uri.take(Service::Gcs, name, (*value).to_owned()),
                Ok(true)
            );
        }
        let environment = environment.iter();
        let environment = environment.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Ok(Settings::combine(given(&of_uri)?, environment))
    }

    #[test]
    fn the_guide_lists_what_is_read_and_what_is_not() {
        let unread = ["GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST"];
        guide::compare::<GoogleConfigKey>("Google", &unread);
    }

    #[test]
    fn credentials_of_the_uri_are_not_mixed_with_those_of_the_environment() {
        let environment = [
            ("GOOGLE_APPLICATION_CREDENTIALS", "/env.json"),
            ("GOOGLE_ENDPOINT", "https://env.example"),
        ];
        let found = combined(&[], &environment).unwrap();
        let path = found.last(GoogleConfigKey::ApplicationCredentials);
        assert_eq!(path, Some("/env.json"));
        let found = combined(&[("AUTH", "implicit")], &environment).unwrap();
        assert!(
            found
                .last(GoogleConfigKey::ApplicationCredentials)
                .is_some()
        );

        let encoded = BASE64_STANDARD.encode(ACCOUNT);
        let found = combined(&[("CREDENTIALS", &encoded)], &environment).unwrap();
        assert_eq!(found.last(GoogleConfigKey::ApplicationCredentials), None);
        assert_eq!(
            found.last(GoogleConfigKey::ServiceAccountKey),
            Some(ACCOUNT)
        );
        assert_eq!(
            found.last(GoogleConfigKey::BaseUrl),
            Some("https://env.example")
        );
        let told = format!(
            "{encoded} {ACCOUNT} CANARY1 CANARY2 {}",
            "-----BEGIN\nCANARY1"
        );
        let told = found.redactor().clean(&told);
        assert!(
            !told.contains("CANARY") && !told.contains(&encoded),
            "{told}"
        );
    }

    #[test]
    fn credentials_that_are_none_are_refused_without_being_shown() {
        let list = BASE64_STANDARD.encode("[\"CANARY\"]");
        for wrong in ["CANARY", "e30", list.as_str(), ACCOUNT] {
            let refused = combined(&[("CREDENTIALS", wrong)], &[]);
            assert_eq!(
                refused.err().as_deref(),
                Some("CREDENTIALS must be the JSON of a service account's key, in base64")
            );
        }
        let wrong_key = BASE64_STANDARD.encode(ACCOUNT);
        let settings = combined(&[("CREDENTIALS", &wrong_key)], &[]).unwrap();
        let bucket = Bucket {
            location: "gs://b",
            name: "b",
            prefix: "",
        };
        let error = open(&bucket, &settings, &StoreOptions::default()).unwrap_err();
        assert!(matches!(error, Error::InvalidUri { .. }), "{error}");
        assert!(!error.to_string().contains("CANARY"), "{error}");
        let small = StoreOptions {
            part_bytes: 1 << 20,
            ..StoreOptions::default()
        };
        let error = open(&bucket, &settings, &small).unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid store options: part_bytes is 1048576, Google Cloud Storage takes no less than 5242880"
        );
    }
}
