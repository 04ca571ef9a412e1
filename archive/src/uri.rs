//! The address of a collection.
//!
//! | form | store |
//! |---|---|
//! | `file:///absolute/path` | a local or mounted directory, written with fsync |
//! | `memory://name` | a store of this process, shared by all who name it, gone with the process |
//! | `s3://bucket/prefix` | S3 and what speaks its protocol |
//! | `azure://container/prefix` | Azure Blob Storage; `azure-blob://` is the same |
//! | `gs://bucket/prefix` | Google Cloud Storage |
//!
//! The last three take their credentials from the environment, or from parameters, each percent-encoded
//! (`parameters`). Parameters win. Plain http is used only with an endpoint that begins with `http://`.
//! `docs/guide/stores.md` lists parameters and variables. The parameter `COCKROACH_LOCALITY`, which all
//! know, says what the place serves in a collection of several ([`crate::locality`]). No form of a URI that this crate prints holds a
//! credential.

mod parameters;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::error::{Error, Result};
use crate::locality::Serves;

pub(crate) use parameters::{Parameters, Service, check_endpoint};

/// The parameter by which CockroachDB spreads a backup over several URIs.
const LOCALITY_PARAMETER: &str = "COCKROACH_LOCALITY";

/// Where a collection lies. Parses from text; displays, and debugs, without credentials.
///
/// ```
/// use icecore_archive::CollectionUri;
///
/// let uri: CollectionUri = "s3://backups/prod?AWS_ACCESS_KEY_ID=AKIA1&AWS_SECRET_ACCESS_KEY=s%2Fecret&AWS_REGION=eu-west-1".parse()?;
/// assert_eq!(
///     uri.to_string(),
///     "s3://backups/prod?AWS_ACCESS_KEY_ID=redacted&AWS_SECRET_ACCESS_KEY=redacted&AWS_REGION=eu-west-1"
/// );
/// # Ok::<(), icecore_archive::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CollectionUri {
    pub(crate) target: Target,
    serves: Option<Serves>,
}

/// What a URI names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A directory.
    File { root: PathBuf, url: Url },
    /// A named store of this process, and a prefix in it, perhaps empty.
    Memory { name: String, prefix: String },
    /// A bucket, and a prefix in it, perhaps empty.
    Bucket {
        service: Service,
        bucket: String,
        prefix: String,
        parameters: Parameters,
    },
}

impl CollectionUri {
    /// The URI without its credentials: what messages call the collection.
    #[must_use]
    pub fn without_credentials(&self) -> String {
        let mut bare = self.clone();
        if let Target::Bucket {
            service,
            parameters,
            ..
        } = &mut bare.target
        {
            *parameters = parameters.without_identity(*service);
        }
        bare.to_string()
    }

    /// Whether its parameters hold a credential.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        match &self.target {
            Target::Bucket {
                service,
                parameters,
                ..
            } => parameters.hold_a_secret(*service),
            Target::File { .. } | Target::Memory { .. } => false,
        }
    }

    /// What it says it serves.
    pub(crate) const fn serves(&self) -> Option<&Serves> {
        self.serves.as_ref()
    }

    /// Where it is, whatever it serves, without credentials.
    pub(crate) fn place(&self) -> String {
        let mut place = self.clone();
        place.serves = None;
        place.without_credentials()
    }

    /// The directory of a `file://` URI; `None` for the others.
    #[must_use]
    pub fn local_path(&self) -> Option<&std::path::Path> {
        match &self.target {
            Target::File { root, .. } => Some(root),
            Target::Memory { .. } | Target::Bucket { .. } => None,
        }
    }

    /// The URI of a local directory, which need not exist yet.
    ///
    /// # Errors
    /// [`Error::InvalidUri`] if the path is not absolute, has a `..` in it, or is the root.
    pub fn from_local_path(path: impl AsRef<std::path::Path>) -> Result<Self> {
        let path = path.as_ref();
        let invalid = |reason: &str| Error::InvalidUri {
            uri: path.display().to_string(),
            reason: reason.to_owned(),
        };
        let url =
            Url::from_file_path(path).map_err(|()| invalid("a local path must be absolute"))?;
        // URIs resolve `..` as text, directories do it through links: they may not agree.
        let uri: Self = url.as_str().parse()?;
        if uri.local_path() == Some(path) {
            Ok(uri)
        } else {
            Err(invalid("a local path must be without '..'"))
        }
    }
}

