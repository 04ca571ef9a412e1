use proptest::prelude::*;

use super::*;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(
        prop::sample::select(vec![0x00, 0x01, 0x61, 0xFE, 0xFF]),
        0..4,
    )
}

fn range() -> impl Strategy<Value = KeyRange> {
    (key(), prop::option::of(key())).prop_map(|(start, end)| KeyRange::new(start, end))
}

#[test]
fn prefixes_end_at_the_next_key_that_is_none_of_theirs() {
    let ends = [
        (&b""[..], None),
        (&[0xFF], None),
        (&[0xFF, 0xFF], None),
        (&[0x00], Some(&[0x01][..])),
        (&[0x61, 0xFF], Some(&[0x62])),
        (&[0xFE, 0xFF, 0xFF], Some(&[0xFF])),
        (b"ab", Some(b"ac")),
    ];
    for (prefix, end) in ends {
        let range = KeyRange::prefix(prefix);
        assert_eq!((range.start(), range.end()), (prefix, end));
    }
}

#[test]
fn display_names_both_ends() {
    assert_eq!(KeyRange::all().to_string(), r#"["", ∞)"#);
    assert_eq!(KeyRange::single(b"a").to_string(), r#"["a", "a\x00")"#);
}

#[test]
fn json_is_text() {
    let range = KeyRange::single(b"a");
    let json = r#"{"start":"a","end":"a\\x00"}"#;
    assert_eq!(serde_json::to_string(&range).unwrap(), json);
    assert_eq!(serde_json::from_str::<KeyRange>(json).unwrap(), range);
    assert_eq!(
        serde_json::from_str::<KeyRange>(r#"{"start":""}"#).unwrap(),
        KeyRange::all()
    );
    let error = serde_json::from_str::<KeyRange>(r#"{"start":"\\q","end":null}"#).unwrap_err();
    assert!(
        error.to_string().starts_with("bad escape at byte 0"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn a_prefix_range_holds_what_begins_with_it(prefix in key(), key in key()) {
        prop_assert_eq!(KeyRange::prefix(&prefix).contains(&key), key.starts_with(&prefix));
        let longer = [&prefix[..], &key].concat();
        prop_assert!(KeyRange::prefix(&prefix).contains(&longer));
    }

    #[test]
    fn a_single_range_holds_one_key(one in key(), key in key()) {
        prop_assert_eq!(KeyRange::single(&one).contains(&key), key == one);
        prop_assert!(KeyRange::single(&one).contains(&one));
    }

    #[test]
    fn an_intersection_holds_what_both_hold(a in range(), b in range(), key in key()) {
        let both = a.intersect(&b);
        prop_assert_eq!(both.contains(&key), a.contains(&key) && b.contains(&key));
        prop_assert_eq!(a.overlaps(&b), !both.is_empty());
        if both.contains(&key) {
            prop_assert!(a.overlaps(&b));
        }
    }

    #[test]
    fn an_empty_range_holds_nothing_and_another_its_start(range in range(), key in key()) {
        prop_assert!(!(range.is_empty() && range.contains(&key)));
        prop_assert_eq!(range.contains(range.start()), !range.is_empty());
    }

    #[test]
    fn parts_adjoin_and_hold_the_whole(range in range(), mut points in prop::collection::vec(key(), 0..5)) {
        points.sort();
        let parts = range.split_at(&points);
        prop_assert!(parts.iter().all(|part| !part.is_empty()));
        prop_assert!(parts.windows(2).all(|pair| pair[0].end() == Some(pair[1].start())));
        if range.is_empty() {
            prop_assert!(parts.is_empty());
        } else {
            prop_assert_eq!(parts.first().unwrap().start(), range.start());
            prop_assert_eq!(parts.last().unwrap().end(), range.end());
            for point in points.iter().filter(|point| range.contains(point)) {
                prop_assert!(parts.iter().any(|part| part.start() == &point[..]));
            }
            prop_assert!(parts.len() <= points.len() + 1);
        }
    }

    #[test]
    fn json_round_trip(range in range()) {
        let json = serde_json::to_string(&range).unwrap();
        prop_assert_eq!(serde_json::from_str::<KeyRange>(&json).unwrap(), range);
    }
}
