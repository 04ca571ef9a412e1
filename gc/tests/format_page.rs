//! The examples on `docs/format/protected.md` against the code: the page is the golden file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod common;

use common::Lab;
use icecore_engine::WriteRefusal;
use icecore_gc::{Holder, Record, Release, Target};
use icecore_golden::page;

const PAGE: &str = include_str!("../../docs/format/protected.md");

fn rows(heading: &str) -> Vec<Vec<String>> {
    page::rows(PAGE, heading)
}

fn golden() -> &'static str {
    page::blocks(PAGE, "Record", "json")[0]
}

#[test]
fn record() {
    for golden in page::blocks(PAGE, "Record", "json") {
        let record: Record = serde_json::from_str(golden).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), golden);
    }
    // The one that has every field.
    let golden = page::blocks(PAGE, "Record", "json")[2];
    let json: serde_json::Value = serde_json::from_str(golden).unwrap();
    let described: Vec<String> = rows("Record")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();
    let mut fields: Vec<&String> = json.as_object().unwrap().keys().collect();
    fields.sort();
    let mut sorted: Vec<&String> = described.iter().collect();
    sorted.sort();
    assert_eq!(sorted, fields, "each field has its row");
    let written: Vec<_> = described
        .iter()
        .map(|f| golden.find(&format!("\"{f}\":")).unwrap())
        .collect();
    assert!(written.is_sorted(), "the rows are in the order written");
}

#[test]
fn targets() {
    let examples = rows("Targets");
    assert_eq!(examples.len(), 3, "every example is read");
    for row in examples {
        let (kind, example) = (&row[0], &row[1]);
        let target: Target = serde_json::from_str(example).unwrap();
        assert_eq!(serde_json::to_string(&target).unwrap(), *example);
        let matches = match &target {
            Target::All => "all",
            Target::Keyspaces(_) => "keyspaces",
            Target::Spans(_) => "spans",
        };
        assert_eq!(kind, matches);
    }
}

#[test]
fn holders() {
    let examples = rows("Holders");
    assert_eq!(examples.len(), 5, "every example is read");
    for row in examples {
        let (kind, example) = (&row[0], &row[1]);
        let holder: Holder = serde_json::from_str(example).unwrap();
        assert_eq!(serde_json::to_string(&holder).unwrap(), *example);
        let matches = match &holder {
            Holder::Job { .. } => "job",
            Holder::Run { .. } => "run",
            Holder::Chain { .. } => "chain",
            Holder::Consumer { .. } => "consumer",
            Holder::Schedule { .. } => "schedule",
            Holder::Unknown(json) => panic!("{json}"),
        };
        assert_eq!(kind, matches);
    }
}

#[test]
fn releases_and_refusals() {
    let golden = page::blocks(PAGE, "Releases that nobody asked for", "json")[0];
    let releases: Vec<Release> = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&releases).unwrap(), golden);
    let golden = page::blocks(PAGE, "Refused writes", "json")[0];
    let refusal: WriteRefusal = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&refusal).unwrap(), golden);
}

#[test]
fn the_row_is_where_the_page_says_and_in_its_form() {
    let lab = Lab::new();
    let record = lab.protect(lab.engine.now(), Target::All).unwrap();
    let user_key = format!("protected/{}", record.id);
    let stored = lab
        .engine
        .system()
        .keyspace()
        .get(user_key.as_bytes())
        .unwrap()
        .unwrap();
    let stored = String::from_utf8(stored).unwrap();
    let like = golden()
        .replace(
            "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90",
            &record.id.to_string(),
        )
        .replace("1644422020130000000", &record.timestamp.nanos().to_string())
        .replace("1644422021000000000", &record.created.nanos().to_string())
        .replace("backup:nightly", "test");
    assert_eq!(stored, like);
}
