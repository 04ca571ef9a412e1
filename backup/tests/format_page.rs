//! The examples on `docs/format/jobs.md` are what the code reads and writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::Path;

use icecore_backup::jobs::{JobRow, JobState};

/// The JSON blocks of the page.
fn examples() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format/jobs.md");
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```json\n").skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_job_is_written_as_on_the_page() {
    let examples = examples();
    assert_eq!(examples.len(), 1);
    let row: JobRow = serde_json::from_str(&examples[0]).unwrap();
    assert_eq!(row.state, JobState::Paused);
    assert_eq!(row.progress.fraction(), Some(0.25));
    assert_eq!(serde_json::to_string(&row).unwrap(), examples[0]);
    // What a newer version adds is kept.
    let newer = examples[0].replace(r#""result":null}"#, r#""result":null,"mood":"calm"}"#);
    let row: JobRow = serde_json::from_str(&newer).unwrap();
    assert_eq!(serde_json::to_string(&row).unwrap(), newer);
}

#[test]
fn every_state_is_on_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format/jobs.md");
    let text = std::fs::read_to_string(page).unwrap();
    for state in JobState::ALL {
        let spelled = serde_json::to_value(state).unwrap();
        assert_eq!(spelled, state.as_str());
        assert!(text.contains(&format!("`{state}`")), "{state}");
    }
}
