//! `azure://`: Azure Blob Storage. Objects that are written once are put with `If-None-Match: *`.

use std::sync::Arc;

use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::{ClientConfigKey, ObjectStore};

use super::cloud::{self, Bucket};
use super::settings::{Given, Key, Settings};
use crate::error::Result;
use crate::options::StoreOptions;
use crate::uri::{Parameters, Service};

impl Key for AzureConfigKey {
    const PREFIX: &'static str = "AZURE_";

    /// The parameters' names, and where a service of Azure tells its managed identity.
    const OTHER_NAMES: &'static [(&'static str, Self)] = &[
        ("AZURE_ACCOUNT_NAME", Self::AccountName),
        ("AZURE_ACCOUNT_KEY", Self::AccessKey),
        ("AZURE_SAS_TOKEN", Self::SasKey),
        ("IDENTITY_ENDPOINT", Self::MsiEndpoint),
    ];

    const IDENTITY: &'static [Self] = &[
        Self::AccessKey,
        Self::ClientId,
        Self::ClientSecret,
        Self::AuthorityId,
        Self::SasKey,
        Self::Token,
        Self::MsiEndpoint,
        Self::ObjectId,
        Self::MsiResourceId,
        Self::FederatedTokenFile,
        Self::UseAzureCli,
        Self::SkipSignature,
        Self::CredentialType,
        Self::FabricTokenServiceUrl,
        Self::FabricWorkloadHost,
        Self::FabricSessionToken,
        Self::FabricClusterIdentifier,
    ];

    /// The container is the URI's, plain http the endpoint's to say, time is `StoreOptions`'. An emulator
    /// is named by its endpoint, and its well-known key has to be given like any other.
    const DECIDED_ELSEWHERE: &'static [Self] = &[
        Self::ContainerName,
        Self::UseEmulator,
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
            Self::SasKey => secrets_of_sas(value),
            Self::AccessKey
            | Self::ClientSecret
            | Self::Token
            | Self::FabricSessionToken
            | Self::EncryptionKey => vec![value.to_owned()],
            _ => Vec::new(),
        }
    }
}

/// The signature of a shared access signature, as it is written and decoded, and the whole of it.
fn secrets_of_sas(sas: &str) -> Vec<String> {
    let pairs = sas.trim_start_matches('?').split('&');
    let written = pairs.filter_map(|pair| pair.strip_prefix("sig="));
    let decoded = url::form_urlencoded::parse(sas.trim_start_matches('?').as_bytes());
    let decoded = decoded.filter(|(name, _)| name == "sig");
    let mut secrets = vec![sas.to_owned()];
    secrets.extend(written.map(str::to_owned));
    secrets.extend(decoded.map(|(_, value)| value.into_owned()));
    secrets
}

/// The client's settings.
pub(super) fn settings(parameters: &Parameters) -> Settings<AzureConfigKey> {
    Settings::find(given(parameters))
}

fn given(parameters: &Parameters) -> Given<AzureConfigKey> {
    let settings = [
        (AzureConfigKey::AccountName, "AZURE_ACCOUNT_NAME"),
        (AzureConfigKey::AccessKey, "AZURE_ACCOUNT_KEY"),
        (AzureConfigKey::SasKey, "AZURE_SAS_TOKEN"),
        (AzureConfigKey::ClientId, "AZURE_CLIENT_ID"),
        (AzureConfigKey::ClientSecret, "AZURE_CLIENT_SECRET"),
        (AzureConfigKey::AuthorityId, "AZURE_TENANT_ID"),
        (AzureConfigKey::Endpoint, "AZURE_ENDPOINT"),
    ];
    Given {
        settings: parameters.as_settings(&settings),
        identity: parameters.name_an_identity(Service::Azure),
        instead_of: Vec::new(),
    }
}

