//! Every error text, raised by what raises it.

use std::collections::BTreeSet;

use super::*;
use crate::{
    EngineId, KeyspaceName, NamePattern, Timestamp, key, parse_duration, parse_locality,
    parse_timestamp, text, value,
};

icecore_golden::error_names!(Error:
    TimestampSyntax, TimestampOffset, TimestampPrecision, TimestampRange, DurationSyntax,
    DurationRange, KeyTooLong, KeyTerminator, KeyEscape, ValueTooLong, ValueEmpty, ValueTag,
    ValueTombstone, NameSyntax, NameTooLong, PatternSyntax, Locality, EngineId, TextEscape,
);

fn time(text: &str) -> Error {
    parse_timestamp(text, Timestamp::MIN).unwrap_err()
}

#[test]
fn every_text() {
    let cases = [
        (
            time("noon\n"),
            r#""noon\n" is not a time: write RFC 3339 (2022-02-09T15:53:40Z), seconds with a fraction (1644422020.5), integer nanoseconds, or a relative time (-10s, -1h30m)"#,
        ),
        (
            time("2022-02-09T15:53:40"),
            r#""2022-02-09T15:53:40" has no UTC offset: write it in full, for example 2022-02-09T15:53:40Z or 2022-02-09T16:53:40+01:00"#,
        ),
        (
            time("1.0123456789"),
            r#""1.0123456789" is finer than a nanosecond: write at most 9 digits after the point"#,
        ),
        (
            time("-10s"),
            r#"the time "-10s" is out of range: times lie between 1970-01-01T00:00:00Z and 2554-07-21T23:34:33.709551615Z"#,
        ),
        (
            parse_duration("90").unwrap_err(),
            r#""90" is not a duration: write whole numbers with a unit each, for example 90s, 1h30m or 30d (units: ns us ms s m h d w)"#,
        ),
        (
            parse_duration("99999999999999999999s").unwrap_err(),
            r#"the duration "99999999999999999999s" is out of range: the longest is 18446744073709551615s"#,
        ),
        (
            key::check_key(&[0; 65_537]).unwrap_err(),
            "a key of 65537 bytes is too long: the limit is 65536 bytes; shorten it or store its hash",
        ),
        (
            key::decode_key(b"a\x00").unwrap_err(),
            r#""a\x00" is not a stored key: no terminator before the last 8 bytes; the file that holds it is damaged or was not written by icecore: run `icecore doctor`, or restore from a backup"#,
        ),
        (
            key::decode_key(b"a\x00b\x00\x0112345678").unwrap_err(),
            r#""a\x00b\x00\x01" is not a stored key: bad escape at byte 1; the file that holds it is damaged or was not written by icecore: run `icecore doctor`, or restore from a backup"#,
        ),
        (
            Error::ValueTooLong {
                bytes: 1_073_741_825,
            },
            "a value of 1073741825 bytes is too long: the limit is 1073741824 bytes; split it over several keys",
        ),
        (
            value::decode_value(b"").unwrap_err(),
            "a stored value is empty, without even its tag byte: the file that holds it is damaged or was not written by icecore: run `icecore doctor`, or restore from a backup",
        ),
        (
            value::decode_value(b"\x07").unwrap_err(),
            "a stored value has the unknown tag 7: it was written by a newer icecore, or is damaged: open it with the newer version, or restore from a backup",
        ),
        (
            value::decode_value(b"\x00ab").unwrap_err(),
            "a stored tombstone carries 2 bytes where none belong: the file that holds it is damaged: run `icecore doctor`, or restore from a backup",
        ),
        (
            KeyspaceName::parse("my bank").unwrap_err(),
            r#""my bank" is not a keyspace name: write segments of letters, digits, _ and - joined by dots, for example bank.customers"#,
        ),
        (
            KeyspaceName::parse(&"n".repeat(200)).unwrap_err(),
            r#"the keyspace name "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…" is too long: 200 bytes, the limit is 128"#,
        ),
        (
            NamePattern::parse("ba*").unwrap_err(),
            r#""ba*" is not a keyspace pattern: write *, a database as bank.*, or a name as bank.customers"#,
        ),
        (
            parse_locality("us").unwrap_err(),
            r#""us" is not a locality: "us" has no '='; write key=value pairs joined by commas, each key once, for example region=us,zone=a"#,
        ),
        (
            "7f3b".parse::<EngineId>().unwrap_err(),
            r#""7f3b" is not an engine id: write 32 hexadecimal digits, hyphens between them or not"#,
        ),
        (
            text::from_text("a\n\\q").unwrap_err(),
            r#"bad escape at byte 2 of "a?\q": write \xNN with two hexadecimal digits, or \\ for a backslash"#,
        ),
    ];
    for (error, text) in &cases {
        assert_eq!(error.to_string(), *text);
        assert!(!text.contains('\n'), "one line");
    }
    let covered: BTreeSet<_> = cases.iter().map(|(error, _)| name(error)).collect();
    assert_eq!(covered, NAMES.iter().copied().collect());
}
