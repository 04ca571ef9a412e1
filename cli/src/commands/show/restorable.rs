//! Times that can be restored, as commands print them.

use icecore_archive::plan::Restorable;
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::output::{Record, time};

/// Times at which a keyspace can be restored, the first and the last included.
#[derive(Debug, Serialize)]
pub(crate) struct RestorableRow {
    keyspace: String,
    #[serde(serialize_with = "time")]
    from: Timestamp,
    #[serde(serialize_with = "time")]
    until: Timestamp,
}

impl From<Restorable> for RestorableRow {
    fn from(range: Restorable) -> Self {
        Self {
            keyspace: range.keyspace,
            from: range.from,
            until: range.until,
        }
    }
}

impl Record for &RestorableRow {
    const HEADER: &'static [&'static str] = &["keyspace", "restorable from", "until"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.keyspace.clone(),
            self.from.to_string(),
            match self.from == self.until {
                true => "only then".to_owned(),
                false => self.until.to_string(),
            },
        ]
    }
}
