//! What people and JSON write of times, durations, keys and tags: each reads back as it displays.

use std::collections::BTreeMap;

use icecore_mvcc::{
    Timestamp, format_duration, parse_duration, parse_locality, parse_timestamp, text,
};

use super::{Bug, reads_back};
use crate::failure::{Failure, Result, ensure};

/// Writes the bytes as text, and reads them as every kind of it.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    key(bytes, bug)?;
    if let Some(nanos) = bytes.first_chunk::<8>() {
        time(Timestamp::from_nanos(u64::from_be_bytes(*nanos)), bug)?;
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(());
    };
    if let Ok(bytes) = text::from_text(text) {
        key(&bytes, bug)?;
    }
    // Anything but zero, so that relative times fall on both sides of what there is.
    if let Ok(read) = parse_timestamp(text, Timestamp::from_nanos(u64::MAX / 2)) {
        time(read, bug)?;
    }
    duration(text)?;
    locality(text)
}

/// Bytes have one text, of one line, that reads as them.
fn key(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    let mut shown = text::to_text(bytes);
    if bug == Some(Bug::TextsAreNotEscaped) {
        shown = shown.replace("\\\\", "\\");
    }
    ensure!(
        !shown.contains(char::is_control),
        "{bytes:02x?} is not one line: {shown:?}"
    );
    let read = text::from_text(&shown);
    ensure!(
        read.as_deref() == Ok(bytes),
        "{bytes:02x?} is shown as {shown:?}, which reads as {read:02x?}"
    );
    ensure!(
        !text::preview(bytes).contains(char::is_control),
        "the preview of {shown} is not one line"
    );
    Ok(())
}

/// A time reads back from all that it can be written as.
fn time(time: Timestamp, bug: Option<Bug>) -> Result<()> {
    reads_back("time", &time)?;
    let nanos = time.nanos();
    let mut shown = time.to_string();
    if bug == Some(Bug::TimesAreRounded) {
        shown = Timestamp::from_nanos(nanos / 1000 * 1000).to_string();
    }
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    for shown in [shown, nanos.to_string(), format!("{seconds}.{fraction:09}")] {
        let read = shown.parse::<Timestamp>();
        ensure!(
            read.as_ref() == Ok(&time),
            "{time:?} is written as {shown:?}, which reads as {read:?}"
        );
    }
    Ok(())
}

fn duration(text: &str) -> Result<()> {
    let Ok(duration) = parse_duration(text) else {
        return Ok(());
    };
    let shown = format_duration(duration);
    let read = parse_duration(&shown);
    ensure!(
        read.as_ref() == Ok(&duration),
        "{text:?} is {duration:?}, shown as {shown:?}, which reads as {read:?}"
    );
    Ok(())
}

fn locality(text: &str) -> Result<()> {
    let Ok(tags) = parse_locality(text) else {
        return Ok(());
    };
    let shown: Vec<String> = tags
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let read: BTreeMap<_, _> = parse_locality(&shown.join(",")).map_err(Failure::Model)?;
    ensure!(
        read == tags,
        "{text:?} is {tags:?}, which reads as {read:?}"
    );
    Ok(())
}
