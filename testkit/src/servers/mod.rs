//! Real object stores for tests, on loopback, each with a folder and credentials of its own.
//!
//! [`process`] is what every server needs: a start that retries with other ports, a wait until it
//! answers, and an end whatever becomes of the test. [`seaweedfs`] speaks S3.

pub mod process;
pub mod seaweedfs;

use std::path::Path;

use icecore_archive::RunId;

use crate::failure::Result;
use crate::machine;
use seaweedfs::SeaweedFs;

/// The variable that names another S3 store to test with: `s3://bucket/prefix?AWS_…`.
const S3_URI: &str = "ICECORE_TEST_S3_URI";

/// A bucket that tests may fill.
#[derive(Debug)]
pub struct S3 {
    /// `s3://bucket/prefix`, without parameters.
    place: String,
    /// `AWS_ENDPOINT=…&…`, percent-encoded.
    parameters: String,
    /// Kept for its end.
    _server: Option<SeaweedFs>,
}

impl S3 {
    /// A SeaweedFS started for this test, or the store that `ICECORE_TEST_S3_URI` names. `None` where
    /// the machine has none, outside CI.
    ///
    /// `cache` keeps the program between runs: `env!("CARGO_TARGET_TMPDIR")`.
    ///
    /// # Errors
    /// [`Failure::Missing`](crate::Failure::Missing) in CI.
    pub fn start(cache: &str) -> Result<Option<Self>> {
        if let Ok(given) = std::env::var(S3_URI) {
            let (place, parameters) = given.split_once('?').unwrap_or((&given, ""));
            return Ok(Some(Self {
                place: place.trim_end_matches('/').to_owned(),
                parameters: parameters.to_owned(),
                _server: None,
            }));
        }
        let started = machine::or_skip("S3 server", SeaweedFs::start(Path::new(cache)))?;
        Ok(started.map(|server| Self {
            place: server.bucket(),
            parameters: server.parameters(),
            _server: Some(server),
        }))
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

    /// The parameters without those that say who is asking.
    #[must_use]
    pub fn parameters_without_credentials(&self) -> String {
        let secret = [
            "AWS_ACCESS_KEY_ID=",
            "AWS_SECRET_ACCESS_KEY=",
            "AWS_SESSION_TOKEN=",
        ];
        let kept = self
            .parameters
            .split('&')
            .filter(|part| !secret.iter().any(|name| part.starts_with(name)));
        kept.collect::<Vec<_>>().join("&")
    }
}
