//! What can happen to a request.

use icecore_archive::object_store::Error;

/// What a request is, as far as faults go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Writes an object, a part of one, or makes one of its parts.
    Write,
    /// Reads an object.
    Read,
    /// Lists a prefix.
    List,
    /// Removes an object.
    Delete,
}

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It fails before it does anything; a retry may do.
    FailsBefore,
    /// It is done, and its acknowledgement is lost. A download breaks off in the middle.
    FailsAfter,
    /// It is refused, as if permission had been withdrawn; no retry mends it.
    Refused,
    /// It does nothing, and no answer ever comes.
    TimesOut,
    /// The server is busy.
    Throttles,
    /// Half of the object is written, under its name, and the request fails.
    TearsUpload,
    /// Half of the object is read, and that is said to be all.
    ShortensRead,
    /// A bit of what is read is another one.
    FlipsRead,
    /// The listing is of before this store wrote anything.
    ListsStale,
    /// The listing has every entry twice.
    ListsTwice,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::FailsBefore,
        Self::FailsAfter,
        Self::Refused,
        Self::TimesOut,
        Self::Throttles,
        Self::TearsUpload,
        Self::ShortensRead,
        Self::FlipsRead,
        Self::ListsStale,
        Self::ListsTwice,
    ];

    /// Whether it can happen to such a request.
    #[must_use]
    pub const fn applies_to(self, kind: Kind) -> bool {
        match self {
            Self::FailsBefore
            | Self::FailsAfter
            | Self::Refused
            | Self::TimesOut
            | Self::Throttles => true,
            Self::TearsUpload => matches!(kind, Kind::Write),
            Self::ShortensRead | Self::FlipsRead => matches!(kind, Kind::Read),
            Self::ListsStale | Self::ListsTwice => matches!(kind, Kind::List),
        }
    }

    /// What the caller is told, where it is told anything.
    pub(super) fn error(self) -> Error {
        match self {
            Self::Refused => Error::PermissionDenied {
                path: "injected".to_owned(),
                source: "injected: permission was withdrawn".into(),
            },
            Self::Throttles => generic("injected: slow down (503)"),
            Self::FailsBefore => generic("injected: the connection was refused"),
            Self::TearsUpload => generic("injected: the upload broke off"),
            _ => generic("injected: the acknowledgement was lost"),
        }
    }
}

fn generic(text: &'static str) -> Error {
    Error::Generic {
        store: "chaos",
        source: text.into(),
    }
}
