//! The requests as metrics of the process. `docs/guide/observing.md` lists them.

use std::time::Duration;

use super::observe::{Observer, Outcome, Verb};

/// Feeds the `metrics` facade, whatever recorder the process has installed.
#[derive(Debug)]
pub(super) struct Metrics;

impl Observer for Metrics {
    fn end(&self, _token: usize, verb: Verb, outcome: Outcome, elapsed: Duration) {
        metrics::counter!("icecore_archive_requests_total", "verb" => verb.as_str(), "outcome" => outcome.as_str())
            .increment(1);
        metrics::histogram!("icecore_archive_request_seconds", "verb" => verb.as_str())
            .record(elapsed);
    }

    fn sent(&self, bytes: u64) {
        metrics::counter!("icecore_archive_sent_bytes_total").increment(bytes);
    }

    fn received(&self, bytes: u64) {
        metrics::counter!("icecore_archive_received_bytes_total").increment(bytes);
    }
}