impl FromStr for CollectionUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // From here on only this part is ever printed: the rest may hold credentials.
        let place = place_of(text);
        let invalid = |reason: &str| Error::InvalidUri {
            uri: place.clone(),
            reason: reason.to_owned(),
        };
        // Before anything is read of it: what looks like a port may be the beginning of a password.
        if has_port(text) {
            return Err(invalid(
                "a ':' after the name has no meaning; an endpoint with its port goes into AWS_ENDPOINT, AZURE_ENDPOINT or GOOGLE_ENDPOINT, credentials into parameters",
            ));
        }
        // A reader of URLs skips them, and takes what is left for the name.
        if text.contains(|character: char| character.is_ascii_control()) {
            return Err(invalid(
                "it has a line break, a tab or another control character in it; one that belongs there is written %0A, %09 and so on",
            ));
        }
        let url = Url::parse(text).map_err(|_| {
            invalid(
                "it must look like file:///path, memory://name, s3://bucket/prefix, azure://container/prefix or gs://bucket/prefix",
            )
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("user names and passwords go into parameters"));
        }
        if url.fragment().is_some() {
            return Err(invalid("a '#' in it must be written %23"));
        }
        let (serves, parameters) = split_parameters(&url, &place)?;
        let target = match url.scheme() {
            "file" => parse_file(&url, &parameters, &place)?,
            "memory" => parse_memory(&url, &parameters, &place)?,
            other => match Service::of_scheme(other) {
                Some(service) => parse_bucket(&url, parameters, &place, service)?,
                None => {
                    return Err(invalid(&format!(
                        "unknown scheme '{other}'; known are file, memory, s3, azure and gs"
                    )));
                }
            },
        };
        Ok(Self { target, serves })
    }
}

/// Whether what stands for a bucket or a name goes on with a `:`, and is not followed by an `@`.
fn has_port(text: &str) -> bool {
    let authority = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|named| named.contains(':') && !named.contains('@'))
}

/// What messages show of a text that may be no URI: what stands before its parameters, without a user
/// name and password. People write those with `/`, `?` and `#` in the password, or with a slash too few.
fn place_of(text: &str) -> String {
    let place = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = place.split_at(place.find(':').map_or(0, |colon| colon + 1));
    let named = rest.trim_start_matches('/');
    let authority = named.split('/').next().unwrap_or_default();
    let user = authority.contains('@') || (authority.contains(':') && text.contains('@'));
    if !user {
        return place.to_owned();
    }
    let slashes = rest.strip_suffix(named).unwrap_or_default();
    let after_user = match text.get(place.len()..) {
        Some(parameters) if parameters.contains('@') => None,
        _ => named.rsplit_once('@').map(|(_, after)| after),
    };
    format!("{scheme}{slashes}{}", after_user.unwrap_or("…"))
}

/// Names and values.
type Pairs = Vec<(String, String)>;

/// What the place serves, and the other parameters.
fn split_parameters(url: &Url, place: &str) -> Result<(Option<Serves>, Pairs)> {
    let pairs = url.query_pairs().into_owned();
    let (serves, others): (Pairs, Pairs) = pairs.partition(|(name, _)| name == LOCALITY_PARAMETER);
    let invalid = |reason: String| Error::InvalidUri {
        uri: place.to_owned(),
        reason,
    };
    let serves = match serves.as_slice() {
        [] => None,
        // What was put there by mistake may be a secret.
        [(name, value)] => Some(value.parse().map_err(|_| {
            invalid(format!(
                "{name} is neither 'default' nor tags such as region=us,zone=a, percent-encoded"
            ))
        })?),
        [(name, _), ..] => return Err(invalid(format!("parameter '{name}' is given twice"))),
    };
    Ok((serves, others))
}

