use proptest::prelude::*;

use super::*;

fn full_entry() -> LayerEntry {
    LayerEntry {
        path: LayerPath::full_at("2022/02/09-155340.13".parse().unwrap()),
        start: Timestamp::MIN,
        end: Timestamp::from_nanos(1_644_422_020_130_000_000),
        history_from: Some(Timestamp::from_nanos(1_644_400_000_000_000_000)),
        stored_bytes: 4096,
        entries: 17,
        manifest_hash: ContentHash::of(b"manifest"),
    }
}

fn incremental_entry() -> LayerEntry {
    LayerEntry {
        path: LayerPath::incremental_at(
            "2022/02/09-155340.13".parse().unwrap(),
            "20220210/155530.50".parse().unwrap(),
        ),
        start: Timestamp::from_nanos(1_644_422_020_130_000_000),
        end: Timestamp::from_nanos(1_644_508_530_500_000_000),
        history_from: None,
        stored_bytes: 0,
        entries: 0,
        manifest_hash: ContentHash::of(b"other"),
    }
}

#[test]
fn golden_names() {
    let (full, incremental) = (full_entry(), incremental_entry());
    assert_eq!(
        latest_path(full.path.full(), full.end).as_ref(),
        "metadata/latest/e92dd6e29d52337f-2022_02_09-155340.13"
    );
    assert_eq!(
        layer_path(&full).as_ref(),
        "metadata/chain/2022_02_09-155340.13/layer-00000000000000000000-01644422020130000000-01644400000000000000-4096-17-\
         0d197521d9a48760576da1c87dfd828a60d397ea1e16f92a5b7c44b4f4060ce1-full"
    );
    assert_eq!(
        layer_path(&incremental).as_ref(),
        format!(
            "metadata/chain/2022_02_09-155340.13/layer-01644422020130000000-01644508530500000000-none-0-0-{}-20220210_155530.50",
            incremental.manifest_hash
        )
    );
    assert_eq!(
        slot_path(full.path.full(), full.end).as_ref(),
        "metadata/chain/2022_02_09-155340.13/slot-01644422020130000000"
    );
    assert_eq!(
        expired_path(full.path.full(), full.end).as_ref(),
        "metadata/latest/expired-e92dd6e29d52337f-2022_02_09-155340.13"
    );
    let path = incremental.path.incremental().unwrap();
    assert_eq!(
        retired_path(full.path.full(), incremental.manifest_hash, path).as_ref(),
        format!(
            "metadata/chain/2022_02_09-155340.13/retired-{}-20220210_155530.50",
            incremental.manifest_hash
        )
    );
}

