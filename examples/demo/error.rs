//! The demo's errors: those of the libraries as they are, and its own as text.

/// Whatever stops the demo.
pub(crate) type Error = Box<dyn std::error::Error>;

/// The result of everything here.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Fails with `what` unless it holds.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(what().into()) }
}
