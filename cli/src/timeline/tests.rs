use std::path::Path;

use icecore_golden::file;

use super::*;

const DAY: u64 = 86_400_000_000_000;

/// So many hundredths of a day after the beginning of 9 February 2022.
fn at(hundredths: u64) -> Timestamp {
    Timestamp::from_nanos(1_644_364_800_000_000_000 + hundredths * (DAY / 100))
}

fn bar(kind: LayerKind, from: u64, until: u64, history: bool) -> Bar {
    Bar {
        label: format!("{from} to {until}"),
        kind,
        from: at(from),
        until: at(until),
        history,
    }
}

fn range(keyspace: &str, from: u64, until: u64) -> Restorable {
    Restorable {
        keyspace: keyspace.to_owned(),
        from: at(from),
        until: at(until),
    }
}

/// Every kind of thing: history and none, merged layers beside those they cover, a gap, single times,
/// names that are too long or look like tags, records.
fn everything() -> Timeline {
    use LayerKind::{Full, Incremental};
    Timeline {
        title: "Backup 2022/02/10-000000.00".to_owned(),
        layers: vec![
            bar(Full, 0, 100, true),
            bar(Incremental, 100, 150, true),
            bar(Incremental, 150, 200, false),
            bar(Incremental, 200, 250, false),
            bar(Incremental, 100, 250, true),
            bar(Incremental, 310, 360, true),
        ],
        restorable: vec![
            range("audit<1>", 100, 100),
            range("bank.accounts", 0, 150),
            range("bank.accounts", 200, 200),
            range("bank.accounts", 250, 250),
            range("bank.customers_of_the_east_coast", 20, 250),
        ],
        protected: vec![
            Protected {
                label: "backup of the whole engine in collection 4524e825".to_owned(),
                since: at(250),
            },
            Protected {
                label: "audit 2022".to_owned(),
                since: at(30),
            },
        ],
    }
}

#[test]
fn the_picture_of_everything() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/timeline.svg");
    file::check(&golden, &draw(&everything()));
}

/// Chains of 1 to 200 layers, evenly taken or mostly at once.
#[test]
fn no_two_bars_of_a_lane_overlap() {
    for count in [1, 2, 10, 50, 200] {
        for evenly in [true, false] {
            let mut layers = vec![bar(LayerKind::Full, 0, 0, false)];
            let end = |number: u64| match evenly {
                true => number * 10,
                false => number + (number / 40) * 5_000,
            };
            for number in 1..count {
                let history = number % 3 > 0;
                let (from, until) = (end(number - 1), end(number));
                layers.push(bar(LayerKind::Incremental, from, until, history));
            }
            let axis = Axis::new(layers.iter().flat_map(|b| [b.from, b.until]), LEFT, RIGHT);
            let lanes = lanes(&layers, &axis);
            for (a, first) in layers.iter().enumerate() {
                for (b, second) in layers.iter().enumerate().skip(a + 1) {
                    let ((from, until), (other, end)) = (span(first, &axis), span(second, &axis));
                    let apart = until + BAR_GAP <= other + 1e-6 || end + BAR_GAP <= from + 1e-6;
                    assert!(
                        lanes[a] != lanes[b] || apart,
                        "{count} {evenly}: {a} and {b}"
                    );
                }
            }
            let most = lanes.iter().max().unwrap() + 1;
            assert!(
                most <= if evenly { 2 } else { 60 },
                "{count} {evenly}: {most}"
            );
        }
    }
}

#[test]
fn an_empty_timeline_is_a_picture_too() {
    let nothing = Timeline {
        title: "Backup none".to_owned(),
        layers: Vec::new(),
        restorable: Vec::new(),
        protected: Vec::new(),
    };
    let picture = draw(&nothing);
    assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
}
