//! URIs on the command line.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use icecore_archive::CollectionUri;

/// Reads the URI of a collection. One that is refused is not repeated as it was given, which is what the
/// parser of the command line would do: its parameters may hold credentials.
#[derive(Debug, Clone)]
pub(crate) struct UriParser;

impl TypedValueParser for UriParser {
    type Value = CollectionUri;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<CollectionUri, clap::Error> {
        let argument = argument.map_or_else(String::new, |argument| format!(" for '{argument}'"));
        let refused = |reason: String| {
            let text = format!(
                "invalid value{argument}: {reason}\n\nFor more information, try '--help'.\n"
            );
            clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(command)
        };
        let text = value
            .to_str()
            .ok_or_else(|| refused("it is not UTF-8".to_owned()))?;
        text.parse()
            .map_err(|error: icecore_archive::Error| refused(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_uri_is_not_repeated() {
        let command = Command::new("icecore");
        let parse = |text: &str| UriParser.parse_ref(&command, None, OsStr::new(text));
        for text in [
            "s3://bucket?AWS_SECRET_ACCES_KEY=CANARY",
            "s3://user:CANARY@bucket",
            "gs//bucket?CREDENTIALS=CANARY",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("CANARY"), "{error}");
            assert!(error.starts_with("error: invalid value: "), "{error}");
        }
        assert_eq!(parse("memory://x").unwrap().to_string(), "memory://x");
    }
}
