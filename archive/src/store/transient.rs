//! Which failures of a store may pass, and how a failure reads: in one line, without secrets.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;

use object_store::Error;

/// The name that `LocalFileSystem` gives itself in errors.
const LOCAL_STORE: &str = "LocalFileSystem";

/// How much of a store's answer is repeated.
const MAX_REASON_CHARS: usize = 400;

/// Whether the same request may well succeed later.
///
/// Yes for time-outs, connections lost or refused, throttling and server errors. No for what the request
/// itself is wrong about, and no for a local disk that fails: a sync that failed once must not be taken
/// for a success the second time.
pub(crate) fn is_transient(error: &Error) -> bool {
    match error {
        Error::Generic { store, source } if *store == LOCAL_STORE => {
            io_error(source.as_ref()).is_some_and(passes)
        }
        Error::Generic { source, .. } => !is_client_error(source.as_ref()),
        Error::JoinError { .. } => false,
        _ => false,
    }
}

/// The first I/O error in a chain of causes.
fn io_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
    causes(error).find_map(|error| error.downcast_ref::<io::Error>())
}

/// An error and what caused it.
fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Whether a local I/O error comes from load or from a mounted file server's hiccup.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{
        Interrupted, NetworkDown, NetworkUnreachable, ResourceBusy, StaleNetworkFileHandle,
        TimedOut, WouldBlock,
    };
    matches!(
        error.kind(),
        Interrupted
            | NetworkDown
            | NetworkUnreachable
            | ResourceBusy
            | StaleNetworkFileHandle
            | TimedOut
            | WouldBlock
    )
}

/// Whether the store answered that the request is wrong: a status of 4xx but for time-outs and throttling.
///
/// object_store keeps the status private, so the text of its error is all there is to go by.
fn is_client_error(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|error| {
        let text = error.to_string();
        let status = text
            .split_once("status code: ")
            .map(|(_, rest)| rest.chars().take(3).collect::<String>());
        status.is_some_and(|status| status.starts_with('4') && status != "408" && status != "429")
    })
}

/// What an error says, and the cause at its bottom unless that is part of it, in one line of bounded length.
pub(crate) fn one_line(error: &Error) -> String {
    let mut text = match error {
        Error::Generic { source, .. }
        | Error::NotFound { source, .. }
        | Error::AlreadyExists { source, .. }
        | Error::Precondition { source, .. }
        | Error::NotModified { source, .. }
        | Error::PermissionDenied { source, .. }
        | Error::Unauthenticated { source, .. }
        | Error::NotSupported { source } => source.to_string(),
        other => other.to_string(),
    };
    let bottom = causes(error).last().map(ToString::to_string);
    if let Some(bottom) = bottom.filter(|bottom| !text.contains(bottom.as_str())) {
        text = format!("{text}: {bottom}");
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_REASON_CHARS) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

/// Takes known secrets out of texts.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<[String]>);

impl Redactor {
    /// Of these secrets.
    pub(crate) fn new(secrets: Vec<String>) -> Self {
        Self(secrets.into())
    }

    /// The text with each secret replaced.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), "redacted")
        })
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out() {
        let redactor = Redactor::new(vec!["CANARY".to_owned()]);
        assert_eq!(
            redactor.clean("<AWSAccessKeyId>CANARY</AWSAccessKeyId>"),
            "<AWSAccessKeyId>redacted</AWSAccessKeyId>"
        );
        assert!(!format!("{redactor:?}").contains("CANARY"));
    }

    fn generic(store: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Generic {
            store,
            source: source.into(),
        }
    }

    fn local(kind: io::ErrorKind) -> Error {
        generic(LOCAL_STORE, io::Error::from(kind))
    }

    #[test]
    fn what_may_pass() {
        for error in [
            generic("S3", "error sending request"),
            generic(
                "S3",
                "Server returned non-2xx status code: 503 Service Unavailable: SlowDown",
            ),
            generic(
                "S3",
                "Server returned non-2xx status code: 429 Too Many Requests: ",
            ),
            generic(
                "S3",
                "Server returned non-2xx status code: 408 Request Timeout: ",
            ),
            generic("fault", io::Error::from(io::ErrorKind::ConnectionReset)),
            local(io::ErrorKind::TimedOut),
            local(io::ErrorKind::StaleNetworkFileHandle),
        ] {
            assert!(is_transient(&error), "{error}");
        }
    }

    #[test]
    fn what_stays() {
        let source = || Box::<dyn StdError + Send + Sync>::from("x");
        for error in [
            generic(
                "S3",
                "Server returned non-2xx status code: 400 Bad Request: <Code>InvalidBucketName</Code>",
            ),
            local(io::ErrorKind::StorageFull),
            local(io::ErrorKind::ReadOnlyFilesystem),
            local(io::ErrorKind::PermissionDenied),
            // EIO of an fsync.
            generic(LOCAL_STORE, io::Error::from_raw_os_error(5)),
            Error::NotFound {
                path: "p".to_owned(),
                source: source(),
            },
            Error::AlreadyExists {
                path: "p".to_owned(),
                source: source(),
            },
            Error::PermissionDenied {
                path: "p".to_owned(),
                source: source(),
            },
            Error::NotSupported { source: source() },
        ] {
            assert!(!is_transient(&error), "{error}");
        }
    }

    #[test]
    fn a_long_answer_of_many_lines_becomes_one_of_bounded_length() {
        assert_eq!(one_line(&generic("S3", "a\n  b\r\n\tc")), "a b c");
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let request = Error::NotSupported {
            source: Box::new(refused),
        };
        assert_eq!(
            one_line(&generic("S3", request)),
            "Operation not supported: refused"
        );
        let long = one_line(&generic("S3", "ä".repeat(1000)));
        assert_eq!(long.chars().count(), MAX_REASON_CHARS + 1);
    }
}
