//! The settings of the S3 client: who is asking, where, and how.
//!
//! They come from the environment's `AWS_*` variables; parameters of the URI win. What of them is read
//! and what is not is listed in `docs/guide/backup-and-restore.md`, which a test compares with this file.

use object_store::ClientConfigKey;
use object_store::aws::AmazonS3ConfigKey;
use url::Url;

use super::super::transient::Redactor;
use crate::error::{Error, Result};
use crate::uri::S3Parameters;

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

/// Known to the client, and not read: the bucket is the URI's, plain http the endpoint's to say, time is
/// `StoreOptions`', and writing once is no matter of choice.
const DECIDED_ELSEWHERE: [AmazonS3ConfigKey; 6] = [
    AmazonS3ConfigKey::Bucket,
    AmazonS3ConfigKey::ConditionalPut,
    AmazonS3ConfigKey::CopyIfNotExists,
    AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp),
    AmazonS3ConfigKey::Client(ClientConfigKey::Timeout),
    AmazonS3ConfigKey::Client(ClientConfigKey::ReadTimeout),
];

/// What must never be printed; of a proxy its password.
const SECRETS: [&str; 4] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_sse_customer_key_base64",
];

const PROXY_URL: AmazonS3ConfigKey = AmazonS3ConfigKey::Client(ClientConfigKey::ProxyUrl);

/// The client does not know them; they would say who is asking, where no key does.
const PROFILE_VARIABLES: [&str; 3] = [
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
];

/// The client does not know it; it would say whom to trust.
const TRUST_VARIABLES: [&str; 1] = ["AWS_CA_BUNDLE"];

/// The client's settings, from the environment and the URI; later ones win.
#[derive(Default)]
pub(in crate::store) struct Settings(Vec<(AmazonS3ConfigKey, String)>);

impl Settings {
    /// The settings of the environment, overridden by those of the URI.
    pub(in crate::store) fn find(parameters: &S3Parameters) -> Self {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let settings = Self::combine(parameters, environment);
        for name in settings.unread(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty())) {
            tracing::warn!(variable = name, "is set, but not read");
        }
        settings
    }

    pub(super) fn combine(
        parameters: &S3Parameters,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Self {
        let mut settings: Vec<(AmazonS3ConfigKey, String)> = environment
            .filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty())
            .filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
            .filter(|(key, _)| !DECIDED_ELSEWHERE.contains(key))
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

    /// Takes what must never be printed out of texts.
    pub(in crate::store) fn redactor(&self) -> Redactor {
        let mut secrets: Vec<String> = self
            .0
            .iter()
            .filter(|(key, _)| SECRETS.contains(&key.as_ref()))
            .map(|(_, value)| value.clone())
            .collect();
        let proxy = self
            .last(PROXY_URL)
            .and_then(|proxy| Url::parse(proxy).ok());
        let password = proxy.as_ref().and_then(Url::password);
        secrets.extend(password.map(str::to_owned));
        Redactor::new(secrets)
    }

    /// How to reach the store.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`] for a proxy that is no URL.
    pub(super) fn of_the_connection(&self) -> Result<Vec<(ClientConfigKey, String)>> {
        if self.last(PROXY_URL).is_some_and(|proxy| !is_http(proxy)) {
            let reason =
                "the variable AWS_PROXY_URL must begin with http:// or https:// and name a host";
            return Err(Error::InvalidOptions {
                reason: reason.to_owned(),
            });
        }
        let of_the_connection = |(key, value): &(AmazonS3ConfigKey, String)| match key {
            AmazonS3ConfigKey::Client(key) => Some((*key, value.clone())),
            _ => None,
        };
        Ok(self.0.iter().filter_map(of_the_connection).collect())
    }

    /// All others.
    pub(super) fn of_the_store(&self) -> impl Iterator<Item = (AmazonS3ConfigKey, String)> {
        let others = self.0.iter().cloned();
        others.filter(|(key, _)| !matches!(key, AmazonS3ConfigKey::Client(_)))
    }

    /// Variables that are set, that another program would read, and whose being ignored may surprise.
    fn unread(&self, is_set: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let has_key = self.last(AmazonS3ConfigKey::AccessKeyId).is_some();
        let profile = PROFILE_VARIABLES.iter().filter(|_| !has_key);
        let unread = profile.chain(&TRUST_VARIABLES).copied();
        unread.filter(|name| is_set(name)).collect()
    }

    pub(super) fn last(&self, wanted: AmazonS3ConfigKey) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| *key == wanted)
            .map(|(_, value)| value.as_str())
    }
}

