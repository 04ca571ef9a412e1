//! Manifests: what is read is valid, and is written and read as it is.
//!
//! A fuzzer would stop at the checksum of the frame, so most inputs are put into a frame here. The first
//! byte says what the others are: `o` an object as it lies in a collection, `j` its JSON, `s` the number
//! of files and the JSON of a side file, anything else changes to a manifest that is right.

use arbitrary::Unstructured;
use icecore_archive::{Manifest, fuzzing};
use serde_json::{Value, json};

use super::{Bug, json_edits};
use crate::failure::{Failure, Result, ensure};

/// The manifest whose bytes the golden files pin.
const RIGHT: &str = include_str!("../../../archive/tests/golden/manifest-v1.json");

const PATH: &str = "BACKUP_MANIFEST";

/// Reads the bytes as a manifest.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    match bytes.split_first() {
        Some((b'o', object)) => match Manifest::from_object(PATH, object) {
            Ok(manifest) => is_sound(&manifest, bug),
            Err(_) => Ok(()),
        },
        Some((b'j', json)) => reads_or_refuses(json, bug),
        Some((b's', rest)) => side_file(rest),
        Some((_, changes)) => {
            let mut manifest: Value = serde_json::from_str(RIGHT)?;
            // Where the bytes end, so do the changes.
            let _ = json_edits::edit(&mut manifest, &mut Unstructured::new(changes));
            reads_or_refuses(manifest.to_string().as_bytes(), bug)
        }
        None => Ok(()),
    }
}

fn reads_or_refuses(json: &[u8], bug: Option<Bug>) -> Result<()> {
    match read(json, bug) {
        Ok(manifest) => is_sound(&manifest, bug),
        // Every error of the archive is one of its own; only a panic would be wrong.
        Err(_) => Ok(()),
    }
}

/// Reads a manifest from its JSON, framed.
fn read(json: &[u8], bug: Option<Bug>) -> Result<Manifest> {
    if bug == Some(Bug::ManifestsAreNotValidated) {
        return Ok(serde_json::from_slice(json)?);
    }
    let object = fuzzing::seal_manifest(json)?;
    Ok(Manifest::from_object(PATH, &object)?)
}

/// The JSON of a manifest, or of a broken one.
fn write(manifest: &Manifest, bug: Option<Bug>) -> Result<Vec<u8>> {
    let mut written = manifest.clone();
    if bug == Some(Bug::ManifestsLoseIntroductions) {
        let keyspaces = written.keyspaces.iter_mut();
        keyspaces.for_each(|keyspace| keyspace.introduced = false);
    }
    Ok(serde_json::to_vec(&written)?)
}

/// What holds of every manifest that was read.
fn is_sound(manifest: &Manifest, bug: Option<Bug>) -> Result<()> {
    if let Err(reason) = manifest.validate() {
        return Err(Failure::Mismatch(format!(
            "a manifest was read, though {reason}"
        )));
    }
    for (keyspace, file) in manifest.files() {
        let from_zero = keyspace.introduced || manifest.parent_manifest.is_none();
        let inside = file.max_ts <= manifest.end && (from_zero || manifest.start < file.min_ts);
        ensure!(inside, "file {} lies outside of its layer", file.id);
    }
    ensure!(
        manifest
            .history_from()
            .is_none_or(|from| from <= manifest.end),
        "history begins after its end"
    );
    let _ = (manifest.stored_bytes(), manifest.entries());
    is_same(manifest, &read(&write(manifest, bug)?, bug)?)?;
    for files_per_list in [1, usize::MAX] {
        is_same(
            manifest,
            &fuzzing::through_objects(manifest, files_per_list)?,
        )?;
    }
    Ok(())
}

fn is_same(written: &Manifest, read: &Manifest) -> Result<()> {
    ensure!(written == read, "{written:?} is read as {read:?}");
    Ok(())
}

/// The right manifest with a side file of this content; an error or a list of as many files.
fn side_file(bytes: &[u8]) -> Result<()> {
    let Some((files, list)) = bytes.split_first() else {
        return Ok(());
    };
    let mut manifest: Value = serde_json::from_str(RIGHT)?;
    let blake3 = "0".repeat(64);
    let named = json!([{ "name": "BACKUP_FILES-0-0", "files": files, "blake3": blake3 }]);
    if let Value::Object(fields) = &mut manifest {
        fields.insert("side_files".to_owned(), named);
    }
    let object = fuzzing::seal_manifest(manifest.to_string().as_bytes())?;
    if let Ok(read) = fuzzing::with_side_file(&object, list) {
        ensure!(read == 1, "{read} side files were read");
    }
    Ok(())
}
