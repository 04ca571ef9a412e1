//! Rows out of files, and into a keyspace.

use std::io::Cursor;

use icecore_engine::Options;
use icecore_mvcc::{KeyRange, KeyspaceSettings};

use super::*;

fn read(text: &str, format: Format, key: &[&str]) -> Vec<Result<Row>> {
    let options = LoadOptions::new(key.iter().copied());
    match RowReader::new(Cursor::new(text.to_owned()), "input", format, &options) {
        Ok(rows) => rows.collect(),
        Err(e) => vec![Err(e)],
    }
}

fn rows(text: &str, format: Format, key: &[&str]) -> Vec<(String, String)> {
    read(text, format, key)
        .into_iter()
        .map(|row| {
            let row = row.unwrap();
            (row.key, String::from_utf8(row.json).unwrap())
        })
        .collect()
}

fn error(text: &str, format: Format, key: &[&str]) -> String {
    let read = read(text, format, key);
    read.last().unwrap().as_ref().unwrap_err().line()
}

#[test]
fn csv_keeps_column_order_and_the_digits_of_numbers() {
    let text = "year,origin,delay,note\n2013,EWR,-2.50,NA\n2014,\"J,FK\",,007\n";
    assert_eq!(
        rows(text, Format::Csv, &["origin", "year"]),
        [
            (
                "EWR/2013".to_owned(),
                r#"{"year":2013,"origin":"EWR","delay":-2.50,"note":"NA"}"#.to_owned()
            ),
            (
                "J,FK/2014".to_owned(),
                r#"{"year":2014,"origin":"J,FK","delay":"","note":"007"}"#.to_owned()
            ),
        ]
    );
}

#[test]
fn csv_values_are_json_whatever_the_fields_hold() {
    let text = "id,\"a \"\"b\"\"\"\n1,\"two\nlines \\ and \"\"quotes\"\" \u{1}\"\n";
    let rows = rows(text, Format::Csv, &["id"]);
    let value: serde_json::Value = serde_json::from_str(&rows[0].1).unwrap();
    assert_eq!(value["a \"b\""], "two\nlines \\ and \"quotes\" \u{1}");
}

#[test]
fn csv_errors_say_where() {
    assert_eq!(
        error("a,b\n1,2\n3\n", Format::Csv, &["a"]),
        "cannot load input, line 3: it has 1 fields where the header has 2; mend that line"
    );
    assert_eq!(
        error("a,b\n1,2\n", Format::Csv, &["c"]),
        "cannot load input: it has no column \"c\"; its columns are a, b"
    );
    assert_eq!(
        error("a,a\n1,2\n", Format::Csv, &["a"]),
        "cannot load input: its header has the column \"a\" twice; rename one of them"
    );
}

#[test]
fn jsonl_keeps_the_line_as_it_stands() {
    let text = "  {\"id\": 7, \"x\": 1.50, \"ok\": true}\r\n\n{\"ok\":false,\"id\":\"b\"}";
    assert_eq!(
        rows(text, Format::Jsonl, &["id", "ok"]),
        [
            (
                "7/true".to_owned(),
                r#"{"id": 7, "x": 1.50, "ok": true}"#.to_owned()
            ),
            ("b/false".to_owned(), r#"{"ok":false,"id":"b"}"#.to_owned()),
        ]
    );
}

#[test]
fn jsonl_errors_say_where() {
    for (text, expected) in [
        (
            "{\"id\":1}\n\n[1]\n",
            "cannot load input, line 3: it is not a JSON object: invalid type: sequence, expected a map at line 1 column 0; write one object a line",
        ),
        (
            "{\"id\":1.5}",
            "cannot load input, line 1: its key column \"id\" is 1.5; a key column must be a string, an integer or a boolean",
        ),
        (
            "{\"id\":123456789012345678901}",
            "cannot load input, line 1: its key column \"id\" is 1.2345678901234567e+20; a key column must be a string, an integer or a boolean",
        ),
        (
            "{\"x\":1}",
            "cannot load input, line 1: it has no key column \"id\"; add it, or name others with --key",
        ),
    ] {
        assert_eq!(error(text, Format::Jsonl, &["id"]), expected);
    }
}

#[test]
fn names_tell_formats() {
    for (name, format) in [
        ("a.csv", Some(Format::Csv)),
        ("dir.x/a.CSV.zst", Some(Format::Csv)),
        ("a.jsonl", Some(Format::Jsonl)),
        ("a.b.ndjson.zst", Some(Format::Jsonl)),
        ("a.zst", None),
        ("csv", None),
        ("a.json", None),
    ] {
        assert_eq!(Format::of_path(Path::new(name)), format, "{name}");
    }
}

#[test]
fn a_bad_row_leaves_the_whole_batches_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path().join("db"), &Options::default()).unwrap();
    let keyspace = engine
        .create_keyspace("t", KeyspaceSettings::default())
        .unwrap();
    let options = LoadOptions::new(["id"]);
    let text = "id\n1\n2\n3\n4,5\n";
    let reader = RowReader::new(Cursor::new(text), "input", Format::Csv, &options).unwrap();
    let failed = load_rows(&engine, &keyspace, reader, 2).unwrap_err();
    assert_eq!(
        failed.line(),
        "cannot load input, line 5: it has 2 fields where the header has 1; mend that line; what comes before that is committed (2 rows), and may be loaded again"
    );
    let scan = keyspace
        .scan(&engine.snapshot(), &KeyRange::all(), Default::default())
        .unwrap();
    let keys: Vec<Vec<u8>> = scan.map(|row| row.unwrap().key).collect();
    assert_eq!(keys, [b"1", b"2"]);
}

#[test]
fn a_large_batch_is_cut_by_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path().join("db"), &Options::default()).unwrap();
    let keyspace = engine
        .create_keyspace("t", KeyspaceSettings::default())
        .unwrap();
    let rows = (0..5).map(|id| {
        Ok(Row {
            key: id.to_string(),
            json: vec![b'x'; 3 << 20],
        })
    });
    let report = load_rows(&engine, &keyspace, rows, 1000).unwrap();
    assert_eq!((report.rows, report.batches), (5, 2));
    assert_eq!(report.bytes, 5 * ((3 << 20) + 1));
}
