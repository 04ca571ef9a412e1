use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::duration::format_duration;

const NOW: Timestamp = Timestamp::from_nanos(1_644_422_020_130_000_000);

fn parse(text: &str) -> Result<Timestamp> {
    parse_timestamp(text, NOW)
}

#[test]
fn every_form_of_one_instant() {
    for text in [
        "2022-02-09T15:53:40.13Z",
        "2022-02-09t15:53:40.130000000z",
        "2022-02-09 15:53:40.13Z",
        "2022-02-09T16:53:40.13+01:00",
        "2022-02-09T10:23:40.13-05:30",
        "1644422020.13",
        "1644422020.130000000",
        "1644422020130000000",
        "-0s",
    ] {
        assert_eq!(parse(text), Ok(NOW), "{text}");
    }
}

#[test]
fn relative_times_count_back_from_now() {
    assert_eq!(
        parse("-10s"),
        Ok(NOW.saturating_sub(Duration::from_secs(10)))
    );
    assert_eq!(
        parse("-1h30m"),
        Ok(NOW.saturating_sub(Duration::from_secs(5400)))
    );
    assert_eq!(parse("-1644422020130ms"), Ok(Timestamp::MIN));
}

#[test]
fn display_is_rfc_3339_with_nanoseconds() {
    for (ts, text) in [
        (NOW, "2022-02-09T15:53:40.130000000Z"),
        (Timestamp::MIN, "1970-01-01T00:00:00.000000000Z"),
        (Timestamp::MAX, "2554-07-21T23:34:33.709551615Z"),
        (Timestamp::from_nanos(1), "1970-01-01T00:00:00.000000001Z"),
    ] {
        assert_eq!(ts.to_string(), text);
        assert_eq!(text.parse(), Ok(ts));
    }
    assert_eq!(format!("{:?}", Timestamp::from_nanos(7)), "Timestamp(7)");
}

#[test]
fn json_is_the_integer() {
    assert_eq!(
        serde_json::to_string(&Timestamp::MAX).unwrap(),
        "18446744073709551615"
    );
    assert_eq!(
        serde_json::from_str::<Timestamp>("18446744073709551615").unwrap(),
        Timestamp::MAX
    );
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "",
        "now",
        "yesterday",
        "5.",
        ".5",
        "1.2.3",
        "1e9",
        "+5",
        " 5",
        "5 ",
        "2022-02-30T00:00:00Z",
        "é",
    ] {
        assert_eq!(
            parse(text),
            Err(Error::TimestampSyntax {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
    for text in [
        "2022-02-09T15:53:40.13",
        "2022-02-09 15:53:40",
        "2022-02-09",
    ] {
        assert_eq!(
            parse(text),
            Err(Error::TimestampOffset {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
    for text in ["1644422020.1300000001", "2022-02-09T15:53:40.1300000001Z"] {
        assert_eq!(
            parse(text),
            Err(Error::TimestampPrecision {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
    for text in [
        "18446744073709551616",
        "18446744073.709551616",
        "99999999999999999999.5",
        "2554-07-21T23:34:33.709551616Z",
        "1969-12-31T23:59:59.999999999Z",
        "-1644422020131ms",
        "-600000d",
    ] {
        assert_eq!(
            parse(text),
            Err(Error::TimestampRange {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
    // A relative time is a duration, and its errors are a duration's.
    assert_eq!(
        parse("-10"),
        Err(Error::DurationSyntax {
            text: "10".to_owned()
        })
    );
    assert_eq!(
        parse("-"),
        Err(Error::DurationSyntax {
            text: String::new()
        })
    );
}

#[test]
fn from_str_takes_no_relative_time() {
    assert_eq!(
        "-10s".parse::<Timestamp>(),
        Err(Error::TimestampSyntax {
            text: "-10s".to_owned()
        })
    );
}

#[test]
fn arithmetic_saturates() {
    assert_eq!(Timestamp::MAX.next(), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.prev(), Timestamp::MIN);
    assert_eq!(NOW.next().prev(), NOW);
    assert_eq!(NOW.next().nanos(), NOW.nanos() + 1);
    assert_eq!(NOW.saturating_sub(Duration::MAX), Timestamp::MIN);
    assert_eq!(NOW.saturating_add(Duration::MAX), Timestamp::MAX);
    assert_eq!(
        NOW.saturating_add(Duration::from_secs(1)).since(NOW),
        Duration::from_secs(1)
    );
    assert_eq!(NOW.since(Timestamp::MAX), Duration::ZERO);
}

proptest! {
    #[test]
    fn print_and_parse_round_trip(nanos: u64, now: u64) {
        let (ts, now) = (Timestamp::from_nanos(nanos), Timestamp::from_nanos(now));
        prop_assert_eq!(parse_timestamp(&ts.to_string(), now), Ok(ts));
        prop_assert_eq!(parse_timestamp(&nanos.to_string(), now), Ok(ts));
        let decimal = format!("{}.{:09}", nanos / NANOS_PER_SECOND, nanos % NANOS_PER_SECOND);
        prop_assert_eq!(parse_timestamp(&decimal, now), Ok(ts));
    }

    #[test]
    fn texts_sort_as_times_do(a: u64, b: u64) {
        let (a, b) = (Timestamp::from_nanos(a), Timestamp::from_nanos(b));
        prop_assert_eq!(a.to_string().cmp(&b.to_string()), a.cmp(&b));
    }

    #[test]
    fn relative_round_trip(now: u64, back: u64) {
        let (now, back) = (Timestamp::from_nanos(now), Duration::from_nanos(back));
        let text = format!("-{}", format_duration(back));
        match parse_timestamp(&text, now) {
            Ok(ts) => prop_assert_eq!(now.since(ts), back),
            Err(error) => {
                prop_assert_eq!(error, Error::TimestampRange { text });
                prop_assert!(back > now.since(Timestamp::MIN));
            }
        }
    }

    #[test]
    fn reading_never_fails_but_by_an_error(text in "[-0-9.:TZ +a-zé]{0,40}") {
        let _ = parse_timestamp(&text, NOW);
    }
}
