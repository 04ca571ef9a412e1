//! Operations on an engine and its backups, against the reference model: [`crate::model`] with sequences
//! that a fuzzer makes.

use std::rc::Rc;

use arbitrary::{Arbitrary, Unstructured};

use super::Bug;
use crate::failure::Result;
use crate::model::{self, Sequence};
use crate::scratch;

/// The most operations of a sequence: a fuzzer finds more in many short ones.
const OPS_MAX: usize = 24;

/// Makes operations of the bytes and runs them.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    let Ok(mut sequence) = Sequence::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return Ok(());
    };
    sequence.ops.truncate(OPS_MAX);
    let bug = match bug {
        Some(Bug::EngineLosesACommit) => Some(model::Bug::LosesACommit),
        Some(Bug::EngineReadsThePast) => Some(model::Bug::ReadsThePast),
        _ => None,
    };
    model::run(&sequence, &Rc::new(scratch::runtime()?), bug)
}
