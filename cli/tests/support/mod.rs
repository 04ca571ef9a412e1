//! What the tests of the binary share.

pub(crate) mod mask;
pub(crate) mod script;