fn parse_file(url: &Url, parameters: &Pairs, place: &str) -> Result<Target> {
    refuse_parameters(parameters, place, "file")?;
    let invalid = |reason: &str| Error::InvalidUri {
        uri: place.to_owned(),
        reason: reason.to_owned(),
    };
    if url.host().is_some() {
        return Err(invalid(
            "a local path takes three slashes: file:///absolute/path",
        ));
    }
    let root = url
        .to_file_path()
        .map_err(|()| invalid("it is not a path of this system"))?;
    if root.parent().is_none() {
        return Err(invalid(
            "a collection needs a directory of its own, not the root",
        ));
    }
    let mut url = url.clone();
    url.set_query(None);
    Ok(Target::File { root, url })
}

fn parse_memory(url: &Url, parameters: &Pairs, place: &str) -> Result<Target> {
    refuse_parameters(parameters, place, "memory")?;
    let name = url.host_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        let reason = "it needs a name: memory://name".to_owned();
        return Err(Error::InvalidUri {
            uri: place.to_owned(),
            reason,
        });
    }
    Ok(Target::Memory {
        name,
        prefix: prefix_of(url, place)?,
    })
}

fn parse_bucket(url: &Url, given: Pairs, place: &str, service: Service) -> Result<Target> {
    let invalid = |reason: String| Error::InvalidUri {
        uri: place.to_owned(),
        reason,
    };
    let bucket = url.host_str().unwrap_or_default().to_owned();
    if bucket.is_empty() {
        let (scheme, what) = (service.scheme(), service.bucket());
        return Err(invalid(format!(
            "it needs a {what}: {scheme}://{what}/prefix"
        )));
    }
    let mut parameters = Parameters::default();
    for (name, value) in given {
        let known = parameters.take(service, &name, value);
        if !known.map_err(invalid)? {
            let known = format!("{} knows {}", service.scheme(), service.names());
            return Err(unknown_parameter(&name, place, &known));
        }
    }
    parameters.check(service).map_err(invalid)?;
    Ok(Target::Bucket {
        service,
        bucket,
        prefix: prefix_of(url, place)?,
        parameters,
    })
}

/// The path without slashes at its ends, decoded, as a prefix in the store.
fn prefix_of(url: &Url, place: &str) -> Result<String> {
    let path =
        object_store::path::Path::from_url_path(url.path()).map_err(|_| Error::InvalidUri {
            uri: place.to_owned(),
            reason: "its path has an empty segment, or one of dots alone".to_owned(),
        })?;
    Ok(path.to_string())
}

fn refuse_parameters(parameters: &Pairs, place: &str, scheme: &str) -> Result<()> {
    match parameters.first() {
        None => Ok(()),
        Some((name, _)) => Err(unknown_parameter(
            name,
            place,
            &format!("{scheme} takes none"),
        )),
    }
}

fn unknown_parameter(name: &str, place: &str, known: &str) -> Error {
    Error::UnknownUriParameter {
        uri: place.to_owned(),
        name: name.to_owned(),
        known: known.to_owned(),
    }
}

impl fmt::Display for CollectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        match &self.target {
            Target::File { url, .. } => write!(f, "{url}")?,
            Target::Memory { name, prefix } => {
                write!(f, "memory://{name}{}", path_of(prefix))?;
            }
            Target::Bucket {
                service,
                bucket,
                prefix,
                parameters,
            } => {
                write!(f, "{}://{bucket}{}", service.scheme(), path_of(prefix))?;
                query.extend_pairs(parameters.redacted(*service));
            }
        }
        if let Some(serves) = &self.serves {
            query.append_pair(LOCALITY_PARAMETER, &serves.to_string());
        }
        let query = query.finish();
        if query.is_empty() {
            Ok(())
        } else {
            write!(f, "?{query}")
        }
    }
}

impl fmt::Debug for CollectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectionUri({self})")
    }
}

/// The path of a prefix in a URI: [`prefix_of`] backwards. What would end the path, begin an escape or be
/// trimmed is escaped; all else is readable as it is.
fn path_of(prefix: &str) -> String {
    let mut path = String::new();
    if !prefix.is_empty() {
        path.push('/');
    }
    for character in prefix.chars() {
        let plain =
            !"%?#\\".contains(character) && !character.is_whitespace() && !character.is_control();
        if plain {
            path.push(character);
        } else {
            let bytes = character.to_string().into_bytes();
            path.extend(bytes.iter().map(|byte| format!("%{byte:02X}")));
        }
    }
    path
}

#[cfg(test)]
mod tests;