#[test]
fn golden_contents_of_the_marks_of_retention() {
    let removal = || Removal {
        run: RunId::from_bytes([7; 16]),
        at: Timestamp::from_nanos(1_644_422_020_130_000_000),
    };
    let signed = r#"{"run":"07070707-0707-0707-0707-070707070707","at":1644422020130000000}"#;
    let (full, layer) = (full_entry().path.full().clone(), incremental_entry().path);
    let expired = ExpiredMark {
        end: full_entry().end,
        expired: removal(),
        full,
    };
    let retired = RetiredMark {
        layer,
        retired: removal(),
    };
    let tombstone = Tombstone { removed: removal() };
    let closed = ClosedSlot { closed: removal() };
    let path = r#"{"full":"2022/02/09-155340.13","incremental":"20220210/155530.50"}"#;
    for (content, json) in [
        (
            content::encode(&closed),
            format!(r#"{{"closed":{signed}}}"#),
        ),
        (
            content::encode(&tombstone),
            format!(r#"{{"removed":{signed}}}"#),
        ),
        (
            content::encode(&expired),
            format!(
                r#"{{"full":"2022/02/09-155340.13","end":1644422020130000000,"expired":{signed}}}"#
            ),
        ),
        (
            content::encode(&retired),
            format!(r#"{{"layer":{path},"retired":{signed}}}"#),
        ),
    ] {
        let content = content.unwrap();
        let text = std::str::from_utf8(&content).unwrap();
        assert_eq!(text.lines().next(), Some(json.as_str()));
        assert_eq!(Tombstone::is(&content), json.contains("removed"));
    }
}

#[test]
fn the_marks_of_retention_are_read_back() {
    let (full, incremental) = (full_entry(), incremental_entry());
    let name = |path: Path| path.filename().unwrap().to_owned();
    let marker = LatestMarker {
        full: full.path.full().clone(),
        end: full.end,
    };
    let expired = name(expired_path(&marker.full, marker.end));
    assert_eq!(
        parse_latest_name(&expired),
        Some(LatestName::Expired(marker.clone()))
    );
    assert_eq!(
        parse_latest(&expired),
        None,
        "an older reader passes it over"
    );
    let latest = name(latest_path(&marker.full, marker.end));
    assert_eq!(
        parse_latest_name(&latest),
        Some(LatestName::Full(marker.clone()))
    );
    let path = incremental.path.incremental().unwrap().clone();
    let hash = incremental.manifest_hash;
    let retired = name(retired_path(&marker.full, hash, &path));
    let read = parse_chain_marker(&marker.full, &retired);
    assert_eq!(read, Some(ChainMarker::Retired(hash, path)));
    for other in [
        "retired-",
        "retired-00",
        &retired.to_uppercase(),
        &format!("{retired}0"),
    ] {
        assert_eq!(parse_chain_marker(&marker.full, other), None, "{other}");
    }
}

#[test]
fn names_of_other_spellings_and_kinds_are_not_ours() {
    let full = full_entry().path.full().clone();
    let good = layer_path(&full_entry());
    let good = good.filename().unwrap();
    for name in [
        "slot-1",
        "slot-",
        "slot",
        "",
        "layer-",
        "note-1",
        "layer-1-2-none-0-0-x-full",
        &good.replace("4096", "04096"),
        &good.replace("-17-", "-+17-"),
        &good.to_uppercase(),
        &format!("{good}x"),
    ] {
        assert_eq!(parse_chain_marker(&full, name), None, "{name}");
    }
    for name in [
        "",
        "e92dd6e29d52337f",
        "E92DD6E29D52337F-a",
        "e92dd6e29d52337-a",
        "e92dd6e29d52337f-",
        "e92dd6e29d52337f-a__b",
    ] {
        assert_eq!(parse_latest(name), None, "{name}");
    }
}

#[test]
fn the_newest_full_is_listed_first() {
    let full: FullPath = "a".parse().unwrap();
    let names: Vec<String> = [u64::MAX, 20, 10, 0]
        .map(|end| latest_path(&full, Timestamp::from_nanos(end)).to_string())
        .to_vec();
    assert!(names.is_sorted(), "{names:?}");
}

proptest! {
    #[test]
    fn names_read_back(start: u64, end: u64, from: Option<u64>, stored_bytes: u64, entries: u64, hash: [u8; 32], inc: bool) {
        let full: FullPath = "a-b/c.d".parse().unwrap();
        let path = if inc {
            LayerPath::incremental_at(full.clone(), IncrementalPath::at(Timestamp::from_nanos(end)))
        } else {
            LayerPath::full_at(full.clone())
        };
        let entry = LayerEntry {
            path,
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(end),
            history_from: from.map(Timestamp::from_nanos),
            stored_bytes,
            entries,
            manifest_hash: ContentHash::from_bytes(hash),
        };
        let path = layer_path(&entry);
        let name = path.filename().unwrap();
        prop_assert!(name.len() <= 255, "file systems take no longer names");
        prop_assert_eq!(parse_chain_marker(&full, name), Some(ChainMarker::Layer(entry)));
        let end = Timestamp::from_nanos(end);
        prop_assert_eq!(parse_latest(latest_path(&full, end).filename().unwrap()), Some(LatestMarker { full, end }));
    }

    #[test]
    fn no_name_panics(name in ".{0,60}|(slot|layer)-[0-9a-z-]{0,60}") {
        let full: FullPath = "a".parse().unwrap();
        let _ = parse_chain_marker(&full, &name);
        let _ = parse_latest(&name);
    }
}
