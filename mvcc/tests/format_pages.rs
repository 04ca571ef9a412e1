//! The examples on the pages under `docs/format` against the code: the pages are the golden files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use icecore_golden::page::{self, bytes, section};
use icecore_mvcc::{
    Descriptor, EngineId, Fingerprint, Fingerprinter, KeyRange, Timestamp, format_duration, key,
    parse_duration, text, value,
};

const FINGERPRINT: &str = include_str!("../../docs/format/fingerprint.md");
const KEYS: &str = include_str!("../../docs/format/keys.md");
const VALUES: &str = include_str!("../../docs/format/values.md");

/// The rows of a section's table, each of so many cells.
fn rows<const CELLS: usize>(page: &str, heading: &str) -> Vec<[String; CELLS]> {
    let rows = page::rows(page, heading).into_iter();
    rows.map(|row| row.try_into().expect("a row with other cells"))
        .collect()
}

/// The JSON block of a section.
fn json<'a>(page: &'a str, heading: &str) -> &'a str {
    page::blocks(page, heading, "json")[0]
}

fn optional_bytes(hex: &str) -> Option<Vec<u8>> {
    (hex != "(none)").then(|| bytes(hex))
}

#[test]
fn stored_keys() {
    let examples = rows::<3>(KEYS, "Worked examples");
    assert_eq!(examples.len(), 15, "every example is read");
    let mut order = Vec::new();
    for [user, ts, stored] in examples {
        let (user, ts, stored) = (
            bytes(&user),
            Timestamp::from_nanos(ts.parse().unwrap()),
            bytes(&stored),
        );
        assert_eq!(key::encode_key(&user, ts), stored, "{user:x?}");
        assert_eq!(key::decode_key(&stored).unwrap(), (user, ts));
        order.push(stored);
    }
    assert!(
        order.is_sorted_by(|a, b| a < b),
        "the page lists them in stored order"
    );
}

#[test]
fn bounds_of_ranges() {
    let examples = rows::<5>(KEYS, "Bounds of ranges");
    assert_eq!(examples.len(), 7, "every example is read");
    for [name, start, end, lower, upper] in examples {
        let (start, end) = (bytes(&start), optional_bytes(&end));
        let range = KeyRange::new(start.clone(), end);
        assert_eq!(
            key::range_bounds(&range),
            (bytes(&lower), optional_bytes(&upper)),
            "{name}"
        );
        match name.split_once(' ').unwrap().0 {
            "every" => assert_eq!(range, KeyRange::all()),
            "one" => assert_eq!(range, KeyRange::single(&start)),
            "prefix" => assert_eq!(range, KeyRange::prefix(&start)),
            _ => assert!(name.starts_with("from "), "{name}"),
        }
        assert!(!key::is_stored_key(&bytes(&lower)));
    }
}

#[test]
fn keys_as_text() {
    let examples = rows::<2>(KEYS, "Keys as text");
    assert_eq!(examples.len(), 6, "every example is read");
    for [hex, form] in examples {
        assert_eq!(text::to_text(&bytes(&hex)), form);
        assert_eq!(text::from_text(&form).unwrap(), bytes(&hex));
    }
}

#[test]
fn stored_values() {
    let examples = rows::<3>(VALUES, "Worked examples");
    assert_eq!(examples.len(), 4, "every example is read");
    for [version, user, stored] in examples {
        let (user, stored) = (optional_bytes(&user), bytes(&stored));
        let encoded = user
            .as_deref()
            .map_or_else(value::encode_tombstone, value::encode_put);
        assert_eq!(encoded, stored);
        let decoded = value::decode_value(&stored).unwrap();
        assert_eq!(decoded.into_option(), user.as_deref());
        assert_eq!(decoded.is_tombstone(), version == "tombstone");
    }
}

#[test]
fn descriptors() {
    let golden = json(VALUES, "Descriptors");
    let descriptor: Descriptor = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&descriptor).unwrap(), golden);
    let fields = rows::<3>(VALUES, "Descriptors");
    let json: serde_json::Value = serde_json::from_str(golden).unwrap();
    let mut described = 0;
    for [field, ..] in &fields {
        let pointer = format!("/{}", field.replace('.', "/"));
        assert!(
            json.pointer(&pointer).is_some(),
            "{field} is on the page and not in the JSON"
        );
        described += 1;
    }
    let top = json.as_object().unwrap().len() - 1;
    assert_eq!(
        described,
        top + json["settings"].as_object().unwrap().len(),
        "a field lacks its row"
    );
}

#[test]
fn scalars() {
    let golden = json(VALUES, "Scalars");
    assert_eq!(
        serde_json::to_string(&KeyRange::single(b"a")).unwrap(),
        golden
    );
    let page = section(VALUES, "Scalars");
    let id = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
    assert!(page.contains(id));
    assert_eq!(id.parse::<EngineId>().unwrap().to_string(), id);
    for duration in ["4h", "1h30m", "30d", "0s"] {
        assert!(page.contains(&format!("`{duration}`")));
        assert_eq!(format_duration(parse_duration(duration).unwrap()), duration);
    }
}

#[test]
fn fingerprints() {
    let examples = rows::<2>(FINGERPRINT, "Worked examples");
    assert_eq!(examples.len(), 6, "every example is read");
    let of = |rows: &[(Vec<u8>, Vec<u8>)]| {
        let mut print = Fingerprinter::default();
        rows.iter().for_each(|(key, value)| print.add(key, value));
        print.finish()
    };
    for [rows, expected] in examples {
        let rows: Vec<_> = rows
            .split(", ")
            .filter_map(|row| row.split_once('='))
            .map(|(key, value)| (bytes(key), bytes(value)))
            .collect();
        assert_eq!(of(&rows).to_string(), expected, "{rows:x?}");
        assert_eq!(expected.parse::<Fingerprint>().unwrap(), of(&rows));
    }
    let thousand = (0..1000).map(|i| (format!("k{i}").into(), format!("v{i}").into()));
    let large = (vec![0, 0xFF], vec![0; 20_000]);
    for rows in [thousand.collect::<Vec<_>>(), vec![large]] {
        let expected = format!("`{}`", of(&rows));
        assert!(
            section(FINGERPRINT, "Worked examples").contains(&expected),
            "{expected}"
        );
    }
}