fn is_http(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    matches!(url.scheme(), "http" | "https") && url.host().is_some()
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

    fn value(settings: &Settings, key: AmazonS3ConfigKey) -> Option<&str> {
        settings.last(key)
    }

    #[test]
    fn the_environment_serves_where_the_uri_is_silent() {
        let found = Settings::combine(&S3Parameters::default(), environment());
        assert_eq!(
            value(&found, AmazonS3ConfigKey::AccessKeyId),
            Some("env-id")
        );
        assert_eq!(value(&found, AmazonS3ConfigKey::Region), Some("env-region"));
        assert_eq!(
            found.redactor().clean("env-id env-secret env-token"),
            "redacted redacted redacted"
        );
    }

    #[test]
    fn credentials_of_the_uri_are_not_mixed_with_those_of_the_environment() {
        let parameters = S3Parameters {
            access_key_id: Some("uri-id".to_owned()),
            secret_access_key: Some("uri-secret".to_owned()),
            endpoint: Some("http://uri.example".to_owned()),
            ..S3Parameters::default()
        };
        let found = Settings::combine(&parameters, environment());
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
        assert_eq!(
            found.redactor().clean("uri-id uri-secret env-id"),
            "redacted redacted env-id"
        );
    }

    /// The variables in the first column of the table below a heading of the guide.
    fn listed(heading: &str) -> Vec<String> {
        let guide = include_str!("../../../../docs/guide/backup-and-restore.md");
        let (_, below) = guide.split_once(heading).unwrap();
        let rows = below
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'));
        let names = |row: &str| -> Vec<String> {
            let cell = row.split('|').nth(1).unwrap_or_default();
            let quoted = cell.split('`').skip(1).step_by(2);
            quoted
                .filter(|name| name.starts_with("AWS_"))
                .map(str::to_owned)
                .collect()
        };
        rows.flat_map(names).collect()
    }

    fn key(name: &str) -> Option<AmazonS3ConfigKey> {
        name.to_ascii_lowercase().parse().ok()
    }

    #[test]
    fn the_guide_lists_what_is_read_and_what_is_not() {
        let read = listed("### Variables that are read");
        assert!(read.len() > 30, "{read:?}");
        for name in &read {
            let settings = Settings::combine(
                &S3Parameters::default(),
                [(name.clone(), "1".to_owned())].into_iter(),
            );
            assert_eq!(settings.0.len(), 1, "{name} is not read");
        }
        let unread = listed("### Variables that are not read");
        for key in DECIDED_ELSEWHERE {
            let name = key.as_ref().to_ascii_uppercase();
            let name = if name.starts_with("AWS_") {
                name
            } else {
                format!("AWS_{name}")
            };
            assert!(unread.contains(&name), "{name} is not in the guide");
        }
        for name in PROFILE_VARIABLES.iter().chain(&TRUST_VARIABLES) {
            assert!(
                unread.iter().any(|u| u == name),
                "{name} is not in the guide"
            );
            assert!(key(name).is_none(), "{name} is read by now");
        }
        for name in &unread {
            let known = key(name).is_some_and(|key| !DECIDED_ELSEWHERE.contains(&key));
            assert!(!known, "{name} is read");
        }
    }

    #[test]
    fn what_is_decided_elsewhere_is_not_taken_from_the_environment() {
        let names = DECIDED_ELSEWHERE.map(|key| key.as_ref().to_ascii_uppercase());
        let environment = names.into_iter().flat_map(|name| {
            let name = name.strip_prefix("AWS_").unwrap_or(&name).to_owned();
            [(format!("AWS_{name}"), "disabled".to_owned())]
        });
        assert!(
            Settings::combine(&S3Parameters::default(), environment)
                .0
                .is_empty()
        );
    }

    #[test]
    fn a_profile_is_told_to_be_ignored_where_no_key_is_given() {
        let all = |_: &str| true;
        assert_eq!(Settings::default().unread(all).len(), 4);
        let with_key = Settings::combine(&S3Parameters::default(), environment());
        assert_eq!(with_key.unread(all), ["AWS_CA_BUNDLE"]);
        assert!(with_key.unread(|_| false).is_empty());
    }
}