/// Opens the container, below the prefix. Sends nothing yet.
pub(super) fn open(
    bucket: &Bucket<'_>,
    settings: &Settings<AzureConfigKey>,
    options: &StoreOptions,
) -> Result<Arc<dyn ObjectStore>> {
    if settings.last(AzureConfigKey::AccountName).is_none() {
        let reason = "it needs AZURE_ACCOUNT_NAME, as a parameter or a variable";
        return Err(bucket.invalid(reason.to_owned()));
    }
    let plain_http = bucket.plain_http(Service::Azure, settings.last(AzureConfigKey::Endpoint))?;
    let client = cloud::client(settings, plain_http, options)?;
    let mut builder = MicrosoftAzureBuilder::new().with_client_options(client);
    for (key, value) in settings.of_the_store() {
        builder = builder.with_config(key, value);
    }
    let store = builder
        .with_container_name(bucket.name)
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

    fn parameters(text: &str) -> Parameters {
        let mut parameters = Parameters::default();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            let known = parameters.take(Service::Azure, &name, value.into_owned());
            assert_eq!(known, Ok(true), "{name}");
        }
        parameters
    }

    fn combined(uri: &str, environment: &[(&str, &str)]) -> Settings<AzureConfigKey> {
        let environment = environment.iter();
        let environment = environment.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Settings::combine(given(&parameters(uri)), environment)
    }

    #[test]
    fn the_guide_lists_what_is_read_and_what_is_not() {
        guide::compare::<AzureConfigKey>("Azure", &["AZURE_STORAGE_CONNECTION_STRING"]);
    }

    #[test]
    fn credentials_of_the_uri_are_not_mixed_with_those_of_the_environment() {
        let environment = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "env-account"),
            ("AZURE_ACCOUNT_KEY", "env-key"),
            ("AZURE_CLIENT_ID", "env-client"),
            ("AZURE_ENDPOINT", "https://env.example"),
        ];
        let found = combined("", &environment);
        assert_eq!(found.last(AzureConfigKey::AccountName), Some("env-account"));
        assert_eq!(found.last(AzureConfigKey::AccessKey), Some("env-key"));

        let sas =
            "AZURE_SAS_TOKEN=sv%3D1%26sig%3DuriCANARY&AZURE_ENDPOINT=http%3A%2F%2Furi.example";
        let found = combined(sas, &environment);
        assert_eq!(found.last(AzureConfigKey::AccountName), Some("env-account"));
        assert_eq!(found.last(AzureConfigKey::AccessKey), None);
        assert_eq!(found.last(AzureConfigKey::ClientId), None);
        assert_eq!(
            found.last(AzureConfigKey::SasKey),
            Some("sv=1&sig=uriCANARY")
        );
        assert_eq!(
            found.last(AzureConfigKey::Endpoint),
            Some("http://uri.example")
        );
    }

    #[test]
    fn no_secret_is_told() {
        let found = combined(
            "AZURE_SAS_TOKEN=sv%3D1%26sig%3DCAN%252FARY",
            &[
                ("AZURE_STORAGE_ENCRYPTION_KEY", "CANARY2"),
                ("AZURE_CLIENT_SECRET", "x"),
            ],
        );
        let told = found
            .redactor()
            .clean("sv=1&sig=CAN%2FARY; sig CAN%2FARY; CAN/ARY; CANARY2");
        assert_eq!(told, "redacted; sig redacted; redacted; redacted");
        let of_the_environment = combined(
            "",
            &[
                ("AZURE_CLIENT_SECRET", "CANARY"),
                ("AZURE_STORAGE_TOKEN", "CANARY2"),
            ],
        );
        assert_eq!(of_the_environment.redactor().clean("CANARY"), "redacted");
    }

    fn refusal(settings: &Settings<AzureConfigKey>) -> Error {
        let bucket = Bucket {
            location: "azure://c",
            name: "c",
            prefix: "",
        };
        open(&bucket, settings, &StoreOptions::default()).unwrap_err()
    }

    #[test]
    fn what_cannot_be_opened_says_why_without_a_secret() {
        assert_eq!(
            refusal(&combined("", &[])).to_string(),
            "'azure://c' is not a collection URI: it needs AZURE_ACCOUNT_NAME, as a parameter or a variable"
        );
        let environment = [
            ("AZURE_ACCOUNT_NAME", "a"),
            ("AZURE_ACCOUNT_KEY", "CANARY is no base64"),
        ];
        let wrong_key = refusal(&combined("", &environment)).to_string();
        assert!(wrong_key.contains("Invalid Access Key"), "{wrong_key}");
        assert!(!wrong_key.contains("CANARY"), "{wrong_key}");
        let environment = [("AZURE_ACCOUNT_NAME", "a"), ("AZURE_ENDPOINT", "CANARY")];
        assert_eq!(
            refusal(&combined("", &environment)).to_string(),
            "'azure://c' is not a collection URI: AZURE_ENDPOINT is not a URL"
        );
    }
}
