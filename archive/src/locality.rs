//! Localities: which of several places a keyspace's files lie in.
//!
//! A collection may lie in several places, each a URI of its own that says which locality it serves:
//! `?COCKROACH_LOCALITY=region%3Dus-east1`, or `default`. The default holds all that makes the collection:
//! markers, locks, manifests. A keyspace's data files go to the place that fits its tags best, else to the
//! default. Here are the names and the choice, without I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use icecore_mvcc::parse_locality;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::uri::CollectionUri;

/// How the place of everything else is named.
const DEFAULT: &str = "default";

/// The tags that a place serves: `region=us-east1`, or several, `region=us,zone=a`.
///
/// Parses from that text and displays as it, the tags in the order of their keys; serialises as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Locality(Arc<str>);

impl Locality {
    /// The tags as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How well it fits the tags of a keyspace; `None` if one of its own is not among them.
    ///
    /// More tags are better. Of equally many, those whose last key comes later are: a zone is more than a
    /// region.
    fn fit<'a>(&'a self, tags: &BTreeMap<String, String>) -> Option<(usize, Vec<&'a str>)> {
        let own = self.0.split(',').map(|tag| tag.split_once('='));
        let own: Vec<(&str, &str)> = own.collect::<Option<_>>()?;
        let fits = |(key, value): &(&str, &str)| tags.get(*key).is_some_and(|tag| tag == value);
        let keys = own.iter().rev().map(|(key, _)| *key).collect();
        own.iter().all(fits).then_some((own.len(), keys))
    }

    /// The one that fits the tags of a keyspace best; `None` for the default.
    pub(crate) fn choose<'a>(
        localities: impl IntoIterator<Item = &'a Self>,
        tags: &BTreeMap<String, String>,
    ) -> Option<&'a Self> {
        let fitting = localities.into_iter();
        let fitting = fitting.filter_map(|locality| Some((locality.fit(tags)?, locality)));
        fitting.max_by(|a, b| a.0.cmp(&b.0)).map(|(_, best)| best)
    }
}

impl FromStr for Locality {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |reason: String| Error::InvalidLocality {
            text: text.to_owned(),
            reason,
        };
        let tags = parse_locality(text).map_err(|error| match error {
            icecore_mvcc::Error::Locality { reason, .. } => wrong(reason),
            other => wrong(other.to_string()),
        })?;
        if tags.is_empty() {
            return Err(wrong("it has no tag".to_owned()));
        }
        let tags: Vec<String> = tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        Ok(Self(tags.join(",").into()))
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Locality> for String {
    fn from(locality: Locality) -> Self {
        locality.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for Locality {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// What a URI says it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Serves {
    /// The rest, and what makes the collection.
    Default,
    /// Keyspaces with these tags.
    Locality(Locality),
}

impl FromStr for Serves {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            DEFAULT => Ok(Self::Default),
            tags => tags.parse().map(Self::Locality),
        }
    }
}

impl fmt::Display for Serves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(DEFAULT),
            Self::Locality(locality) => locality.fmt(f),
        }
    }
}

/// The places of one collection: one URI, or several that each say what they serve.
///
/// ```
/// use icecore_archive::CollectionPlaces;
///
/// let places = CollectionPlaces::new(vec![
///     "s3://main/prod?COCKROACH_LOCALITY=default".parse()?,
///     "s3://east/prod?COCKROACH_LOCALITY=region%3Dus-east1".parse()?,
/// ])?;
/// assert_eq!(places.localities().count(), 1);
/// # Ok::<(), icecore_archive::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionPlaces {
    pub(crate) default: CollectionUri,
    pub(crate) others: BTreeMap<Locality, CollectionUri>,
}

impl CollectionPlaces {
    /// The places, in any order.
    ///
    /// # Errors
    /// [`Error::InvalidPlaces`] without a URI, or if not exactly one is the default, one of several says
    /// nothing, two serve the same, or two are the same place.
    pub fn new(uris: Vec<CollectionUri>) -> Result<Self> {
        let wrong = |reason: String| Err(Error::InvalidPlaces { reason });
        let several = uris.len() > 1;
        let mut places = BTreeSet::new();
        let (mut default, mut others) = (None, BTreeMap::new());
        for uri in uris {
            let shown = uri.without_credentials();
            if !places.insert(uri.place()) {
                return wrong(format!("'{}' is given twice", uri.place()));
            }
            match uri.serves() {
                None if several => {
                    return wrong(format!(
                        "'{shown}' does not say what it serves; each of several needs the parameter \
                         COCKROACH_LOCALITY, one of them with the value default"
                    ));
                }
                None | Some(Serves::Default) => {
                    if let Some(first) = default.replace(uri) {
                        let first = first.without_credentials();
                        return wrong(format!("both '{first}' and '{shown}' are the default"));
                    }
                }
                Some(Serves::Locality(locality)) => {
                    let locality = locality.clone();
                    if let Some(first) = others.insert(locality.clone(), uri) {
                        let first = first.without_credentials();
                        return wrong(format!("both '{first}' and '{shown}' serve {locality}"));
                    }
                }
            }
        }
        match default {
            Some(default) => Ok(Self { default, others }),
            None => wrong(
                "none of them is the default; the one that holds the manifests needs \
                 COCKROACH_LOCALITY=default"
                    .to_owned(),
            ),
        }
    }

