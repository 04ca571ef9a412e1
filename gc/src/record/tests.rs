use icecore_mvcc::{KeyRange, KeyspaceId, KeyspaceName, KeyspaceSettings, NamePattern};

use super::*;
use crate::target::Span;

fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn request(target: Target, owner: &str) -> ProtectRequest {
    ProtectRequest::new(ts(50), target, owner)
}

fn keyspaces(patterns: &[&str]) -> Target {
    let parsed: Result<Vec<_>, _> = patterns.iter().map(|p| NamePattern::parse(p)).collect();
    Target::Keyspaces(parsed.unwrap())
}

fn span(keyspace: &str, range: KeyRange) -> Span {
    Span {
        keyspace: KeyspaceName::parse(keyspace).unwrap(),
        range,
    }
}

fn descriptor(name: &str, dropped: Option<u64>) -> Descriptor {
    Descriptor {
        id: KeyspaceId::new(1),
        name: name.to_owned(),
        settings: KeyspaceSettings::default(),
        created: ts(1),
        dropped: dropped.map(ts),
        introduced: ts(1),
        index_since: ts(0),
    }
}

#[test]
fn applies_by_name_whole_keyspace_for_a_span() {
    let applies = |target: Target, name: &str| {
        Record::new(
            RecordId::random(),
            request(target, "t"),
            Purpose::Reads,
            ts(60),
        )
        .applies_to(&descriptor(name, None))
    };
    assert!(applies(Target::All, "x"));
    assert!(applies(keyspaces(&["nyc.*", "bank.*"]), "bank.a"));
    assert!(!applies(keyspaces(&["bank.*"]), "bankrupt.a"));
    assert!(applies(keyspaces(&["bank.a"]), "bank.a"));
    assert!(!applies(keyspaces(&["bank.a"]), "bank.b"));
    let some = Target::Spans(vec![span("bank.a", KeyRange::single(b"k"))]);
    assert!(applies(some.clone(), "bank.a"));
    assert!(!applies(some, "bank.b"));
}

#[test]
fn applies_to_a_dropped_keyspace_only_where_it_could_still_be_read() {
    let record = Record::new(
        RecordId::random(),
        request(Target::All, "t"),
        Purpose::Reads,
        ts(60),
    );
    assert!(record.applies_to(&descriptor("x", Some(51))));
    assert!(!record.applies_to(&descriptor("x", Some(50))));
}

#[test]
fn for_backups_it_spares_what_is_excluded_from_them_and_only_then() {
    let record = |purpose| {
        let request = request(keyspaces(&["bank.*"]), "t");
        Record::new(RecordId::random(), request, purpose, ts(60))
    };
    let mut excluded = descriptor("bank.cache", None);
    excluded.settings.exclude_from_backup = true;
    assert!(record(Purpose::Reads).applies_to(&excluded));
    assert!(!record(Purpose::Backups).applies_to(&excluded));
    assert!(record(Purpose::Backups).applies_to(&descriptor("bank.cache", None)));
    assert!(!record(Purpose::Backups).applies_to(&descriptor("nyc.a", None)));
}

#[test]
fn a_purpose_that_this_version_does_not_know_is_refused() {
    let id = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
    let json = format!(
        r#"{{"id":"{id}","timestamp":1,"target":{{"kind":"all"}},"owner":"o","created":3,"purpose":"feeds"}}"#
    );
    let error = Record::decode(id, json.as_bytes()).unwrap_err();
    assert!(
        error.to_string().contains("unknown variant `feeds`"),
        "{error}"
    );
}

#[test]
fn unknown_fields_survive_a_rewrite_and_unknown_targets_are_refused() {
    let id = "7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
    let json = |target: &str| {
        format!(
            r#"{{"id":"{id}","timestamp":18446744073709551615,"target":{target},"owner":"o","created":3,"mood":18446744073709551614,"tenants":{{"then":"warn"}}}}"#
        )
    };
    let newer = json(r#"{"kind":"all"}"#);
    let record = Record::decode(id, newer.as_bytes()).unwrap();
    assert_eq!(record.timestamp, Timestamp::MAX);
    let written: serde_json::Value = serde_json::from_slice(&record.encode().unwrap()).unwrap();
    assert_eq!(
        written,
        serde_json::from_str::<serde_json::Value>(&newer).unwrap()
    );
    let strange = json(r#"{"kind":"tenants"}"#);
    let error = Record::decode(id, strange.as_bytes())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!(
            "protected timestamp {id} cannot be read (unknown variant `tenants`"
        )),
        "{error}"
    );
    assert!(error.ends_with("garbage collection stands still until it can; use the newer icecore that wrote it, or release it"), "{error}");
    let error = Record::decode("other", newer.as_bytes()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("it says that its id is {id}"))
    );
}

#[test]
fn requests_are_checked() {
    let text = |request: ProtectRequest| request.validate().unwrap_err().to_string();
    request(Target::All, "backup:7").validate().unwrap();
    assert_eq!(
        text(request(Target::All, " ")),
        "cannot protect: owner is empty; say who needs the record"
    );
    assert_eq!(
        text(request(Target::All, &"x".repeat(257))),
        "cannot protect: owner has 257 bytes; the maximum is 256"
    );
    assert_eq!(
        text(request(Target::All, "a\nb")),
        "cannot protect: owner has control characters; write it on one line"
    );
    assert_eq!(
        text(request(keyspaces(&[]), "o")),
        "cannot protect: target names no keyspace; name one, or protect all"
    );
    assert_eq!(
        text(request(Target::Spans(Vec::new()), "o")),
        "cannot protect: target has no span; give one, or protect whole keyspaces"
    );
    let empty = KeyRange::new(b"b".to_vec(), Some(b"a".to_vec()));
    assert_eq!(
        text(request(Target::Spans(vec![span("bank.a", empty)]), "o")),
        r#"cannot protect: target has the span ["b", "a") without a key; put its end above its start"#
    );
}

#[test]
fn targets_and_ids_as_text() {
    assert_eq!(Target::All.to_string(), "all keyspaces");
    assert_eq!(
        keyspaces(&["bank.*", "nyc.flights"]).to_string(),
        "bank.*, nyc.flights"
    );
    let spans = vec![
        span("bank.a", KeyRange::prefix(b"k")),
        span("bank.b", KeyRange::all()),
    ];
    assert_eq!(
        Target::Spans(spans).to_string(),
        r#"bank.a ["k", "l"), bank.b ["", ∞)"#
    );
    let id = RecordId::random();
    assert_eq!(RecordId::parse(&id.to_string()).unwrap(), id);
    assert_eq!(
        RecordId::parse("seven").unwrap_err().to_string(),
        r#""seven" is not the id of a protected timestamp: write it as listed, 32 hexadecimal digits with hyphens"#
    );
}
