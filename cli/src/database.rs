//! What `--db` names: a database folder, or a backup that is read in place.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use icecore_archive::{BackupSelector, CollectionPlaces, CollectionUri};
use percent_encoding::percent_decode_str;

use crate::arguments::Time;
use crate::error::{Error, Result};
use crate::places::places;

/// What the name of a backup begins with. A folder of such a name is `./backup:…`.
const SCHEME: &str = "backup:";

#[derive(Debug, Clone)]
pub(crate) enum Database {
    Folder(PathBuf),
    Backup(BackupUri),
}

impl From<OsString> for Database {
    fn from(given: OsString) -> Self {
        match given.to_str().and_then(|text| text.strip_prefix(SCHEME)) {
            Some(uri) => Self::Backup(BackupUri(vec![uri.to_owned()])),
            None => Self::Folder(given.into()),
        }
    }
}

impl Database {
    /// What all that was given names together: several places are those of one backup.
    pub(crate) fn of(given: Vec<Self>) -> Result<Option<Self>> {
        let mut given = given.into_iter();
        let Some(mut first) = given.next() else {
            return Ok(None);
        };
        for next in given {
            match (&mut first, next) {
                (Self::Backup(first), Self::Backup(next)) => first.0.extend(next.0),
                _ => {
                    let text = "--db is given twice; only a backup in several places takes several, each backup:URI";
                    return Err(Error::Usage(text.to_owned()));
                }
            }
        }
        Ok(Some(first))
    }
}

/// `URI[?as-of=TIME][&backup=SUBDIR]` as it was given, of each place; parameters may stand in any of them.
/// Parsed when it is used, since what reads the command line would print a wrong one whole, and it may hold
/// credentials.
#[derive(Clone)]
pub(crate) struct BackupUri(Vec<String>);

impl fmt::Debug for BackupUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupUri(…)")
    }
}

/// Which backup to read in place.
#[derive(Debug)]
pub(crate) struct BackupAddress {
    pub(crate) places: CollectionPlaces,
    pub(crate) from: BackupSelector,
    pub(crate) as_of: Option<Time>,
}

impl BackupUri {
    pub(crate) fn parse(&self) -> Result<BackupAddress> {
        let mut own = Own::default();
        let uris = self.0.iter().map(|uri| own.take(uri));
        let uris: Vec<CollectionUri> = uris.collect::<Result<_>>()?;
        Ok(BackupAddress {
            places: places(&uris)?,
            from: match own.from {
                Some(from) => from.parse()?,
                None => BackupSelector::Latest,
            },
            as_of: own.as_of.map(|time| time.parse()).transpose()?,
        })
    }
}

/// What of the URIs is not the collection's.
#[derive(Default)]
struct Own {
    as_of: Option<String>,
    from: Option<String>,
}

impl Own {
    /// Takes `as-of` and `backup` out; the rest is the collection's.
    fn take(&mut self, uri: &str) -> Result<CollectionUri> {
        let (place, parameters) = uri.split_once('?').unwrap_or((uri, ""));
        let mut others = Vec::new();
        for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let taken = match name {
                "as-of" => self.as_of.replace(decoded(name, value)?),
                "backup" => self.from.replace(decoded(name, value)?),
                _ => {
                    others.push(parameter);
                    None
                }
            };
            if taken.is_some() {
                return Err(Error::Usage(format!(
                    "the URI of the backup names {name} twice; name it once"
                )));
            }
        }
        let collection = match others.is_empty() {
            true => place.to_owned(),
            false => format!("{place}?{}", others.join("&")),
        };
        Ok(collection.parse()?)
    }
}

fn decoded(name: &str, value: &str) -> Result<String> {
    let decoded = percent_decode_str(value).decode_utf8();
    let text = decoded.map_err(|_| {
        Error::Usage(format!(
            "{name} in the URI of the backup is not UTF-8; mend its %NN escapes"
        ))
    })?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backup(text: &str) -> Result<BackupAddress> {
        backups(&[text])
    }

    fn backups(texts: &[&str]) -> Result<BackupAddress> {
        let given = texts
            .iter()
            .map(|text| Database::from(OsString::from(text)));
        match Database::of(given.collect())? {
            Some(Database::Backup(uri)) => uri.parse(),
            other => panic!("{other:?} is no backup"),
        }
    }

    fn parts(text: &str) -> (String, String, Option<Time>) {
        let address = backup(text).unwrap();
        let collection = address.places.default_uri().to_string();
        (collection, address.from.to_string(), address.as_of)
    }

    #[test]
    fn only_the_scheme_makes_a_backup() {
        for folder in ["db", "./backup:x", "file:///backups", "Backup:x", ""] {
            let database = Database::from(OsString::from(folder));
            assert!(matches!(database, Database::Folder(path) if path.as_os_str() == folder));
        }
    }

    #[test]
    fn its_own_parameters_are_taken_out_and_the_others_stay() {
        assert_eq!(
            parts("backup:file:///b/x%20y"),
            ("file:///b/x%20y".to_owned(), "LATEST".to_owned(), None)
        );
        let time: Time = "2024-03-01T00:00:00+01:00".parse().unwrap();
        assert_eq!(
            parts(
                "backup:s3://b/p?AWS_REGION=eu%2Dwest-1&as-of=2024-03-01T00%3A00%3A00+01:00&AWS_ENDPOINT=http%3A%2F%2Fh%3A1&backup=2022%2F02/09-155340.13"
            ),
            (
                "s3://b/p?AWS_REGION=eu-west-1&AWS_ENDPOINT=http%3A%2F%2Fh%3A1".to_owned(),
                "2022/02/09-155340.13".to_owned(),
                Some(time)
            )
        );
    }

    #[test]
    fn several_are_the_places_of_one_backup() {
        let [main, us] = [
            "backup:memory://main?COCKROACH_LOCALITY=default&as-of=5",
            "backup:memory://us?backup=2022%2F02/09-155340.13&COCKROACH_LOCALITY=region%3Dus",
        ];
        let address = backups(&[us, main]).unwrap();
        assert_eq!(address.places.localities().count(), 1);
        assert_eq!(address.from.to_string(), "2022/02/09-155340.13");
        assert!(address.as_of.is_some());
        for wrong in [
            vec![main, main],
            vec![main, "backup:memory://us"],
            vec![main, "folder"],
            vec!["folder", "folder"],
        ] {
            assert_eq!(backups(&wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_credentials() {
        let secret = "AWS_SECRET_ACCESS_KEY=Zm9v";
        for wrong in [
            "as-of=-1s&as-of=-2s",
            "backup=%FF",
            "backup=yesterday",
            "as-of=yesterday",
            "unknown=1",
        ] {
            let text = format!("backup:s3://b/p?{secret}&{wrong}");
            let error = backup(&text).unwrap_err().to_string();
            assert!(!error.contains("Zm9v"), "{error}");
        }
        let database = Database::from(OsString::from(format!("backup:s3://b?{secret}")));
        assert!(!format!("{database:?}").contains("Zm9v"));
    }
}
