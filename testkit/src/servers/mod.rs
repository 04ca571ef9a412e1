//! Real object stores for tests, on loopback, each with a folder and credentials of its own.
//!
//! [`process`] is what every server needs: a start that retries with other ports, a wait until it
//! answers, and an end whatever becomes of the test. [`seaweedfs`] speaks S3, [`azurite`] Azure's protocol,
//! [`fake_gcs`] Google's, [`moto`] that of AWS KMS.

pub mod azurite;
pub mod fake_gcs;
mod gcs_xml;
pub mod moto;
pub mod process;
pub mod seaweedfs;

use std::any::Any;
use std::fmt;
use std::path::Path;

use icecore_archive::RunId;

use crate::failure::Result;
use crate::machine;

/// A service that stores objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// SeaweedFS.
    S3,
    /// Azurite.
    Azure,
    /// fake-gcs-server.
    Gcs,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::S3, Self::Azure, Self::Gcs];

    /// The variable that names another store to test with: `s3://bucket/prefix?AWS_…`.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Self::S3 => "ICECORE_TEST_S3_URI",
            Self::Azure => "ICECORE_TEST_AZURE_URI",
            Self::Gcs => "ICECORE_TEST_GCS_URI",
        }
    }

    /// The parameters that say who is asking, each the beginning of a URI's part.
    const fn credentials(self) -> &'static [&'static str] {
        match self {
            Self::S3 => &[
                "AWS_ACCESS_KEY_ID=",
                "AWS_SECRET_ACCESS_KEY=",
                "AWS_SESSION_TOKEN=",
            ],
            Self::Azure => &[
                "AZURE_ACCOUNT_KEY=",
                "AZURE_SAS_TOKEN=",
                "AZURE_CLIENT_ID=",
                "AZURE_CLIENT_SECRET=",
                "AZURE_TENANT_ID=",
            ],
            Self::Gcs => &["AUTH=", "CREDENTIALS=", "BEARER_TOKEN="],
        }
    }

    /// Starts a server: its bucket, its parameters, and the server to be kept.
    fn server(self, cache: &Path) -> std::result::Result<Started, String> {
        Ok(match self {
            Self::S3 => {
                let server = seaweedfs::SeaweedFs::start(cache)?;
                (server.bucket(), server.parameters(), Box::new(server))
            }
            Self::Azure => {
                let server = azurite::Azurite::start(cache)?;
                (server.container(), server.parameters(), Box::new(server))
            }
            Self::Gcs => {
                let server = fake_gcs::FakeGcs::start(cache)?;
                (server.bucket(), server.parameters(), Box::new(server))
            }
        })
    }
}

type Started = (String, String, Box<dyn Any + Send + Sync>);

/// A bucket that tests may fill.
pub struct Store {
    service: Service,
    /// `s3://bucket/prefix`, without parameters.
    place: String,
    /// `AWS_ENDPOINT=…&…`, percent-encoded.
    parameters: String,
    /// Kept for its end.
    _server: Option<Box<dyn Any + Send + Sync>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.place)
    }
}

impl Store {
    /// A server started for this test, or the store that [`Service::variable`] names. `None` where the
    /// machine has none, outside CI.
    ///
    /// `cache` keeps the program between runs: `env!("CARGO_TARGET_TMPDIR")`.
    ///
    /// # Errors
    /// [`Failure::Missing`](crate::Failure::Missing) in CI.
    pub fn start(service: Service, cache: &str) -> Result<Option<Self>> {
        if let Ok(given) = std::env::var(service.variable()) {
            let (place, parameters) = given.split_once('?').unwrap_or((&given, ""));
            return Ok(Some(Self {
                service,
                place: place.trim_end_matches('/').to_owned(),
                parameters: parameters.to_owned(),
                _server: None,
            }));
        }
        let what = match service {
            Service::S3 => "S3 server",
            Service::Azure => "Azure server",
            Service::Gcs => "GCS server",
        };
        let started = machine::or_skip(what, service.server(Path::new(cache)))?;
        Ok(started.map(|(place, parameters, server)| Self {
            service,
            place,
            parameters,
            _server: Some(server),
        }))
    }

    /// Its kind.
    #[must_use]
    pub const fn service(&self) -> Service {
        self.service
    }

    /// A place in the bucket that no other test uses, without parameters.
    #[must_use]
    pub fn place(&self, test: &str) -> String {
        format!("{}/{test}-{}", self.place, RunId::random())
    }

    /// The parameters that go with each place.
    #[must_use]
    pub fn parameters(&self) -> &str {
        &self.parameters
    }

    /// A place of its own, with its parameters.
    #[must_use]
    pub fn uri(&self, test: &str) -> String {
        format!("{}?{}", self.place(test), self.parameters)
    }

    /// The bucket, with its parameters.
    #[must_use]
    pub fn bucket_uri(&self) -> String {
        format!("{}?{}", self.place, self.parameters)
    }

    /// A parameter's value, decoded as far as the servers' own credentials need.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let parts = self.parameters.split('&');
        let mut pairs = parts.filter_map(|part| part.split_once('='));
        let (_, value) = pairs.find(|(found, _)| *found == name)?;
        let decoded = value.replace("%2B", "+").replace("%2F", "/");
        Some(decoded.replace("%3D", "=").replace("%3A", ":"))
    }

    /// The parameters without those that say who is asking.
    #[must_use]
    pub fn parameters_without_credentials(&self) -> String {
        let secret = self.service.credentials();
        let parts = self.parameters.split('&');
        let kept = parts.filter(|part| !secret.iter().any(|name| part.starts_with(name)));
        kept.collect::<Vec<_>>().join("&")
    }
}
