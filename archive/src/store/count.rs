//! Counts of the requests that were made, by verb: what a store bills, and what tests assert.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::observe::{Observer, Outcome, Verb};

/// How many requests a collection has made of its store since it was opened, failed ones and retries
/// included. Subtract two to see what lies between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestCounts {
    /// Objects put, each in one request, whether or not one was there.
    pub put: u64,
    /// Multipart uploads begun.
    pub multipart_create: u64,
    /// Parts sent.
    pub multipart_part: u64,
    /// Multipart uploads completed.
    pub multipart_complete: u64,
    /// Multipart uploads given up.
    pub multipart_abort: u64,
    /// Reads of objects.
    pub get: u64,
    /// Reads of an object's size.
    pub head: u64,
    /// Listings: most stores make one request of every 1,000 objects listed, and at least one.
    pub list: u64,
    /// Objects removed.
    pub delete: u64,
    /// Objects copied or renamed within the store.
    pub copy: u64,
    /// Objects that listings returned.
    pub objects_listed: u64,
    /// Requests that failed, not counting objects that were missing or already there.
    pub failed: u64,
    /// Bytes of objects and parts that the store accepted.
    pub sent_bytes: u64,
    /// Bytes of objects that came from the store.
    pub received_bytes: u64,
}

impl RequestCounts {
    /// All requests together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.put
            + self.multipart_create
            + self.multipart_part
            + self.multipart_complete
            + self.multipart_abort
            + self.get
            + self.head
            + self.list
            + self.delete
            + self.copy
    }
}

impl Sub for RequestCounts {
    type Output = Self;

    /// What was counted since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        Self {
            put: self.put.saturating_sub(earlier.put),
            multipart_create: self
                .multipart_create
                .saturating_sub(earlier.multipart_create),
            multipart_part: self.multipart_part.saturating_sub(earlier.multipart_part),
            multipart_complete: self
                .multipart_complete
                .saturating_sub(earlier.multipart_complete),
            multipart_abort: self.multipart_abort.saturating_sub(earlier.multipart_abort),
            get: self.get.saturating_sub(earlier.get),
            head: self.head.saturating_sub(earlier.head),
            list: self.list.saturating_sub(earlier.list),
            delete: self.delete.saturating_sub(earlier.delete),
            copy: self.copy.saturating_sub(earlier.copy),
            objects_listed: self.objects_listed.saturating_sub(earlier.objects_listed),
            failed: self.failed.saturating_sub(earlier.failed),
            sent_bytes: self.sent_bytes.saturating_sub(earlier.sent_bytes),
            received_bytes: self.received_bytes.saturating_sub(earlier.received_bytes),
        }
    }
}

/// The live counts. Each is exact; a snapshot of several may fall between two requests.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    put: AtomicU64,
    multipart_create: AtomicU64,
    multipart_part: AtomicU64,
    multipart_complete: AtomicU64,
    multipart_abort: AtomicU64,
    get: AtomicU64,
    head: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    copy: AtomicU64,
    objects_listed: AtomicU64,
    failed: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

impl Counters {
    /// The counts so far.
    pub(crate) fn snapshot(&self) -> RequestCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RequestCounts {
            put: read(&self.put),
            multipart_create: read(&self.multipart_create),
            multipart_part: read(&self.multipart_part),
            multipart_complete: read(&self.multipart_complete),
            multipart_abort: read(&self.multipart_abort),
            get: read(&self.get),
            head: read(&self.head),
            list: read(&self.list),
            delete: read(&self.delete),
            copy: read(&self.copy),
            objects_listed: read(&self.objects_listed),
            failed: read(&self.failed),
            sent_bytes: read(&self.sent_bytes),
            received_bytes: read(&self.received_bytes),
        }
    }

    const fn of(&self, verb: Verb) -> &AtomicU64 {
        match verb {
            Verb::Put | Verb::PutIfAbsent => &self.put,
            Verb::MultipartCreate => &self.multipart_create,
            Verb::MultipartPart => &self.multipart_part,
            Verb::MultipartComplete => &self.multipart_complete,
            Verb::MultipartAbort => &self.multipart_abort,
            Verb::Get => &self.get,
            Verb::Head => &self.head,
            Verb::List => &self.list,
            Verb::Delete => &self.delete,
            Verb::Copy => &self.copy,
        }
    }
}

impl Observer for Counters {
    fn begin(&self, verb: Verb, _path: &str) -> usize {
        // At the beginning: a request that is dropped under way was made all the same.
        self.of(verb).fetch_add(1, Ordering::Relaxed);
        0
    }

    fn end(&self, _token: usize, _verb: Verb, outcome: Outcome, _elapsed: Duration) {
        if outcome == Outcome::Failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sent(&self, bytes: u64) {
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn received(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn listed(&self) {
        self.objects_listed.fetch_add(1, Ordering::Relaxed);
    }
}
