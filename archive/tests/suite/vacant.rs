//! Where a new collection may be made. One in the wrong place would take what lies there for junk.

use std::path::Path;

use icecore_archive::{Collection, CollectionPlaces, CollectionUri, Error};

use crate::common::{FULL_END, Files, full, options};

fn uri(path: &Path) -> CollectionUri {
    CollectionUri::from_local_path(path).unwrap()
}

async fn with_a_full(root: &Path) -> String {
    let files = Files::new();
    let collection = Collection::create_or_open(&uri(root), options())
        .await
        .unwrap();
    let layer = full(&collection, FULL_END, &[&files.make("a", 100)])
        .await
        .unwrap();
    layer.path.full().as_str().to_owned()
}

#[tokio::test]
async fn a_collection_that_lost_its_marker_is_not_made_anew() {
    let root = tempfile::tempdir().unwrap();
    with_a_full(root.path()).await;
    let marker = root.path().join("metadata/COLLECTION");
    let saved = std::fs::read(&marker).unwrap();
    std::fs::remove_file(&marker).unwrap();
    let refused = Collection::create_or_open(&uri(root.path()), options())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::NotVacant { .. }), "{refused}");
    assert!(!marker.exists());
    // As it says.
    std::fs::write(&marker, saved).unwrap();
    let again = Collection::create_or_open(&uri(root.path()), options())
        .await
        .unwrap();
    assert_eq!(again.chains().await.unwrap().len(), 1);
}

#[tokio::test]
async fn none_is_made_inside_the_fulls_of_another() {
    let root = tempfile::tempdir().unwrap();
    let path = with_a_full(root.path()).await;
    let full = root.path().join(&path);
    for inside in [full.clone(), full.parent().unwrap().to_owned()] {
        let refused = Collection::create_or_open(&uri(&inside), options())
            .await
            .unwrap_err();
        assert!(
            matches!(refused, Error::NotVacant { .. }),
            "{inside:?}: {refused}"
        );
        assert!(!inside.join("metadata").exists());
    }
    // Nor the place of a locality.
    let elsewhere = tempfile::tempdir().unwrap();
    let inside = format!("{}?COCKROACH_LOCALITY=region%3Dus", uri(&full));
    let default = format!("{}?COCKROACH_LOCALITY=default", uri(elsewhere.path()));
    let places = vec![default.parse().unwrap(), inside.parse().unwrap()];
    let places = CollectionPlaces::new(places).unwrap();
    let refused = Collection::create_or_open_places(&places, options())
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::NotVacant { .. }), "{refused}");
}

#[tokio::test]
async fn what_is_no_backup_and_other_collections_further_down_are_no_obstacle() {
    let root = tempfile::tempdir().unwrap();
    with_a_full(&root.path().join("inner")).await;
    std::fs::write(root.path().join("readme.txt"), "ours").unwrap();
    std::fs::create_dir(root.path().join("data")).unwrap();
    std::fs::write(root.path().join("data/table.csv"), "a,b").unwrap();
    Collection::create_or_open(&uri(root.path()), options())
        .await
        .unwrap();
}
