//! `s3://`: Amazon S3 and what speaks its protocol. Objects that are written once are put with
//! `If-None-Match: *`.

use std::sync::Arc;

use object_store::aws::{
    AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, S3ConditionalPut,
};
use object_store::{ClientConfigKey, ClientOptions, ObjectStore};

use super::cloud::{self, Bucket};
use super::settings::{Given, Key, Settings};
use super::transient::{Redactor, one_line};
use crate::error::Result;
use crate::options::StoreOptions;
use crate::uri::{Parameters, Service};

impl Key for AmazonS3ConfigKey {
    const PREFIX: &'static str = "AWS_";

    const OTHER_NAMES: &'static [(&'static str, Self)] = &[];

    const IDENTITY: &'static [Self] = &[
        Self::AccessKeyId,
        Self::SecretAccessKey,
        Self::Token,
        Self::WebIdentityTokenFile,
        Self::RoleArn,
        Self::ContainerCredentialsRelativeUri,
        Self::ContainerCredentialsFullUri,
        Self::ContainerAuthorizationTokenFile,
        Self::SkipSignature,
    ];

    /// The bucket is the URI's, plain http the endpoint's to say, time is `StoreOptions`', and writing once
    /// is no matter of choice.
    const DECIDED_ELSEWHERE: &'static [Self] = &[
        Self::Bucket,
        Self::ConditionalPut,
        Self::CopyIfNotExists,
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
        if SECRETS.contains(&self.as_ref()) {
            vec![value.to_owned()]
        } else {
            Vec::new()
        }
    }
}

/// What must never be printed; the keys of encryption have no name outside of the client.
const SECRETS: [&str; 4] = [
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "aws_sse_customer_key_base64",
];

/// The client does not know them; they would say who is asking, where no key does.
const PROFILE_VARIABLES: [&str; 3] = [
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
];

/// The client does not know it; it would say whom to trust.
const TRUST_VARIABLES: [&str; 1] = ["AWS_CA_BUNDLE"];

/// The client's settings.
pub(super) fn settings(parameters: &Parameters) -> Settings<AmazonS3ConfigKey> {
    let settings = Settings::find(given(parameters));
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    for name in unread(&settings, is_set) {
        tracing::warn!(variable = name, "is set, but not read");
    }
    settings
}

fn given(parameters: &Parameters) -> Given<AmazonS3ConfigKey> {
    let settings = [
        (AmazonS3ConfigKey::AccessKeyId, "AWS_ACCESS_KEY_ID"),
        (AmazonS3ConfigKey::SecretAccessKey, "AWS_SECRET_ACCESS_KEY"),
        (AmazonS3ConfigKey::Token, "AWS_SESSION_TOKEN"),
        (AmazonS3ConfigKey::Region, "AWS_REGION"),
        (AmazonS3ConfigKey::Endpoint, "AWS_ENDPOINT"),
    ];
    let instead_of = parameters.get("AWS_ENDPOINT");
    Given {
        settings: parameters.as_settings(&settings),
        identity: parameters.name_an_identity(Service::S3),
        instead_of: instead_of
            .map(|_| AmazonS3ConfigKey::S3Endpoint)
            .into_iter()
            .collect(),
    }
}

/// Variables that are set, that another program would read, and whose being ignored may surprise.
fn unread(
    settings: &Settings<AmazonS3ConfigKey>,
    is_set: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let has_key = settings.last(AmazonS3ConfigKey::AccessKeyId).is_some();
    let profile = PROFILE_VARIABLES.iter().filter(|_| !has_key);
    let unread = profile.chain(&TRUST_VARIABLES).copied();
    unread.filter(|name| is_set(name)).collect()
}

/// Opens the bucket, below the prefix. Sends nothing yet.
pub(super) fn open(
    bucket: &Bucket<'_>,
    settings: &Settings<AmazonS3ConfigKey>,
    options: &StoreOptions,
) -> Result<Arc<dyn ObjectStore>> {
    cloud::check_parts("S3", options)?;
    let endpoint = settings
        .last(AmazonS3ConfigKey::S3Endpoint)
        .or(settings.last(AmazonS3ConfigKey::Endpoint));
    let plain_http = bucket.plain_http(Service::S3, endpoint)?;
    let client = cloud::client(settings, plain_http, options)?;
    let store = builder(settings, client)
        .with_bucket_name(bucket.name)
        .with_retry(cloud::retry(options))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .build()
        .map_err(|error| bucket.failed(settings, &error))?;
    Ok(bucket.below(store))
}

/// A client with these settings, of no bucket yet.
fn builder(settings: &Settings<AmazonS3ConfigKey>, client: ClientOptions) -> AmazonS3Builder {
    let builder = AmazonS3Builder::new().with_client_options(client);
    let settings = settings.of_the_store();
    settings.fold(builder, |builder, (key, value)| {
        builder.with_config(key, value)
    })
}

/// Who is asking AWS, and how it is reached: for its other services.
pub(crate) struct AwsAccess {
    pub(crate) credentials: AwsCredentialProvider,
    pub(crate) client: ClientOptions,
    pub(crate) redactor: Redactor,
}

impl AwsAccess {
    /// As the parameters say, and where they are silent the environment. Sends nothing yet.
    pub(crate) fn find(
        parameters: &Parameters,
        region: &str,
        plain_http: bool,
        options: &StoreOptions,
    ) -> Result<Self, String> {
        let settings = settings(parameters);
        let redactor = settings.redactor();
        let client = cloud::client(&settings, plain_http, options);
        let client = client.map_err(|error| error.to_string())?;
        // The credentials are the same for every bucket.
        let builder = builder(&settings, client.clone());
        let store = builder.with_region(region).with_bucket_name("none").build();
        let store = store.map_err(|error| redactor.clean(&one_line(&error)))?;
        Ok(Self {
            credentials: store.credentials().clone(),
            client,
            redactor,
        })
    }
}

#[cfg(test)]
mod tests;
