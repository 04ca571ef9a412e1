//! What lies in RocksDB, read by its own reader and not by the engine. The formats are those of
//! `docs/format/`.
//!
//! | command | what |
//! |---|---|
//! | `dump KS [hex]` | every stored version, also those that no read can see |
//! | `index` | the commit index: `@105.0` is the first record of the commit at 105 |
//! | `records` | the engine's records |
//! | `families` | the column families |

use icecore_golden::page::hex;
use icecore_mvcc::{key, value};

use super::rocks::{Pair, families, family};
use super::words::{printable, row};
use super::{Outcome, Stage, Words, lines};

pub fn run(stage: &mut Stage, verb: &str, words: &mut Words) -> Option<Outcome> {
    Some(match verb {
        "dump" => dump(stage, words),
        "index" => {
            let records = family(&stage.folder, "commits");
            Ok(lines(records.iter().map(|(k, v)| index_record(k, v))))
        }
        "records" => {
            let records = family(&stage.folder, "default");
            Ok(lines(records.iter().map(|(k, v)| engine_record(k, v))))
        }
        "families" => Ok(lines(families(&stage.folder))),
        _ => return None,
    })
}

fn dump(stage: &Stage, words: &mut Words) -> Outcome {
    let in_hex = words.flag("hex");
    let name = match stage.keyspace(&words.next())?.id().get() {
        0 => "system".to_owned(),
        id => format!("ks-{id:08x}"),
    };
    let show = |(stored, bytes): &Pair| {
        if in_hex {
            return format!("{} = {}", hex(stored), hex(bytes));
        }
        let (user, ts) = key::decode_key(stored).unwrap();
        row(&user, ts, value::decode_value(bytes).unwrap().into_option())
    };
    Ok(lines(family(&stage.folder, &name).iter().map(show)))
}

fn index_record(key: &[u8], record: &[u8]) -> String {
    let (ts, number) = key.split_at(8);
    let ts = u64::from_be_bytes(ts.try_into().unwrap());
    let number = u32::from_be_bytes(number.try_into().unwrap());
    let mut rest = &record[1..];
    let mut said = Vec::new();
    match record[0] {
        0 => {
            while !rest.is_empty() {
                let (id, count) = (varint(&mut rest), varint(&mut rest));
                for _ in 0..count {
                    said.push(format!("#{id} {}", entry(&mut rest)));
                }
            }
        }
        1 => {
            let id = varint(&mut rest);
            let (first, last) = (bytes(&mut rest), bytes(&mut rest));
            said.push(format!(
                "#{id} span {} to {}",
                printable(first),
                printable(last)
            ));
            assert!(rest.is_empty());
        }
        kind => panic!("kind {kind}"),
    }
    format!("@{ts}.{number} {}", said.join(", "))
}

fn entry(rest: &mut &[u8]) -> String {
    let head = varint(rest);
    let key = printable(take(rest, head >> 1));
    match head & 1 {
        0 => format!("put {key} of class {}", take(rest, 1)[0]),
        _ => format!("delete {key}"),
    }
}

fn bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = varint(rest);
    take(rest, length)
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> &'a [u8] {
    let (taken, after) = rest.split_at(length as usize);
    *rest = after;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut n = 0;
    for shift in (0..).step_by(7) {
        let byte = take(rest, 1)[0];
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    n
}

fn engine_record(key: &[u8], value: &[u8]) -> String {
    let marks = ["threshold/", "swept/"];
    let name = match marks.iter().find(|mark| key.starts_with(mark.as_bytes())) {
        Some(mark) => {
            let id = key[mark.len()..].try_into().unwrap();
            format!("{mark}#{}", u32::from_be_bytes(id))
        }
        None => printable(key),
    };
    let value = match value.len() {
        4 => u32::from_be_bytes(value.try_into().unwrap()).to_string(),
        8 => u64::from_be_bytes(value.try_into().unwrap()).to_string(),
        _ => String::from_utf8(value.to_vec()).unwrap(),
    };
    format!("{name} = {value}")
}
