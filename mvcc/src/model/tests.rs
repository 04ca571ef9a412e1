//! The model against examples worked by hand; that collecting changes no read is shown with the rule.

use super::*;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// `a` is put at 1 and 5 and deleted at 7; `b` is put at 2; `c` is deleted at 3 and put at 6.
fn keyspace() -> ModelKeyspace {
    let mut keyspace = ModelKeyspace::new();
    keyspace.put(b"a", at(1), b"a1");
    keyspace.put(b"a", at(5), b"a5");
    keyspace.delete(b"a", at(7));
    keyspace.put(b"b", at(2), b"");
    keyspace.delete(b"c", at(3));
    keyspace.put(b"c", at(6), b"c6");
    keyspace
}

/// Rows as text: `a5=a5` for a put, `a7-` for a tombstone.
fn show(rows: &[Row]) -> String {
    let show_row = |row: &Row| {
        let key = String::from_utf8_lossy(&row.key);
        let value = row.value.as_deref().map(String::from_utf8_lossy);
        format!(
            "{key}{}{}",
            row.ts.nanos(),
            value.map_or("-".to_owned(), |value| format!("={value}"))
        )
    };
    rows.iter().map(show_row).collect::<Vec<_>>().join(" ")
}

#[test]
fn get_is_the_newest_version_by_then() {
    let keyspace = keyspace();
    let reads = [
        (0, None),
        (1, Some("a1")),
        (4, Some("a1")),
        (5, Some("a5")),
        (6, Some("a5")),
        (7, None),
        (9, None),
    ];
    for (time, value) in reads {
        assert_eq!(
            keyspace.get(b"a", at(time)),
            value.map(str::as_bytes),
            "at {time}"
        );
    }
    assert_eq!(
        keyspace.get(b"b", at(2)),
        Some(&b""[..]),
        "an empty value is a value"
    );
    assert_eq!(keyspace.get(b"d", Timestamp::MAX), None);
}

#[test]
fn scans_go_both_ways_and_stop() {
    let (keyspace, all) = (keyspace(), KeyRange::all());
    assert_eq!(
        show(&keyspace.scan(&all, at(6), false, usize::MAX)),
        "a5=a5 b2= c6=c6"
    );
    assert_eq!(show(&keyspace.scan(&all, at(6), true, 2)), "c6=c6 b2=");
    assert_eq!(
        show(&keyspace.scan(&all, at(5), false, usize::MAX)),
        "a5=a5 b2="
    );
    assert_eq!(
        show(&keyspace.scan(&KeyRange::prefix(b"b"), at(9), false, usize::MAX)),
        "b2="
    );
    assert_eq!(
        show(&keyspace.scan(&KeyRange::new(b"b".to_vec(), None), at(9), false, 0)),
        ""
    );
}

#[test]
fn versions_run_newest_first() {
    let versions = keyspace().versions(b"a");
    let times: Vec<_> = versions
        .iter()
        .map(|version| (version.ts.nanos(), version.is_tombstone()))
        .collect();
    assert_eq!(times, [(7, true), (5, false), (1, false)]);
    assert!(keyspace().versions(b"d").is_empty());
}

#[test]
fn changes_open_below_and_close_above() {
    let (keyspace, all) = (keyspace(), KeyRange::all());
    assert_eq!(
        show(&keyspace.changes(&all, at(0), at(9), false)),
        "a7- a5=a5 a1=a1 b2= c6=c6 c3-"
    );
    assert_eq!(
        show(&keyspace.changes(&all, at(0), at(9), true)),
        "a7- b2= c6=c6"
    );
    assert_eq!(
        show(&keyspace.changes(&all, at(1), at(6), false)),
        "a5=a5 b2= c6=c6 c3-"
    );
    assert_eq!(
        show(&keyspace.changes(&all, at(1), at(5), true)),
        "a5=a5 b2= c3-"
    );
    assert_eq!(
        show(&keyspace.changes(&KeyRange::single(b"c"), at(3), at(6), false)),
        "c6=c6"
    );
    assert_eq!(show(&keyspace.changes(&all, at(6), at(6), false)), "");
    assert_eq!(show(&keyspace.changes(&all, at(7), at(2), false)), "");
}

#[test]
fn fulls_are_a_state_or_a_history_upon_one() {
    let (keyspace, all) = (keyspace(), KeyRange::all());
    assert_eq!(show(&keyspace.full(&all, at(6), None)), "a5=a5 b2= c6=c6");
    assert_eq!(show(&keyspace.full(&all, at(9), None)), "b2= c6=c6");
    assert_eq!(
        show(&keyspace.full(&all, at(9), Some(at(4)))),
        "a7- a5=a5 a1=a1 b2= c6=c6"
    );
    assert_eq!(
        show(&keyspace.full(&all, at(6), Some(at(2)))),
        "a5=a5 a1=a1 b2= c6=c6 c3-"
    );
    assert_eq!(
        show(&keyspace.full(&all, at(9), Some(at(0)))),
        "a7- a5=a5 a1=a1 b2= c6=c6 c3-"
    );
    assert_eq!(
        show(&keyspace.full(&all, at(6), Some(at(9)))),
        "a5=a5 b2= c6=c6",
        "no history is left"
    );
    assert_eq!(
        show(&keyspace.full(&KeyRange::prefix(b"a"), at(9), Some(at(9)))),
        ""
    );
}

#[test]
fn collecting_keeps_what_can_be_read() {
    let mut keyspace = keyspace();
    keyspace.gc(at(5));
    assert_eq!(show(&keyspace.rows()), "a7- a5=a5 b2= c6=c6");
    keyspace.gc(at(7));
    assert_eq!(show(&keyspace.rows()), "b2= c6=c6");
    keyspace.gc(at(1));
    assert_eq!(keyspace.threshold(), at(7), "a threshold only ever rises");
}

#[test]
fn a_version_written_again_is_replaced() {
    let mut keyspace = keyspace();
    keyspace.delete(b"b", at(2));
    assert_eq!(
        show(&keyspace.changes(&KeyRange::single(b"b"), at(0), at(9), false)),
        "b2-"
    );
}
