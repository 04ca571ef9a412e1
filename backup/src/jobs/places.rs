//! The places of a collection, as a job's row keeps them.

use std::fmt;

use icecore_archive::{CollectionPlaces, CollectionUri};
use serde::{Deserialize, Serialize};

use super::handler::JobFailure;
use crate::error::Result;

/// The URIs of a collection: one, or several by locality, in any order. In JSON one is a text, several are
/// a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Given", into = "Given")]
pub struct JobPlaces(Vec<String>);

/// As JSON has them.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Given {
    One(String),
    Several(Vec<String>),
}

impl From<Given> for JobPlaces {
    fn from(given: Given) -> Self {
        match given {
            Given::One(uri) => Self(vec![uri]),
            Given::Several(uris) => Self(uris),
        }
    }
}

impl From<JobPlaces> for Given {
    fn from(JobPlaces(mut uris): JobPlaces) -> Self {
        match (uris.pop(), uris.is_empty()) {
            (Some(uri), true) => Self::One(uri),
            (last, _) => {
                uris.extend(last);
                Self::Several(uris)
            }
        }
    }
}

impl From<String> for JobPlaces {
    fn from(uri: String) -> Self {
        Self(vec![uri])
    }
}

impl From<&str> for JobPlaces {
    fn from(uri: &str) -> Self {
        Self(vec![uri.to_owned()])
    }
}

impl From<Vec<String>> for JobPlaces {
    fn from(uris: Vec<String>) -> Self {
        Self(uris)
    }
}

impl JobPlaces {
    /// The places that they are.
    ///
    /// # Errors
    /// [`crate::Error::Archive`] for what is no URI, and for URIs that make no collection together.
    pub fn places(&self) -> Result<CollectionPlaces> {
        Ok(CollectionPlaces::new(self.uris()?)?)
    }

    /// Checks what a row is to keep: everybody reads it who reads the database, and it is copied with it.
    ///
    /// # Errors
    /// As [`JobPlaces::places`]; for a URI with credentials in it.
    pub fn admit(&self) -> Result<(), JobFailure> {
        if let Some(uri) = self.uris()?.iter().find(|uri| uri.has_credentials()) {
            return Err(JobFailure::lasting(format!(
                "{uri} holds credentials, which a job must not keep; set them in the environment of the process that runs jobs, and leave them out here"
            )));
        }
        self.places()?;
        Ok(())
    }

    fn uris(&self) -> Result<Vec<CollectionUri>> {
        let uris = self.0.iter().map(|text| text.parse::<CollectionUri>());
        Ok(uris.collect::<icecore_archive::Result<_>>()?)
    }
}

impl fmt::Display for JobPlaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_is_a_text_and_several_are_a_list() {
        for (uris, json) in [
            (vec!["memory://a"], r#""memory://a""#),
            (
                vec!["memory://a", "memory://b"],
                r#"["memory://a","memory://b"]"#,
            ),
            (vec![], "[]"),
        ] {
            let uris: Vec<String> = uris.into_iter().map(str::to_owned).collect();
            let places = JobPlaces::from(uris);
            assert_eq!(serde_json::to_string(&places).unwrap(), json);
            assert_eq!(serde_json::from_str::<JobPlaces>(json).unwrap(), places);
        }
    }

    #[test]
    fn a_row_keeps_places_of_one_collection_and_no_credentials() {
        let main = "memory://main?COCKROACH_LOCALITY=default".to_owned();
        let other = "s3://us/p?AWS_REGION=r&COCKROACH_LOCALITY=region%3Dus".to_owned();
        let secret = "s3://eu/p?AWS_SECRET_ACCESS_KEY=CANARY&AWS_ACCESS_KEY_ID=i&COCKROACH_LOCALITY=region%3Deu".to_owned();
        let good = JobPlaces::from(vec![other.clone(), main.clone()]);
        good.admit().unwrap();
        assert_eq!(good.places().unwrap().localities().count(), 1);
        for (uris, why) in [
            (vec![main.clone(), secret], "holds credentials"),
            (vec![other], "none of them is the default"),
            (
                vec![main, "memory://b".to_owned()],
                "does not say what it serves",
            ),
            (vec![], "none of them is the default"),
        ] {
            let told = JobPlaces::from(uris).admit().unwrap_err().error;
            assert!(told.contains(why) && !told.contains("CANARY"), "{told}");
        }
    }
}
