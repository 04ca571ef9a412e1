use proptest::prelude::*;

use super::*;

/// The reference page's example: 2022-02-09 15:53:40.13 UTC.
const EXAMPLE: u64 = 1_644_422_020_139_999_999;

#[test]
fn names_are_utc_hundredths_rounded_down() {
    let end = Timestamp::from_nanos(EXAMPLE);
    assert_eq!(FullPath::at(end).as_str(), "2022/02/09-155340.13");
    assert_eq!(IncrementalPath::at(end).as_str(), "20220209/155340.13");
    assert_eq!(
        FullPath::at(Timestamp::MIN).as_str(),
        "1970/01/01-000000.00"
    );
    assert_eq!(
        FullPath::at(Timestamp::MAX).as_str(),
        "2554/07/21-233433.70"
    );
}

#[test]
fn layers_display_as_paths_and_serialise_in_parts() {
    let full = FullPath::at(Timestamp::from_nanos(EXAMPLE));
    let layer = LayerPath::incremental_at(full.clone(), "20220210/155530.50".parse().unwrap());
    assert_eq!(layer.to_string(), "2022/02/09-155340.13/20220210/155530.50");
    assert_eq!(
        serde_json::to_string(&layer).unwrap(),
        r#"{"full":"2022/02/09-155340.13","incremental":"20220210/155530.50"}"#
    );
    let alone = LayerPath::full_at(full);
    assert_eq!(alone.to_string(), "2022/02/09-155340.13");
    assert_eq!(
        serde_json::to_string(&alone).unwrap(),
        r#"{"full":"2022/02/09-155340.13","incremental":null}"#
    );
}

#[test]
fn explicit_paths() {
    for (text, path) in [
        ("2022/02/09-155340.13", "2022/02/09-155340.13"),
        ("/weekly-1/", "weekly-1"),
        ("a.b/C-d", "a.b/C-d"),
        ("20220210/x", "20220210/x"),
    ] {
        assert_eq!(text.parse::<FullPath>().unwrap().as_str(), path);
    }
    for text in [
        "",
        "/",
        "a//b",
        "a/./b",
        "..",
        "a/../b",
        "a_b",
        "a b",
        "ä",
        "metadata",
        "metadata/x",
        "x/data",
        "a\\b",
        "a%2Fb",
        "a/b/c/d/e/f/g/h/i",
        "#1",
        "x#1",
        "2022",
        "2022/02",
        "2022/02/09-155340.13/x",
        &"x".repeat(151),
    ] {
        assert!(
            matches!(
                text.parse::<FullPath>(),
                Err(Error::InvalidSubdirectory { .. })
            ),
            "{text}"
        );
    }
    for text in [
        "",
        "20220210",
        "20220210/155530",
        "20220210/155530.5",
        "x0220210/155530.50",
        "20220210/155530.50/",
    ] {
        assert!(text.parse::<IncrementalPath>().is_err(), "{text}");
    }
}

#[test]
fn latest_is_no_path() {
    assert_eq!("LATEST".parse(), Ok(BackupSelector::Latest));
    assert_eq!("latest".parse(), Ok(BackupSelector::Latest));
    assert_eq!(
        "a/b".parse(),
        Ok(BackupSelector::Full("a/b".parse().unwrap()))
    );
    assert!("".parse::<BackupSelector>().is_err());
    // As a path it would display as what means another backup.
    for text in ["latest", "LATEST", "/LATEST/"] {
        assert!(text.parse::<FullPath>().is_err(), "{text}");
    }
    assert!("/LATEST".parse::<BackupSelector>().is_err());
    assert!("latest/x".parse::<FullPath>().is_ok());
}

#[test]
fn a_path_nests_with_what_lies_inside_it() {
    let path = |text: &str| text.parse::<FullPath>().unwrap();
    assert!(path("a/b").nests_with(&path("a")));
    assert!(path("a").nests_with(&path("a/b")));
    assert!(path("a").nests_with(&path("a")));
    assert!(!path("a/b").nests_with(&path("a/bc")));
    assert!(!path("a").nests_with(&path("b")));
}

proptest! {
    #[test]
    fn flat_names_read_back(path in "[a-zA-Z0-9.-]{1,8}(/[a-zA-Z0-9.-]{1,8}){0,3}") {
        if let Ok(full) = path.parse::<FullPath>() {
            prop_assert!(!full.flat().contains('/'));
            prop_assert_eq!(FullPath::from_flat(&full.flat()), Some(full));
        }
    }

    #[test]
    fn generated_names_are_valid_and_sort_by_time(a: u64, b: u64) {
        let (a, b) = (Timestamp::from_nanos(a.min(b)), Timestamp::from_nanos(a.max(b)));
        prop_assert!(FullPath::at(a) <= FullPath::at(b));
        prop_assert_eq!(FullPath::at(a).as_str().parse::<FullPath>().unwrap(), FullPath::at(a));
        prop_assert!(IncrementalPath::at(a) <= IncrementalPath::at(b));
        prop_assert_eq!(IncrementalPath::at(b).as_str().parse::<IncrementalPath>().unwrap(), IncrementalPath::at(b));
    }
}