    /// The default place alone.
    #[must_use]
    pub fn without_localities(&self) -> Self {
        Self {
            default: self.default.clone(),
            others: BTreeMap::new(),
        }
    }

    /// The URI of the default place.
    #[must_use]
    pub const fn default_uri(&self) -> &CollectionUri {
        &self.default
    }

    /// The localities beside the default.
    pub fn localities(&self) -> impl Iterator<Item = &Locality> {
        self.others.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> BTreeMap<String, String> {
        parse_locality(text).unwrap()
    }

    fn chosen(localities: &[&str], of: &str) -> String {
        let localities: Vec<Locality> = localities.iter().map(|l| l.parse().unwrap()).collect();
        let chosen = Locality::choose(&localities, &tags(of));
        chosen.map_or_else(|| "default".to_owned(), ToString::to_string)
    }

    #[test]
    fn a_keyspace_goes_to_the_most_specific_match_of_its_tags_else_to_the_default() {
        let all = ["region=us", "region=eu", "zone=a", "region=us,zone=a"];
        assert_eq!(chosen(&all, "region=us,zone=a"), "region=us,zone=a");
        assert_eq!(chosen(&all, "region=us,zone=b"), "region=us");
        assert_eq!(chosen(&all, "region=eu,zone=a"), "zone=a");
        assert_eq!(chosen(&all[..3], "zone=a,region=us"), "zone=a");
        assert_eq!(chosen(&all, "region=asia"), "default");
        assert_eq!(chosen(&all, ""), "default");
        assert_eq!(chosen(&[], "region=us"), "default");
        // As text `region=us` begins this one.
        assert_eq!(chosen(&all, "region=us-east1"), "default");
    }

    #[test]
    fn one_locality_has_one_text() {
        let locality: Locality = "zone=a,region=us".parse().unwrap();
        assert_eq!(locality.to_string(), "region=us,zone=a");
        let json = serde_json::to_string(&locality).unwrap();
        assert_eq!(json, "\"region=us,zone=a\"");
        assert_eq!(serde_json::from_str::<Locality>(&json).unwrap(), locality);
        for wrong in ["", "us", "region=", "region=us,region=eu", "default"] {
            let refused = wrong.parse::<Locality>();
            assert!(
                matches!(refused, Err(Error::InvalidLocality { .. })),
                "{wrong}"
            );
        }
    }

    fn places(uris: &[&str]) -> Result<CollectionPlaces> {
        CollectionPlaces::new(uris.iter().map(|uri| uri.parse().unwrap()).collect())
    }

    fn refusal(uris: &[&str]) -> String {
        places(uris).unwrap_err().to_string()
    }

    #[test]
    fn places_in_any_order_make_one_collection() {
        let [main, us, eu] = [
            "memory://main?COCKROACH_LOCALITY=default",
            "memory://us?COCKROACH_LOCALITY=region%3Dus",
            "memory://eu?COCKROACH_LOCALITY=region%3Deu",
        ];
        let expected = places(&[main, us, eu]).unwrap();
        assert_eq!(places(&[eu, main, us]).unwrap(), expected);
        assert_eq!(expected.localities().count(), 2);
        assert!(places(&["memory://main"]).is_ok() && places(&[main]).is_ok());
    }

    #[test]
    fn sets_that_are_no_collection_say_why() {
        let [main, us] = [
            "memory://main?COCKROACH_LOCALITY=default",
            "memory://us?COCKROACH_LOCALITY=region%3Dus",
        ];
        for (uris, why) in [
            (vec![us], "none of them is the default"),
            (vec![], "none of them is the default"),
            (
                vec![main, "memory://us"],
                "'memory://us' does not say what it serves",
            ),
            (
                vec![main, "memory://b?COCKROACH_LOCALITY=default"],
                "are the default",
            ),
            (
                vec![main, us, "memory://b?COCKROACH_LOCALITY=region%3Dus"],
                "serve region=us",
            ),
            (
                vec![main, "memory://main?COCKROACH_LOCALITY=region%3Dus"],
                "'memory://main' is given twice",
            ),
        ] {
            let told = refusal(&uris);
            assert!(told.contains(why), "{uris:?}: {told}");
        }
        let told = refusal(&[
            main,
            "s3://b?AWS_ACCESS_KEY_ID=CANARY&AWS_SECRET_ACCESS_KEY=CANARY",
        ]);
        assert!(!told.contains("CANARY"), "{told}");
    }
}
