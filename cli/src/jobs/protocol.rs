//! What goes over the socket: one line of JSON each way, then the connection ends.

use icecore_backup::jobs::{JobId, JobRow};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schedules::{Asked as AskedOfSchedules, Told};

/// The version that is spoken. A request of another one is answered with an error that names both.
pub(crate) const VERSION: u32 = 1;

/// The longest line, in bytes.
pub(crate) const MAX_LINE_BYTES: u64 = 16 << 20;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub(crate) enum Request {
    /// All jobs.
    List,
    /// One.
    Show { id: JobId },
    /// Have one pause.
    Pause { id: JobId },
    /// Have a paused one go on.
    Resume { id: JobId },
    /// Give one up.
    Cancel { id: JobId },
    /// Make one.
    Submit { kind: String, spec: Value },
    /// Something of the schedules.
    Schedule { schedule: AskedOfSchedules },
}

/// A request with the version that it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) request: Request,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Answer {
    /// To `list`.
    Jobs(Vec<JobRow>),
    /// To all else about jobs.
    Job(Box<JobRow>),
    /// To `schedule`.
    Schedules(Told),
    /// Why not, in one line.
    Error(String),
}

/// An answer with the version that it is of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) answer: Answer,
}

impl Answer {
    /// As it goes over the socket, without the end of the line.
    pub(crate) fn encode(self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(&Answered {
            version: VERSION,
            answer: self,
        })
    }
}

/// Reads a request: the version first, since the rest may look different in another.
pub(crate) fn read_request(line: &[u8]) -> Result<Request, String> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let unreadable = |e: serde_json::Error| format!("the request cannot be read: {e}");
    let Version { version } = serde_json::from_slice(line).map_err(unreadable)?;
    if version != VERSION {
        return Err(format!(
            "the request is of version {version}, this `icecore serve-jobs` speaks {VERSION}; use the same version of icecore on both sides"
        ));
    }
    let asked: Asked = serde_json::from_slice(line).map_err(unreadable)?;
    Ok(asked.request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spelled_as_documented() {
        let id = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
        for (line, request) in [
            (r#"{"version":1,"method":"list"}"#.to_owned(), Request::List),
            (
                format!(r#"{{"version":1,"method":"pause","id":"{id}"}}"#),
                Request::Pause {
                    id: id.parse().unwrap(),
                },
            ),
            (
                r#"{"version":1,"method":"submit","kind":"backup","spec":{"into":"file:///c"}}"#
                    .to_owned(),
                Request::Submit {
                    kind: "backup".to_owned(),
                    spec: serde_json::json!({"into": "file:///c"}),
                },
            ),
            (
                r#"{"version":1,"method":"schedule","schedule":{"do":"pause","label":"nightly"}}"#
                    .to_owned(),
                Request::Schedule {
                    schedule: AskedOfSchedules::Pause {
                        label: "nightly".to_owned(),
                    },
                },
            ),
        ] {
            assert_eq!(read_request(line.as_bytes()), Ok(request.clone()), "{line}");
            let written = serde_json::to_string(&Asked {
                version: VERSION,
                request,
            });
            assert_eq!(written.unwrap(), line);
        }
    }

    #[test]
    fn another_version_is_named_and_nonsense_is_refused() {
        let error = read_request(br#"{"version":9,"method":"sing"}"#).unwrap_err();
        assert!(
            error.contains("version 9") && error.contains("speaks 1"),
            "{error}"
        );
        for line in [
            "",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"method":"sing"}"#,
        ] {
            assert!(read_request(line.as_bytes()).is_err(), "{line}");
        }
    }
}
