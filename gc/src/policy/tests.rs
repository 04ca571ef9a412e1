use std::time::Duration;

use icecore_mvcc::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::record::{ProtectRequest, Purpose, RecordId};
use crate::target::Target;

fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// A situation that owns what it names. Small numbers, so that limits often coincide.
#[derive(Debug, Clone)]
struct Case {
    present: u64,
    now: u64,
    ttl: u64,
    protected: Vec<u64>,
    reader: Option<u64>,
    newest: u64,
    other: Option<u64>,
}

impl Case {
    fn decide(&self) -> Decision {
        let records: Vec<Record> = self
            .protected
            .iter()
            .map(|at| {
                let request = ProtectRequest::new(ts(*at), Target::All, format!("of {at}"));
                Record::new(RecordId::random(), request, Purpose::Reads, ts(self.now))
            })
            .collect();
        decide(&Situation {
            present: ts(self.present),
            now: ts(self.now),
            ttl: Duration::from_nanos(self.ttl),
            records: &records.iter().collect::<Vec<_>>(),
            oldest_reader: self.reader.map(ts),
            newest_commit: ts(self.newest),
            lowest_other: self.other.map(|at| (ts(at), "b.c")),
        })
    }

    /// Every limit there is, said in another way than the code under test does.
    fn limits(&self) -> Vec<u64> {
        let mut limits = vec![self.now.saturating_sub(self.ttl), self.newest];
        limits.extend(&self.protected);
        limits.extend(self.reader);
        limits.extend(self.other);
        limits
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let at = 0_u64..40;
    (
        at.clone(),
        at.clone(),
        at.clone(),
        prop::collection::vec(at.clone(), 0..4),
        prop::option::of(at.clone()),
        at.clone(),
        prop::option::of(at),
    )
        .prop_map(
            |(present, now, ttl, protected, reader, newest, other)| Case {
                present,
                now,
                ttl,
                protected,
                reader,
                newest,
                other,
            },
        )
}

proptest! {
    #[test]
    fn the_threshold_is_the_least_limit_and_never_below_the_present(case in cases()) {
        let least = case.limits().into_iter().min().unwrap();
        prop_assert_eq!(case.decide().threshold.nanos(), least.max(case.present));
    }

    #[test]
    fn what_is_named_is_a_least_limit(case in cases()) {
        let least = case.limits().into_iter().min().unwrap();
        let named = match case.decide().held_by {
            HeldBy::Ttl => case.now.saturating_sub(case.ttl),
            HeldBy::Record { timestamp, owner, .. } => {
                prop_assert_eq!(owner, format!("of {}", timestamp.nanos()));
                prop_assert!(case.protected.contains(&timestamp.nanos()));
                timestamp.nanos()
            }
            HeldBy::Reader { timestamp } => {
                prop_assert_eq!(Some(timestamp.nanos()), case.reader);
                timestamp.nanos()
            }
            HeldBy::NewestCommit => case.newest,
            HeldBy::Keyspace { name } => {
                prop_assert_eq!(name, "b.c");
                case.other.unwrap()
            }
        };
        prop_assert_eq!(named, least);
    }

    #[test]
    fn one_more_record_never_raises(case in cases(), more in 0_u64..40) {
        let mut stricter = case.clone();
        stricter.protected.push(more);
        prop_assert!(stricter.decide().threshold <= case.decide().threshold);
    }
}

#[test]
fn of_equal_limits_the_ttl_is_named() {
    let case = Case {
        present: 0,
        now: 30,
        ttl: 10,
        protected: vec![20],
        reader: Some(20),
        newest: 20,
        other: Some(20),
    };
    assert_eq!(case.decide().held_by, HeldBy::Ttl);
}

#[test]
fn as_text() {
    let id = RecordId::parse("7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90").unwrap();
    let texts = [
        HeldBy::Ttl,
        HeldBy::Record {
            id,
            owner: "backup".to_owned(),
            timestamp: ts(1),
        },
        HeldBy::Reader { timestamp: ts(1) },
        HeldBy::NewestCommit,
        HeldBy::Keyspace {
            name: "a.b".to_owned(),
        },
    ]
    .map(|by| by.to_string());
    assert_eq!(
        texts,
        [
            "ttl",
            "record 7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90 of backup",
            "a reader at 1970-01-01T00:00:00.000000001Z",
            "newest commit",
            "keyspace a.b",
        ]
    );
}
