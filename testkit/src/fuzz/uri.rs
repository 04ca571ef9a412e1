//! Addresses of collections: what they display reads back, and no text of theirs holds a secret.
//!
//! The first byte says what the others are: `t` a URI, `p` a local path, anything else the parts of a URI
//! with a secret wherever people put them, in the wrong places too.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use icecore_archive::{CollectionUri, Result as ArchiveResult};

use super::Bug;
use crate::failure::{Result, ensure};

/// The secret, which is in no other part. It does not begin as an escape ends: `\\ANARY` displays as
/// `%5CANARY`.
const CANARY: &str = "KANARY";

const SCHEMES: [&str; 7] = [
    "s3://",
    "s3:/",
    "s3:",
    "memory://",
    "file://",
    "gs://",
    "azure://",
];

/// What a password may begin with, so that a reader takes it for a port.
const BEFORE_PASSWORD: [&str; 6] = ["", "/", "1/", "1?", "#", "65536/"];

/// Parameters whose values are secret, and one that may hold a secret in a wrong place.
const SECRET_PARAMETERS: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT",
    "AWS_SECRET",
    "AZURE_ENDPOINT",
    "AZURE_ACCOUNT_KEY",
    "AZURE_SAS_TOKEN",
    "AZURE_CLIENT_SECRET",
    "AUTH",
    "CREDENTIALS",
    "BEARER_TOKEN",
];

/// A URI with secrets.
#[derive(Debug, Arbitrary)]
struct Secrets<'a> {
    /// And what the password begins with.
    scheme: u8,
    /// A user and a password, as `user:KANARY…KANARY@`, with this in the password.
    password: Option<&'a str>,
    place: &'a str,
    /// Each with what comes after the secret.
    parameters: Vec<(u8, &'a str)>,
    fragment: bool,
}

/// Reads the bytes as a URI, or makes one of them.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    match bytes.split_first() {
        Some((b't', text)) => {
            std::str::from_utf8(text).map_or(Ok(()), |text| round_trips(text, bug))
        }
        Some((b'p', path)) => local_path(Path::new(OsStr::from_bytes(path)), bug),
        Some((_, parts)) => match Secrets::arbitrary_take_rest(Unstructured::new(parts)) {
            Ok(parts) => keeps_secrets(&parts, bug),
            Err(_) => Ok(()),
        },
        None => Ok(()),
    }
}

/// How the URI displays, or does with a bug.
fn display(uri: &CollectionUri, text: &str, bug: Option<Bug>) -> String {
    let mut shown = uri.to_string();
    match bug {
        Some(Bug::UrisShowSecrets) => return text.to_owned(),
        Some(Bug::UrisDisplayTooLittle) => {
            let end = shown.find('?').unwrap_or(shown.len());
            let last = shown
                .get(..end)
                .and_then(|place| place.char_indices().next_back());
            last.map(|(at, _)| shown.remove(at));
        }
        _ => {}
    }
    shown
}

/// A URI displays as one that is the same, but for its secrets.
fn round_trips(text: &str, bug: Option<Bug>) -> Result<()> {
    let Ok(uri) = text.parse::<CollectionUri>() else {
        return Ok(());
    };
    for shown in [display(&uri, text, bug), uri.without_credentials()] {
        let read: ArchiveResult<CollectionUri> = shown.parse();
        let again = read.as_ref().map(ToString::to_string);
        ensure!(
            again.as_ref() == Ok(&shown),
            "{text:?} displays as {shown:?}, which reads and displays as {again:?}"
        );
        let secret = shown.contains("=redacted") || shown != uri.to_string();
        ensure!(
            secret || read.as_ref() == Ok(&uri),
            "{text:?} displays as {shown:?}, which is another place"
        );
    }
    uri.local_path()
        .map_or(Ok(()), |path| local_path(path, bug))
}

/// The URI of a local directory is read as that directory's.
fn local_path(path: &Path, bug: Option<Bug>) -> Result<()> {
    let Ok(uri) = CollectionUri::from_local_path(path) else {
        return Ok(());
    };
    let shown = display(&uri, &uri.to_string(), bug);
    let read: ArchiveResult<CollectionUri> = shown.parse();
    let found = read.as_ref().map(CollectionUri::local_path);
    ensure!(
        found.as_ref().is_ok_and(|found| *found == Some(path)),
        "{path:?} has the URI {shown:?}, which is read as {found:?}"
    );
    Ok(())
}

/// Neither a URI nor the refusal of one says a secret.
fn keeps_secrets(parts: &Secrets<'_>, bug: Option<Bug>) -> Result<()> {
    let others = parts.parameters.iter().map(|(_, value)| *value);
    if others
        .chain([parts.place])
        .any(|text| text.contains(CANARY) || unescaped(text).contains(CANARY))
    {
        return Ok(());
    }
    let text = parts.text();
    let said = match text.parse::<CollectionUri>() {
        Ok(uri) => vec![
            display(&uri, &text, bug),
            format!("{uri:?}"),
            uri.without_credentials(),
        ],
        Err(error) => vec![error.to_string(), format!("{error:?}")],
    };
    for said in said {
        ensure!(
            !said.contains(CANARY),
            "{text:?} gives away its secret: {said}"
        );
    }
    Ok(())
}

/// The text with its `%XX` read, as far as they are ASCII.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('%');
    let mut read = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = part.get(..2).map(|hex| u8::from_str_radix(hex, 16));
        match (byte, part.get(2..)) {
            (Some(Ok(byte)), Some(rest)) if byte.is_ascii() => {
                read.push(char::from(byte));
                read.push_str(rest);
            }
            _ => read.extend(["%", part]),
        }
    }
    read
}

impl Secrets<'_> {
    fn text(&self) -> String {
        let mut text = pick(&SCHEMES, self.scheme).to_owned();
        if let Some(middle) = self.password {
            let before = pick(&BEFORE_PASSWORD, self.scheme / SCHEMES.len() as u8);
            text.extend(["user:", before, CANARY, middle, CANARY, "@"]);
        }
        text.push_str(self.place);
        for (number, (name, more)) in self.parameters.iter().enumerate() {
            let name = pick(&SECRET_PARAMETERS, *name);
            let first = number == 0 && !self.place.contains('?');
            text.push(if first { '?' } else { '&' });
            text.extend([name, "=", CANARY, more]);
        }
        if self.fragment {
            text.extend(["#", CANARY]);
        }
        text
    }
}

fn pick<'a>(from: &[&'a str], number: u8) -> &'a str {
    let at = usize::from(number) % from.len().max(1);
    from.get(at).copied().unwrap_or_default()
}
