//! The window of a keyspace, opened when the first of its parts is read.
//!
//! An open window holds the keys of what changed in memory. Parts are read in their order, so at most as
//! many windows are open as there are threads, however many keyspaces a backup has; and they share one
//! budget. What they will read is pinned from the beginning.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use icecore_engine::{ChangeOptions, ChangeSet, Changes, Keyspace, PlanTaken, Snapshot, Window};
use icecore_mvcc::{KeyRange, Timestamp};
use parking_lot::Mutex;

use crate::error::Result;

/// Memory for the keys of all windows that are open, in bytes.
const WINDOWS_BYTES: usize = 64 << 20;

/// The least that one window gets, in bytes; with many threads they come to more than the budget.
const WINDOW_LEAST_BYTES: usize = 2 << 20;

/// What is to be read of a keyspace.
pub(crate) struct WindowRequest {
    pub(crate) keyspace: Keyspace,
    /// Versions at or before this are left out.
    pub(crate) after: Timestamp,
    /// The end, pinned.
    pub(crate) until: Snapshot,
    pub(crate) set: ChangeSet,
    /// Threads that read windows.
    pub(crate) threads: usize,
}

/// A window whose parts different threads read.
struct SharedWindow {
    request: WindowRequest,
    /// Keeps garbage collection from passing the beginning.
    _start: Snapshot,
    /// What nobody has taken yet; none before it is opened.
    parts: Mutex<Option<VecDeque<Changes>>>,
    how: Arc<OnceLock<String>>,
}

/// A part of a window.
pub(crate) struct WindowPart {
    window: Arc<SharedWindow>,
}

/// As many parts as there are threads, and where it will be told how the versions were found.
pub(crate) fn parts_of(request: WindowRequest) -> Result<(Vec<WindowPart>, Arc<OnceLock<String>>)> {
    let (how, threads) = (Arc::new(OnceLock::new()), request.threads);
    let start = request.keyspace.engine().snapshot_at(request.after)?;
    let window = Arc::new(SharedWindow {
        request,
        _start: start,
        parts: Mutex::new(None),
        how: Arc::clone(&how),
    });
    let parts = (0..threads.max(1)).map(|_| WindowPart {
        window: Arc::clone(&window),
    });
    Ok((parts.collect(), how))
}

/// How one of the windows is read of which so many are open at a time: they share one budget.
pub(crate) fn window_options(threads: usize) -> ChangeOptions {
    ChangeOptions {
        memory_bytes: (WINDOWS_BYTES / threads.max(1)).max(WINDOW_LEAST_BYTES),
        ..ChangeOptions::default()
    }
}

impl WindowPart {
    /// The changes of this part; none where the window came out in fewer parts. The first to come opens
    /// the window, and the others wait for it.
    pub(crate) fn open(self) -> Result<Option<Changes>> {
        let mut parts = self.window.parts.lock();
        if parts.is_none() {
            *parts = Some(self.window.open()?);
        }
        Ok(parts.as_mut().and_then(VecDeque::pop_front))
    }
}

impl SharedWindow {
    fn open(&self) -> Result<VecDeque<Changes>> {
        let request = &self.request;
        let window = Window {
            after: request.after,
            until: request.until.timestamp(),
        };
        let threads = request.threads.max(1);
        let options = window_options(threads);
        let range = KeyRange::all();
        let changes =
            request
                .keyspace
                .changes_parts(&range, window, request.set, &options, threads)?;
        let how = match changes.first().map(Changes::plan) {
            Some(PlanTaken::Index { changes, .. }) => format!("commit index, {changes} changes"),
            Some(PlanTaken::Scan { reason }) => format!("scan: {reason}"),
            None => String::new(),
        };
        self.how.get_or_init(|| how);
        Ok(changes.into())
    }
}
