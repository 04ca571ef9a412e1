use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;

const HOUR: u64 = 3600;

#[test]
fn durations_are_sums_of_parts() {
    let durations = [
        ("4h", Duration::from_secs(4 * HOUR)),
        ("1h30m", Duration::from_secs(5400)),
        ("90s", Duration::from_secs(90)),
        ("30d", Duration::from_secs(30 * 24 * HOUR)),
        ("2w", Duration::from_secs(14 * 24 * HOUR)),
        ("1s500ms", Duration::from_millis(1500)),
        ("250us", Duration::from_micros(250)),
        ("7ns", Duration::from_nanos(7)),
        ("30m1h", Duration::from_secs(5400)),
        ("0s", Duration::ZERO),
        ("000h", Duration::ZERO),
    ];
    for (text, duration) in durations {
        assert_eq!(parse_duration(text), Ok(duration), "{text}");
    }
}

#[test]
fn durations_print_in_days_and_below() {
    let texts = [
        (Duration::ZERO, "0s"),
        (Duration::from_secs(4 * HOUR), "4h"),
        (Duration::from_secs(25 * HOUR), "1d1h"),
        (Duration::from_secs(30 * 24 * HOUR), "30d"),
        (Duration::new(90, 1_002_003), "1m30s1ms2us3ns"),
        (Duration::MAX, "213503982334601d7h15s999ms999us999ns"),
    ];
    for (duration, text) in texts {
        assert_eq!(format_duration(duration), text);
        assert_eq!(parse_duration(text), Ok(duration));
    }
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "", "4", "h", "4h ", "4 h", "-4h", "+4h", "1.5h", "4H", "4hours", "4µs", "4h3", "é",
    ] {
        assert_eq!(
            parse_duration(text),
            Err(Error::DurationSyntax {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
    let endless = format!("{}w", "9".repeat(50));
    for text in [
        "18446744073709551616s",
        "18446744073709551615s1000ms",
        "30500568904944w",
        &endless,
    ] {
        assert_eq!(
            parse_duration(text),
            Err(Error::DurationRange {
                text: text.to_owned()
            }),
            "{text}"
        );
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Holder(#[serde(with = "duration_text")] Duration);

#[test]
fn json_is_text() {
    let holder = Holder(Duration::from_secs(5400));
    assert_eq!(serde_json::to_string(&holder).unwrap(), r#""1h30m""#);
    assert_eq!(
        serde_json::from_str::<Holder>(r#""1h30m""#).unwrap(),
        holder
    );
    assert_eq!(
        serde_json::from_reader::<_, Holder>(&br#""90m""#[..]).unwrap(),
        holder
    );
    let error = serde_json::from_str::<Holder>(r#""soon""#).unwrap_err();
    assert!(
        error.to_string().starts_with(r#""soon" is not a duration"#),
        "{error}"
    );
}

proptest! {
    #[test]
    fn round_trip(seconds: u64, nanos in 0..1_000_000_000_u32, small: bool) {
        let duration = Duration::new(if small { seconds % 100_000 } else { seconds }, nanos);
        prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
    }

    #[test]
    fn reading_never_fails_but_by_an_error(text in "[0-9]{0,30}[a-zé.-]{0,3}[0-9]{0,3}[nsumhdw]{0,2}") {
        if let Ok(duration) = parse_duration(&text) {
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
