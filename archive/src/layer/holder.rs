//! Who claimed a layer's directory: the content of its lock.

use std::fmt;

use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};

use super::claim::LOCK_NAME;
use crate::collection::Collection;
use crate::ids::RunId;
use crate::marker::{MAX_MARKER_BYTES, content};
use crate::path::LayerPath;

/// Who is going to write a layer; what its lock will say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Names the attempt. One that claims again under the same id finds its own lock.
    pub run: RunId,
    /// The job that it belongs to, if it is one's.
    pub job: Option<String>,
}

impl Default for Claimant {
    /// A new attempt of no job.
    fn default() -> Self {
        Self {
            run: RunId::random(),
            job: None,
        }
    }
}

/// Who claimed a layer's directory, as its lock says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerHolder {
    /// The attempt.
    pub run: RunId,
    /// When, by the writer's clock.
    pub claimed: Timestamp,
    /// The machine's name, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The process there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The job that the attempt belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl LayerHolder {
    pub(super) fn new(claimant: &Claimant, claimed: Timestamp) -> Self {
        Self {
            run: claimant.run,
            claimed,
            host: host_name(),
            pid: Some(std::process::id()),
            job: claimant.job.clone(),
        }
    }
}

impl fmt::Display for LayerHolder {
    /// `job 7f…, process 4711 on web1, since 2022-02-09T15:53:40.130000000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.job {
            Some(job) => write!(f, "job {job}")?,
            None => write!(f, "run {}", self.run)?,
        }
        if let Some(pid) = self.pid {
            write!(f, ", process {pid}")?;
        }
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        write!(f, ", since {}", self.claimed)
    }
}

/// What an error says of a holder: ` (job …)`, or nothing where none is known.
pub(crate) fn in_brackets(holder: &Option<Box<LayerHolder>>) -> String {
    holder
        .as_ref()
        .map_or_else(String::new, |holder| format!(" ({holder})"))
}

/// The machine's name. Only for people to read, so where it is not told it is left out.
fn host_name() -> Option<String> {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok())?;
    let name: String = told
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(255)
        .collect();
    (!name.is_empty()).then_some(name)
}

impl Collection {
    /// Who claimed the layer's directory. Best effort, for messages: `None` where nobody did, or where the
    /// lock cannot be read.
    pub async fn holder(&self, layer: &LayerPath) -> Option<LayerHolder> {
        let lock = layer.object(LOCK_NAME);
        let read = self.store().get(&lock, MAX_MARKER_BYTES).await.ok()??;
        content::decode(&read).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_of_before_still_reads() {
        let old = r#"{"run":"01234567-89ab-cdef-0123-456789abcdef","claimed":1644422020130000000}"#;
        let holder: LayerHolder = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&holder).unwrap(), old);
        assert_eq!(
            holder.to_string(),
            "run 01234567-89ab-cdef-0123-456789abcdef, since 2022-02-09T15:53:40.130000000Z"
        );
    }

    #[test]
    fn a_holder_says_who_and_where() {
        let claimant = Claimant {
            job: Some("nightly".to_owned()),
            ..Claimant::default()
        };
        let mut holder = LayerHolder::new(&claimant, Timestamp::from_nanos(0));
        assert_eq!(holder.pid, Some(std::process::id()));
        (holder.host, holder.pid) = (Some("web1".to_owned()), Some(4711));
        assert_eq!(
            in_brackets(&Some(Box::new(holder))),
            " (job nightly, process 4711 on web1, since 1970-01-01T00:00:00.000000000Z)"
        );
        assert_eq!(in_brackets(&None), "");
    }
}
