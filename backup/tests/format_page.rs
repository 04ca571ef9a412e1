//! The examples on `docs/format/jobs.md` and `docs/format/schedules.md` are what the code reads and writes.
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
use icecore_backup::schedule::{OnFailure, OnRunning, Outcome, ScheduleRow};

fn page(name: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/format");
    std::fs::read_to_string(page.join(name)).unwrap()
}

/// The JSON blocks of a page.
fn examples(name: &str) -> Vec<String> {
    let text = page(name);
    let blocks = text.split("```json\n").skip(1);
    blocks
        .map(|block| block.split("\n```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_job_is_written_as_on_the_page() {
    let examples = examples("jobs.md");
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
    let text = page("jobs.md");
    for state in JobState::ALL {
        let spelled = serde_json::to_value(state).unwrap();
        assert_eq!(spelled, state.as_str());
        assert!(text.contains(&format!("`{state}`")), "{state}");
    }
}

#[test]
fn a_schedule_is_written_as_on_the_page() {
    let examples = examples("schedules.md");
    assert_eq!(examples.len(), 1);
    let row: ScheduleRow = serde_json::from_str(&examples[0]).unwrap();
    assert_eq!(row.running().count(), 1);
    assert_eq!(serde_json::to_string(&row).unwrap(), examples[0]);
    // What a newer version adds is kept.
    for (before, after) in [
        (r#""error":null}}"#, r#""error":null},"mood":"calm"}"#),
        (
            r#""compact_after":24}}"#,
            r#""compact_after":24},"mood":"calm"}"#,
        ),
    ] {
        let newer = examples[0].replace(before, after);
        assert_ne!(newer, examples[0]);
        let row: ScheduleRow = serde_json::from_str(&newer).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), newer);
    }
    // What it need not have.
    let least = examples[0].replace(r#""paused":null,"#, "").replace(
        r#","upkeep":{"due":false,"last":1644451204000000000,"error":null}"#,
        "",
    );
    assert!(least.len() < examples[0].len() - 60);
    let _: ScheduleRow = serde_json::from_str(&least).unwrap();
}

#[test]
fn every_word_of_schedules_is_on_the_page() {
    let text = page("schedules.md");
    let failures = [OnFailure::Retry, OnFailure::Reschedule, OnFailure::Pause]
        .map(|p| serde_json::to_value(p).unwrap());
    let running = [OnRunning::Start, OnRunning::Skip, OnRunning::Wait]
        .map(|p| serde_json::to_value(p).unwrap());
    let outcomes = [
        Outcome::Succeeded,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::Skipped,
    ];
    for outcome in outcomes {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
        assert!(text.contains(&format!("`{}`", outcome.as_str())));
    }
    for word in failures.iter().chain(&running) {
        assert!(
            text.contains(&format!("`{}`", word.as_str().unwrap())),
            "{word}"
        );
    }
}
