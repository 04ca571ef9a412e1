//! What programs and people read: the JSON's shape and the table, pinned.

use serde_json::{Value, json};

use super::*;
use crate::measure::Samples;

fn machine() -> Machine {
    Machine {
        cpu: "Abacus".to_owned(),
        cores: 2,
        memory: 24 << 30,
        kernel: "Linux 6.1".to_owned(),
        file_system: "ext2/ext3".to_owned(),
        rustc: "rustc 1.95.0".to_owned(),
        profile: "release",
        load: 0.5,
    }
}

/// One figure that meets its bar, one that does not, and one without.
fn report() -> Report {
    let pair = |ours: f64| Pair {
        ours: Samples::new(vec![ours, ours, ours * 2.0]),
        peer: Samples::new(vec![1e-6; 3]),
    };
    let mut report = Report::new("core", "full", machine());
    let shape = Shape::micros(1, 0.8);
    report.add("get", "rocksdb", &pair(1e-6), shape);
    report.add("miss", "rocksdb", &pair(2e-6), shape);
    let unbarred = Shape { bar: None, ..shape };
    report.add("known", "rocksdb", &pair(4e-6), unbarred);
    report.note("two keys".to_owned());
    report
}

#[test]
fn the_json_has_the_shape_that_programs_rely_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("figures.json");
    report().write_json(&file).unwrap();
    let json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let figure = |name: &str, ours: f64, ratio: f64, bar: Value, ok: Value| {
        json!({
            "name": name, "unit": "us", "ours": ours, "peer": "rocksdb", "peer_value": 1.0,
            "ratio": ratio, "bar": bar, "ok": ok,
        })
    };
    assert_eq!(
        json["figures"],
        json!([
            figure("get", 1.0, 1.0, json!(0.8), json!(true)),
            figure("miss", 2.0, 0.5, json!(0.8), json!(false)),
            figure("known", 4.0, 0.25, Value::Null, Value::Null),
        ])
    );
    let machine: Vec<&String> = json["machine"].as_object().unwrap().keys().collect();
    assert_eq!(
        machine,
        [
            "cores",
            "cpu",
            "file_system",
            "kernel",
            "load",
            "memory",
            "profile",
            "rustc"
        ]
    );
    assert_eq!(json["spreads"][1]["least"], 0.25);
    assert_eq!(
        (&json["suite"], &json["scale"]),
        (&json!("core"), &json!("full"))
    );
}

#[test]
fn the_table_names_what_is_missed() {
    let text = report().to_string();
    let lines: Vec<&str> = text.lines().skip(3).collect();
    let expected = [
        "figure                                           ours     peer's    peer                      ratio (of rounds)          bar",
        "get                                              1.00       1.00 us rocksdb                    1.00 (0.50–1.00)         0.80 met",
        "miss                                             2.00       1.00 us rocksdb                    0.50 (0.25–0.50)         0.80 MISSED",
        "known                                            4.00       1.00 us rocksdb                    0.25 (0.12–0.25)",
        "- two keys",
        "",
        "1 of 2 bars met; a ratio above 1 means that ours is better",
    ];
    assert_eq!(lines, expected);
}
