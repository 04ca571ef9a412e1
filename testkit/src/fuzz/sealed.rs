//! What is sealed: an object opens to what was sealed, or not at all; a wrapper gives the collection's key, or
//! none, and never costs more than its reader allows.
//!
//! The first byte says what the others are: `o` a role and an object as it lies in a collection, `w` a wrapper
//! likewise, `j` a wrapper's JSON, `e` changes to the JSON of a genuine wrapper, anything else changes to a
//! genuine object.

use arbitrary::{Arbitrary, Unstructured};
use icecore_archive::fuzzing::sealed;
use serde_json::Value;

use super::{Bug, json_edits};
use crate::failure::{Failure, Result, ensure};

/// Keys and objects that another implementation reads too.
const GOLDEN: &str = include_str!("../../../archive/tests/golden/sealing-v1.json");

/// What a genuine object holds at most: two chunks and a little.
const PLAIN_MAX: u32 = (2 << 16) + 100;

const MEMORY_KIB_MAX: u32 = 1 << 20;

const PASSES_MAX: u32 = 16;

const ID_AT: std::ops::Range<usize> = 8..24;

/// A genuine object, and what is done to it.
#[derive(Debug, Arbitrary)]
struct Changed {
    id: [u8; 16],
    role: u8,
    opened_as: u8,
    plain_bytes: u32,
    /// Where, and what is added to the bits there.
    flips: Vec<(u32, u8)>,
    /// How much is cut off.
    cut: Option<u32>,
    more: Vec<u8>,
}

/// Reads the bytes as something sealed.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    match bytes.split_first() {
        Some((b'o', rest)) => match rest.split_first() {
            Some((role, object)) => opens_to_what_was_sealed(*role, object, bug),
            None => Ok(()),
        },
        Some((b'w', stored)) => is_bounded(stored, bug),
        Some((b'j', json)) => {
            std::str::from_utf8(json).map_or(Ok(()), |json| is_bounded(&sealed::frame(json), bug))
        }
        Some((b'e', edits)) => {
            let mut json = genuine_wrapper()?;
            // Where the bytes end, so do the changes.
            let _ = json_edits::edit(&mut json, &mut Unstructured::new(edits));
            is_bounded(&sealed::frame(&json.to_string()), bug)
        }
        Some((_, change)) => match Changed::arbitrary_take_rest(Unstructured::new(change)) {
            Ok(change) => change.must_be_refused(bug),
            Err(_) => Ok(()),
        },
        None => Ok(()),
    }
}

/// The wrapper of the golden file that a user's key opens.
fn genuine_wrapper() -> Result<Value> {
    let golden: Value = serde_json::from_str(GOLDEN)?;
    let stored = golden.pointer("/wrappers/1").and_then(Value::as_str);
    let json = stored.and_then(|stored| stored.lines().next());
    Ok(serde_json::from_str(json.unwrap_or_default())?)
}

/// An object that opens is byte for byte what sealing its content gives.
fn opens_to_what_was_sealed(role: u8, object: &[u8], bug: Option<Bug>) -> Result<()> {
    let Ok(plain) = open(role, object, bug) else {
        return Ok(());
    };
    let id = object.get(ID_AT).and_then(|id| id.try_into().ok());
    let again = match id {
        Some(id) => sealed::seal(id, role, &plain)?,
        None => Vec::new(),
    };
    ensure!(
        again == object,
        "an object of {} bytes opens, though sealing gives another",
        object.len()
    );
    Ok(())
}

/// Opens an object, or with a bug what is left of it.
fn open(role: u8, object: &[u8], bug: Option<Bug>) -> Result<Vec<u8>, String> {
    match sealed::open(role, object) {
        Err(_) if bug == Some(Bug::TagsAreIgnored) => Ok(object.to_vec()),
        opened => opened,
    }
}

/// A wrapper that reads is written as it was read, asks for no more than is allowed, and opens to nothing but
/// the collection's key.
fn is_bounded(stored: &[u8], bug: Option<Bug>) -> Result<()> {
    let read = match sealed::read_wrapper(stored) {
        Ok(read) => read,
        Err(_) if bug == Some(Bug::CostsAreNotBounded) => sealed::ReadWrapper {
            written: stored.to_vec(),
            cost: Some((u32::MAX, u32::MAX)),
            opened: None,
        },
        Err(_) => return Ok(()),
    };
    if let Some((memory_kib, passes)) = read.cost {
        ensure!(
            memory_kib <= MEMORY_KIB_MAX && passes <= PASSES_MAX,
            "a wrapper may ask for {memory_kib} KiB and {passes} passes"
        );
    }
    ensure!(
        read.opened
            .is_none_or(|key| key == sealed::collection_key()),
        "a wrapper opens to another key than the collection's"
    );
    let again = sealed::read_wrapper(&read.written).map_err(Failure::Mismatch)?;
    ensure!(
        again == read,
        "a wrapper is written as another: {again:?}, not {read:?}"
    );
    Ok(())
}

impl Changed {
    fn must_be_refused(self, bug: Option<Bug>) -> Result<()> {
        let plain: Vec<u8> = (0..self.plain_bytes % PLAIN_MAX)
            .map(|at| (at % 251) as u8)
            .collect();
        let genuine = sealed::seal(self.id, self.role, &plain)?;
        let mut object = genuine.clone();
        for (at, bits) in self.flips {
            let at = at as usize % object.len().max(1);
            if let Some(byte) = object.get_mut(at) {
                *byte ^= bits;
            }
        }
        if let Some(cut) = self.cut {
            object.truncate(object.len().saturating_sub(cut as usize % 70_000));
        }
        object.extend(self.more);
        let same = object == genuine && self.role % 4 == self.opened_as % 4;
        match open(self.opened_as, &object, bug) {
            Ok(opened) => ensure!(
                same && opened == plain,
                "an object of {} bytes opens as changed",
                genuine.len()
            ),
            Err(why) => ensure!(!same, "an object that nobody changed is refused: {why}"),
        }
        Ok(())
    }
}
