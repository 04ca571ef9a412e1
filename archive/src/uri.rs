//! The address of a collection.
//!
//! | form | store |
//! |---|---|
//! | `file:///absolute/path` | a local or mounted directory, written with fsync |
//! | `memory://name` | a store of this process, shared by all who name it, gone with the process |
//! | `s3://bucket/prefix` | S3 and what speaks its protocol |
//!
//! `s3` takes its credentials from the environment (`AWS_*`, web identity, container and instance roles),
//! or from these parameters, each percent-encoded: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT`. Parameters win. Plain http is used only with an
//! endpoint that begins with `http://`. No form of a URI that this crate prints holds a credential.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::error::{Error, Result};

/// The parameters of `s3`.
const S3_PARAMETERS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT",
];

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
pub struct CollectionUri(pub(crate) Target);

/// What a URI names.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A directory.
    File { root: PathBuf, url: Url },
    /// A named store of this process, and a prefix in it, perhaps empty.
    Memory { name: String, prefix: String },
    /// A bucket, and a prefix in it, perhaps empty.
    S3 {
        bucket: String,
        prefix: String,
        parameters: S3Parameters,
    },
}

/// What an `s3` URI says beside the place.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct S3Parameters {
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<String>,
    pub(crate) session_token: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
}

impl CollectionUri {
    /// The URI without its credentials: what messages call the collection.
    #[must_use]
    pub fn without_credentials(&self) -> String {
        let mut bare = self.clone();
        if let Target::S3 { parameters, .. } = &mut bare.0 {
            parameters.access_key_id = None;
            parameters.secret_access_key = None;
            parameters.session_token = None;
        }
        bare.to_string()
    }

    /// The directory of a `file://` URI; `None` for the others.
    #[must_use]
    pub fn local_path(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Target::File { root, .. } => Some(root),
            Target::Memory { .. } | Target::S3 { .. } => None,
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
                "a ':' after the name has no meaning; an endpoint with its port goes into AWS_ENDPOINT, credentials into parameters",
            ));
        }
        // A reader of URLs skips them, and takes what is left for the name.
        if text.contains(|character: char| character.is_ascii_control()) {
            return Err(invalid(
                "it has a line break, a tab or another control character in it; one that belongs there is written %0A, %09 and so on",
            ));
        }
        let url = Url::parse(text).map_err(|_| {
            invalid("it must look like file:///path, memory://name or s3://bucket/prefix")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("user names and passwords go into parameters"));
        }
        if url.fragment().is_some() {
            return Err(invalid("a '#' in it must be written %23"));
        }
        let target = match url.scheme() {
            "file" => parse_file(&url, &place)?,
            "memory" => parse_memory(&url, &place)?,
            "s3" => parse_s3(&url, &place)?,
            other => {
                return Err(invalid(&format!(
                    "unknown scheme '{other}'; known are file, memory and s3"
                )));
            }
        };
        Ok(Self(target))
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

fn parse_file(url: &Url, place: &str) -> Result<Target> {
    refuse_parameters(url, place, "file")?;
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

fn parse_memory(url: &Url, place: &str) -> Result<Target> {
    refuse_parameters(url, place, "memory")?;
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

fn parse_s3(url: &Url, place: &str) -> Result<Target> {
    let invalid = |reason: &str| Error::InvalidUri {
        uri: place.to_owned(),
        reason: reason.to_owned(),
    };
    let bucket = url.host_str().unwrap_or_default().to_owned();
    if bucket.is_empty() {
        return Err(invalid("it needs a bucket: s3://bucket/prefix"));
    }
    let mut parameters = S3Parameters::default();
    for (name, value) in url.query_pairs() {
        let slot = match name.as_ref() {
            "AWS_ACCESS_KEY_ID" => &mut parameters.access_key_id,
            "AWS_SECRET_ACCESS_KEY" => &mut parameters.secret_access_key,
            "AWS_SESSION_TOKEN" => &mut parameters.session_token,
            "AWS_REGION" => &mut parameters.region,
            "AWS_ENDPOINT" => &mut parameters.endpoint,
            other => {
                return Err(unknown_parameter(
                    other,
                    place,
                    &format!("s3 knows {}", S3_PARAMETERS.join(", ")),
                ));
            }
        };
        if value.is_empty() {
            return Err(invalid(&format!("parameter '{name}' is empty")));
        }
        if slot.replace(value.into_owned()).is_some() {
            return Err(invalid(&format!("parameter '{name}' is given twice")));
        }
    }
    if parameters.access_key_id.is_some() != parameters.secret_access_key.is_some() {
        return Err(invalid(
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together",
        ));
    }
    if parameters.session_token.is_some() && parameters.access_key_id.is_none() {
        return Err(invalid(
            "AWS_SESSION_TOKEN goes with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    if let Some(endpoint) = &parameters.endpoint {
        check_endpoint(endpoint).map_err(|reason| invalid(&reason))?;
    }
    Ok(Target::S3 {
        bucket,
        prefix: prefix_of(url, place)?,
        parameters,
    })
}

/// Says what is wrong with an endpoint's URL, without repeating it.
pub(crate) fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let wrong = |reason: &str| Err(format!("AWS_ENDPOINT {reason}"));
    let Ok(url) = Url::parse(endpoint) else {
        return wrong("is not a URL");
    };
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return wrong("must begin with https:// or http:// and name a host");
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return wrong("may hold a host, a port and a path only");
    }
    Ok(())
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

fn refuse_parameters(url: &Url, place: &str, scheme: &str) -> Result<()> {
    match url.query_pairs().next() {
        None => Ok(()),
        Some((name, _)) => Err(unknown_parameter(
            &name,
            place,
            &format!("{scheme} takes none"),
        )),
    }
}

fn unknown_parameter(name: &str, place: &str, known: &str) -> Error {
    let (uri, name) = (place.to_owned(), name.to_owned());
    if name == LOCALITY_PARAMETER {
        return Error::LocalityUnsupported { uri, name };
    }
    Error::UnknownUriParameter {
        uri,
        name,
        known: known.to_owned(),
    }
}

impl fmt::Display for CollectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::File { url, .. } => write!(f, "{url}"),
            Target::Memory { name, prefix } => {
                write!(f, "memory://{name}{}", path_of(prefix))
            }
            Target::S3 {
                bucket,
                prefix,
                parameters,
            } => {
                write!(f, "s3://{bucket}{}", path_of(prefix))?;
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in S3_PARAMETERS.iter().zip(parameters.redacted()) {
                    if let Some(value) = value {
                        query.append_pair(name, value);
                    }
                }
                let query = query.finish();
                if query.is_empty() {
                    Ok(())
                } else {
                    write!(f, "?{query}")
                }
            }
        }
    }
}

impl fmt::Debug for CollectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CollectionUri({self})")
    }
}

impl S3Parameters {
    /// The values in the order of `S3_PARAMETERS`, secrets replaced.
    fn redacted(&self) -> [Option<&str>; 5] {
        let hide = |value: &Option<String>| value.as_ref().map(|_| "redacted");
        [
            hide(&self.access_key_id),
            hide(&self.secret_access_key),
            hide(&self.session_token),
            self.region.as_deref(),
            self.endpoint.as_deref(),
        ]
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
