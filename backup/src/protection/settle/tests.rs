//! What stands after each kind of layer, whatever stood before.

use icecore_gc::RecordId;

use super::*;

const SESSION: Uuid = Uuid::from_u128(1);
const OWNER: &str = "backup of the whole engine in collection c";

fn ts(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn chain(name: &str, full: u64) -> ChainOf {
    ChainOf {
        collection: "c".to_owned(),
        chain: name.to_owned(),
        full: ts(full),
        owner: OWNER.to_owned(),
        target: Target::All,
    }
}

/// A record as it is stored.
fn record(at: u64, owner: &str, holder: &str) -> Record {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = Uuid::from_u128(number.into());
    let holder = match holder {
        "" => String::new(),
        holder => format!(r#","holder":{holder}"#),
    };
    let json = format!(
        r#"{{"id":"{id}","timestamp":{at},"target":{{"kind":"all"}},"owner":"{owner}","created":1,"purpose":"backups"{holder}}}"#
    );
    serde_json::from_str(&json).unwrap()
}

fn of_chain(at: u64, name: &str, full: u64) -> Record {
    let holder = format!(r#"{{"kind":"chain","collection":"c","chain":"{name}","full":{full}}}"#);
    record(at, OWNER, &holder)
}

fn layer(full: bool, start: u64, end: u64, stood: bool) -> Committed {
    Committed {
        full,
        start: ts(start),
        end: ts(end),
        stood,
        session: SESSION,
    }
}

/// What is there afterwards: the times of the records, `new` first.
fn after(records: &[Record], exchange: &Exchange) -> (Vec<u64>, Vec<u64>) {
    let made = exchange.protect.iter();
    let made = made.map(|(_, request)| request.timestamp.nanos());
    let left = records.iter().filter(|r| !exchange.release.contains(&r.id));
    let left = left.map(|r| {
        let moved = exchange.advance.iter().find(|(id, _)| *id == r.id);
        moved.map_or(r.timestamp, |(_, to)| *to).nanos()
    });
    (made.collect(), left.collect())
}

fn nobodys(_: &Record) -> bool {
    false
}

fn is(id: RecordId) -> impl Fn(&Record) -> bool {
    move |record| record.id == id
}

#[test]
fn an_incremental_moves_its_own_record_and_touches_no_other_chains() {
    let records = [
        of_chain(10, "a", 10),
        of_chain(25, "b", 20),
        of_chain(30, "d", 30),
    ];
    let exchange = chain("b", 20).settle(&records, layer(false, 25, 40, true), nobodys);
    assert_eq!(after(&records, &exchange), (vec![], vec![10, 40, 30]));
    // Done again, as by a job that was killed after it: nothing.
    let records = [of_chain(40, "b", 20)];
    let exchange = chain("b", 20).settle(&records, layer(false, 25, 40, true), nobodys);
    assert_eq!(exchange, Exchange::default());
}

#[test]
fn a_full_takes_over_from_older_chains_of_its_selection_and_collection_only() {
    let mut elsewhere = of_chain(10, "e", 10);
    let holder = r#"{"kind":"chain","collection":"other","chain":"a","full":10}"#;
    elsewhere.holder = serde_json::from_str(holder).unwrap();
    let mut part = of_chain(10, "p", 10);
    part.target = Target::Keyspaces(vec!["bank.*".parse().unwrap()]);
    let job = record(5, OWNER, &format!(r#"{{"kind":"job","id":"{SESSION}"}}"#));
    let run = record(
        6,
        OWNER,
        &format!(r#"{{"kind":"run","session":"{SESSION}"}}"#),
    );
    let strange = record(7, OWNER, r#"{"kind":"tenant"}"#);
    let mine = record(
        50,
        OWNER,
        &format!(r#"{{"kind":"run","session":"{SESSION}"}}"#),
    );
    let records = [
        of_chain(10, "a", 10),
        of_chain(45, "b", 20),
        elsewhere,
        part,
        job,
        run,
        strange,
        mine.clone(),
    ];
    let exchange = chain("c", 50).settle(&records, layer(true, 0, 50, false), is(mine.id));
    assert_eq!(
        after(&records, &exchange),
        (vec![50], vec![10, 10, 5, 6, 7])
    );
    let (purpose, request) = &exchange.protect[0];
    assert_eq!(*purpose, Purpose::Backups);
    assert_eq!(
        serde_json::to_string(&request.holder).unwrap(),
        r#"{"kind":"chain","collection":"c","chain":"c","full":50}"#
    );
}

#[test]
fn of_two_fulls_the_newer_chains_record_stands_whichever_ends_last() {
    for (old, new) in [(("a", 10), ("b", 20)), (("a", 20), ("b", 20))] {
        let (old_chain, new_chain) = (chain(old.0, old.1), chain(new.0, new.1));
        // The newer one last.
        let records = [of_chain(old.1, old.0, old.1)];
        let exchange = new_chain.settle(&records, layer(true, 0, new.1, false), nobodys);
        assert_eq!(after(&records, &exchange), (vec![new.1], vec![]));
        // The older one last.
        let records = [of_chain(new.1, new.0, new.1)];
        let exchange = old_chain.settle(&records, layer(true, 0, old.1, false), nobodys);
        assert_eq!(after(&records, &exchange), (vec![], vec![new.1]));
    }
}

#[test]
fn a_chain_that_was_taken_over_is_held_again_only_by_who_began_with_that() {
    let newer = [of_chain(30, "b", 30)];
    // It began while the chain was held, and the newer full came meanwhile.
    let exchange = chain("a", 10).settle(&newer, layer(false, 20, 40, true), nobodys);
    assert_eq!(after(&newer, &exchange), (vec![], vec![30]));
    // It began to go on with it afterwards.
    let exchange = chain("a", 10).settle(&newer, layer(false, 20, 40, false), nobodys);
    assert_eq!(after(&newer, &exchange), (vec![40], vec![30]));
    // Somebody released its record, and nothing took it over.
    let exchange = chain("a", 10).settle(&[], layer(false, 20, 40, true), nobodys);
    assert_eq!(after(&[], &exchange), (vec![40], vec![]));
}

#[test]
fn a_record_that_holds_less_than_the_chain_is_replaced() {
    let mut part = of_chain(20, "a", 10);
    part.target = Target::Keyspaces(vec!["bank.*".parse().unwrap()]);
    let records = [part];
    let exchange = chain("a", 10).settle(&records, layer(false, 20, 40, true), nobodys);
    assert_eq!(after(&records, &exchange), (vec![40], vec![]));
}

#[test]
fn records_without_a_holder_are_the_chains_as_they_were() {
    // One at the chain's end or before it, of the same owner: its own, or that of a run that died.
    let records = [
        record(15, OWNER, ""),
        record(20, OWNER, ""),
        record(20, "audit", ""),
        record(21, OWNER, ""),
    ];
    let exchange = chain("a", 10).settle(&records, layer(false, 20, 40, false), nobodys);
    assert_eq!(after(&records, &exchange), (vec![40], vec![20, 21]));
    let exchange = chain("b", 40).settle(&records, layer(true, 0, 40, false), nobodys);
    assert_eq!(after(&records, &exchange), (vec![40], vec![20]));
}

#[test]
fn what_a_dead_run_of_the_selection_left_goes() {
    let other = Uuid::from_u128(2);
    let records = [
        record(
            9,
            OWNER,
            &format!(r#"{{"kind":"run","session":"{other}"}}"#),
        ),
        record(
            9,
            "audit",
            &format!(r#"{{"kind":"run","session":"{other}"}}"#),
        ),
        of_chain(20, "a", 10),
    ];
    let exchange = chain("a", 10).settle(&records, layer(false, 20, 40, true), nobodys);
    assert_eq!(after(&records, &exchange), (vec![], vec![9, 40]));
}
