//! Whose a record is, for programs: by this one knows who may move or release it, and whether its holder
//! still lives. The owner text is for people.
//!
//! In JSON `{"kind":"chain","collection":"…","chain":"…","full":1644422020130000000}` and so on. A holder of
//! an unknown kind, or with fields that this version does not know, is kept as it is: it is somebody's.

use std::fmt;

use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whose a record is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Holder {
    /// A job: from its start to its end, paused or not. Dead once the job is over or gone.
    Job {
        /// The job's id.
        id: Uuid,
    },
    /// What runs within one opening of the database, such as a backup that is no job. Dead once another
    /// process has the database open.
    Run {
        /// [`icecore_engine::Engine::session`] of the opening.
        session: Uuid,
    },
    /// A chain of backups: what its next incremental needs.
    Chain {
        /// The collection's id.
        collection: String,
        /// The chain's id, as its manifests have it.
        chain: String,
        /// The end of the chain's full: of two chains the newer is the one whose full is.
        full: Timestamp,
    },
    /// A reader of commits that goes on from where it was, under this name.
    Consumer {
        /// Its name.
        name: String,
    },
    /// A schedule, from run to run.
    Schedule {
        /// The schedule's id.
        id: String,
    },
    /// Of a kind that this version does not know.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

impl fmt::Display for Holder {
    /// `job 7f3b…`, `chain 4f3c… in collection 1a2b…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job { id } => write!(f, "job {id}"),
            Self::Run { session } => write!(f, "run in session {session}"),
            Self::Chain {
                collection, chain, ..
            } => write!(f, "chain {chain} in collection {collection}"),
            Self::Consumer { name } => write!(f, "consumer {name}"),
            Self::Schedule { id } => write!(f, "schedule {id}"),
            Self::Unknown(json) => write!(f, "{json}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Holder {
        let holder: Holder = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&holder).unwrap(), json);
        holder
    }

    #[test]
    fn each_kind_is_read_as_it_is_written() {
        let uuid = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
        let holder = read(&format!(r#"{{"kind":"job","id":"{uuid}"}}"#));
        assert_eq!(holder.to_string(), format!("job {uuid}"));
        let holder = read(&format!(r#"{{"kind":"run","session":"{uuid}"}}"#));
        assert_eq!(holder.to_string(), format!("run in session {uuid}"));
        let holder = read(r#"{"kind":"chain","collection":"c","chain":"d","full":7}"#);
        assert_eq!(holder.to_string(), "chain d in collection c");
        let holder = read(r#"{"kind":"consumer","name":"mirror"}"#);
        assert_eq!(holder.to_string(), "consumer mirror");
        let holder = read(r#"{"kind":"schedule","id":"nightly"}"#);
        assert_eq!(holder.to_string(), "schedule nightly");
    }

    #[test]
    fn what_a_newer_version_wrote_is_kept_whole() {
        for json in [
            r#"{"kind":"tenant","name":"x"}"#,
            r#"{"kind":"chain","chain":"d","collection":"c","full":7,"since":3}"#,
        ] {
            let holder: Holder = serde_json::from_str(json).unwrap();
            assert!(matches!(&holder, Holder::Unknown(_)), "{json}");
            let kept = serde_json::to_value(&holder).unwrap();
            let written: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(kept, written);
        }
    }
}
