//! The one error type of the crate.
//!
//! Each text is one line, lower case, and says what happened, to what, and what to do. Text that came
//! from outside is quoted with its control characters escaped, so that it cannot break the line.

use crate::key::MAX_KEY_BYTES;
use crate::name::MAX_NAME_BYTES;
use crate::value::MAX_VALUE_BYTES;

/// The result of a fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What can be wrong with a text, a key, a value or a setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no time in any of the accepted forms.
    #[error(
        "{text:?} is not a time: write RFC 3339 (2022-02-09T15:53:40Z), seconds with a fraction \
         (1644422020.5), integer nanoseconds, or a relative time (-10s, -1h30m)"
    )]
    TimestampSyntax {
        /// The text as given.
        text: String,
    },
    /// The text is a date or a date with a time of day, but says not in which zone.
    #[error(
        "{text:?} has no UTC offset: write it in full, for example 2022-02-09T15:53:40Z or \
         2022-02-09T16:53:40+01:00"
    )]
    TimestampOffset {
        /// The text as given.
        text: String,
    },
    /// The text is finer than a nanosecond.
    #[error("{text:?} is finer than a nanosecond: write at most 9 digits after the point")]
    TimestampPrecision {
        /// The text as given.
        text: String,
    },
    /// The time lies outside of what a [`Timestamp`](crate::Timestamp) can hold.
    #[error(
        "the time {text:?} is out of range: times lie between 1970-01-01T00:00:00Z and \
         2554-07-21T23:34:33.709551615Z"
    )]
    TimestampRange {
        /// The text as given.
        text: String,
    },
    /// The text is no duration.
    #[error(
        "{text:?} is not a duration: write whole numbers with a unit each, for example 90s, 1h30m or 30d \
         (units: ns us ms s m h d w)"
    )]
    DurationSyntax {
        /// The text as given.
        text: String,
    },
    /// The duration is longer than the type holds.
    #[error("the duration {text:?} is out of range: the longest is 18446744073709551615s")]
    DurationRange {
        /// The text as given.
        text: String,
    },
    /// A user key is longer than [`MAX_KEY_BYTES`].
    #[error(
        "a key of {bytes} bytes is too long: the limit is {MAX_KEY_BYTES} bytes; shorten it or store its hash"
    )]
    KeyTooLong {
        /// Length of the key.
        bytes: usize,
    },
    /// A stored key is shorter than any can be, or has no terminator in front of its timestamp.
    #[error(
        "\"{stored}\" is not a stored key: no terminator before the last 8 bytes; the file that holds it is \
         damaged or was not written by icecore: run `icecore doctor`, or restore from a backup"
    )]
    KeyTerminator {
        /// The bytes as text, abbreviated.
        stored: String,
    },
    /// A zero byte inside a stored key is not followed by `FF`.
    #[error(
        "\"{stored}\" is not a stored key: bad escape at byte {offset}; the file that holds it is damaged or \
         was not written by icecore: run `icecore doctor`, or restore from a backup"
    )]
    KeyEscape {
        /// The bytes as text, abbreviated.
        stored: String,
        /// Where the zero byte stands.
        offset: usize,
    },
    /// A user value is longer than [`MAX_VALUE_BYTES`].
    #[error(
        "a value of {bytes} bytes is too long: the limit is {MAX_VALUE_BYTES} bytes; split it over several keys"
    )]
    ValueTooLong {
        /// Length of the value.
        bytes: usize,
    },
    /// A stored value has no tag byte.
    #[error(
        "a stored value is empty, without even its tag byte: the file that holds it is damaged or was not \
         written by icecore: run `icecore doctor`, or restore from a backup"
    )]
    ValueEmpty,
    /// A stored value has a tag that this version does not know.
    #[error(
        "a stored value has the unknown tag {tag}: it was written by a newer icecore, or is damaged: open it \
         with the newer version, or restore from a backup"
    )]
    ValueTag {
        /// The tag byte.
        tag: u8,
    },
    /// A tombstone carries bytes after its tag.
    #[error(
        "a stored tombstone carries {bytes} bytes where none belong: the file that holds it is damaged: run \
         `icecore doctor`, or restore from a backup"
    )]
    ValueTombstone {
        /// How many bytes follow the tag.
        bytes: usize,
    },
    /// A keyspace name is not one or more dot-separated segments of `A-Z a-z 0-9 _ -`.
    #[error(
        "{name:?} is not a keyspace name: write segments of letters, digits, _ and - joined by dots, for \
         example bank.customers"
    )]
    NameSyntax {
        /// The name as given.
        name: String,
    },
    /// A keyspace name is longer than [`MAX_NAME_BYTES`].
    #[error("the keyspace name {name:?} is too long: {bytes} bytes, the limit is {MAX_NAME_BYTES}")]
    NameTooLong {
        /// The name's beginning.
        name: String,
        /// Its length.
        bytes: usize,
    },
    /// A pattern is neither `*`, nor `NAME.*`, nor a keyspace name.
    #[error(
        "{pattern:?} is not a keyspace pattern: write *, a database as bank.*, or a name as bank.customers"
    )]
    PatternSyntax {
        /// The pattern as given.
        pattern: String,
    },
    /// Locality tags are not `key=value` pairs joined by commas, or a key comes twice.
    #[error(
        "{text:?} is not a locality: {reason}; write key=value pairs joined by commas, each key once, for \
         example region=us,zone=a"
    )]
    Locality {
        /// The text as given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The text is no engine id.
    #[error(
        "{text:?} is not an engine id: write 32 hexadecimal digits, hyphens between them or not"
    )]
    EngineId {
        /// The text as given.
        text: String,
    },
    /// A backslash in a key's text begins no known escape.
    #[error(
        "bad escape at byte {offset} of \"{}\": write \\xNN with two hexadecimal digits, or \\\\ for a backslash",
        one_line(.text)
    )]
    TextEscape {
        /// The text as given.
        text: String,
        /// Where the backslash stands, in bytes.
        offset: usize,
    },
}

/// The text with control characters replaced and backslashes as they are: an offset into it holds.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests;
