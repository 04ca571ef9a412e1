//! Collections in several places.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore_archive::{
    BackupSelector, ChainId, Collection, CollectionPlaces, Error, LayerEntry, LayerWriter,
    Locality, OperationLog, Result, StoreOptions, StoredFile, Verb,
};

use crate::common::{decorated, options};
use crate::fault_store::{Fault, FaultStore};
use crate::layers::{FULL_END, Files, INCREMENTAL_END, manifest};

/// A place that no other test uses.
fn place(name: &str, serves: &str) -> String {
    format!(
        "memory://{name}?COCKROACH_LOCALITY={}",
        serves.replace('=', "%3D").replace(',', "%2C")
    )
}

fn places(uris: &[&String]) -> CollectionPlaces {
    CollectionPlaces::new(uris.iter().map(|uri| uri.parse().unwrap()).collect()).unwrap()
}

fn locality(text: &str) -> Locality {
    text.parse().unwrap()
}

/// Commits a layer of these files, each in its place.
async fn commit(
    writer: LayerWriter,
    files: &[(StoredFile, Option<Locality>)],
) -> Result<LayerEntry> {
    let stored: Vec<StoredFile> = files.iter().map(|(stored, _)| *stored).collect();
    let collection = writer.collection().clone();
    let mut manifest = manifest(&collection, &writer, ChainId::from_bytes([5; 16]), &stored);
    let entries = manifest.keyspaces[0].files.iter_mut();
    for (entry, (_, locality)) in entries.zip(files) {
        entry.locality.clone_from(locality);
    }
    writer.commit(manifest).await
}

/// Puts a file into each of these places and commits them as a full.
async fn full(collection: &Collection, localities: &[Option<&str>]) -> Result<LayerEntry> {
    let files = Files::new();
    let writer = collection.begin_full(FULL_END, None).await?;
    let mut put = Vec::new();
    for (number, at) in localities.iter().enumerate() {
        let local = files.make(&format!("file {number}"), 1000 + number);
        let at = at.map(locality);
        put.push((writer.put_file_at(at.as_ref(), &local).await?, at));
    }
    commit(writer, &put).await
}

#[tokio::test]
async fn files_lie_in_the_places_of_their_localities_and_the_rest_in_the_default() {
    let [main, us, eu] = [
        place("loc-a", "default"),
        place("loc-a-us", "region=us"),
        place("loc-a-eu", "region=eu"),
    ];
    let all = places(&[&us, &main, &eu]);
    let collection = Collection::create_or_open_places(&all, StoreOptions::default())
        .await
        .unwrap();
    let entry = full(&collection, &[None, Some("region=us"), Some("region=us")])
        .await
        .unwrap();

    // As another process finds it, in another order.
    let again = Collection::open_places(&places(&[&eu, &us, &main]), StoreOptions::default())
        .await
        .unwrap();
    let manifest = again.read_layer(&entry).await.unwrap();
    assert_eq!(manifest.localities(), [locality("region=us")].into());
    assert_eq!(again.stored_files(&entry.path).await.unwrap().len(), 3);
    let files = Files::new();
    for (_, file) in manifest.files() {
        again.verify_file(&entry.path, file).await.unwrap();
        again
            .fetch(&entry.path, file, &files.path("fetched"))
            .await
            .unwrap();
    }
    // What each place holds, looked at as a collection of its own would be.
    let log = OperationLog::new();
    let options = StoreOptions {
        log: Some(log.clone()),
        ..StoreOptions::default()
    };
    let alone = Collection::open(&main.parse().unwrap(), options)
        .await
        .unwrap();
    assert_eq!(alone.stored_files(&entry.path).await.unwrap().len(), 1);
    let listings = |log: &OperationLog| {
        let lists = log.take().into_iter().filter(|op| op.verb == Verb::List);
        lists.count()
    };
    assert_eq!(listings(&log), 1);
    // No collection lies in a place of a locality.
    let us_alone: icecore_archive::CollectionUri = "memory://loc-a-us".parse().unwrap();
    let refused = Collection::open(&us_alone, StoreOptions::default()).await;
    assert!(
        matches!(refused, Err(Error::NoCollection { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_missing_locality_is_named_before_anything_is_read_of_it() {
    let [main, us] = [place("loc-b", "default"), place("loc-b-us", "region=us")];
    let both = places(&[&main, &us]);
    let collection = Collection::create_or_open_places(&both, StoreOptions::default())
        .await
        .unwrap();
    let entry = full(&collection, &[None, Some("region=us")]).await.unwrap();

    let alone = Collection::open(&main.parse().unwrap(), StoreOptions::default())
        .await
        .unwrap();
    // Listed and read all the same.
    let manifest = alone.read_layer(&entry).await.unwrap();
    let before = alone.requests();
    let files = manifest.files().map(|(_, file)| (&entry.path, file));
    let error = alone.check_localities(files).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "files of backup '{}' lie in the place of locality region=us, which was not given; \
             add its URI with COCKROACH_LOCALITY=region=us, percent-encoded",
            entry.path
        )
    );
    for (_, file) in manifest.files().filter(|(_, file)| file.locality.is_some()) {
        let refused = alone.verify_file(&entry.path, file).await;
        assert_eq!(refused, Err(error.clone()));
    }
    assert_eq!(alone.requests(), before);
    let here = manifest.files().filter(|(_, file)| file.locality.is_none());
    alone
        .check_localities(here.map(|(_, file)| (&entry.path, file)))
        .unwrap();
}

#[tokio::test]
async fn an_incremental_may_have_more_places_than_its_chain_or_fewer() {
    let [main, us, eu] = [
        place("loc-c", "default"),
        place("loc-c-us", "region=us"),
        place("loc-c-eu", "region=eu"),
    ];
    let first = places(&[&main, &us]);
    let collection = Collection::create_or_open_places(&first, StoreOptions::default())
        .await
        .unwrap();
    full(&collection, &[Some("region=us")]).await.unwrap();

    // One more, and one less.
    let later = places(&[&main, &eu]);
    let collection = Collection::create_or_open_places(&later, StoreOptions::default())
        .await
        .unwrap();
    let chain = collection
        .open_chain(&BackupSelector::Latest)
        .await
        .unwrap();
    let writer = collection
        .begin_incremental(&chain, INCREMENTAL_END)
        .await
        .unwrap();
    let files = Files::new();
    let local = files.make("file", 100);
    let at = Some(locality("region=eu"));
    let stored = writer.put_file_at(at.as_ref(), &local).await.unwrap();
    let nowhere = locality("region=us");
    let refused = writer.put_file_at(Some(&nowhere), &local).await;
    assert!(
        matches!(refused, Err(Error::MissingLocality { .. })),
        "{refused:?}"
    );
    let entry = commit(writer, &[(stored, at)]).await.unwrap();

    let all = places(&[&main, &us, &eu]);
    let collection = Collection::open_places(&all, StoreOptions::default())
        .await
        .unwrap();
    let chain = collection
        .open_chain(&BackupSelector::Latest)
        .await
        .unwrap();
    assert_eq!(chain.layers().last(), Some(&entry));
    for layer in chain.layers() {
        let manifest = collection.read_layer(layer).await.unwrap();
        for (_, file) in manifest.files() {
            collection.verify_file(&layer.path, file).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_file_must_be_named_in_the_place_where_it_was_put() {
    let [main, us] = [place("loc-d", "default"), place("loc-d-us", "region=us")];
    let both = places(&[&main, &us]);
    let collection = Collection::create_or_open_places(&both, StoreOptions::default())
        .await
        .unwrap();
    let files = Files::new();
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let at = locality("region=us");
    let local = files.make("file", 100);
    let stored = writer.put_file_at(Some(&at), &local).await.unwrap();
    let refused = commit(writer, &[(stored, None)]).await;
    assert!(
        matches!(refused, Err(Error::InvalidManifest { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_place_that_is_not_the_collections_is_refused() {
    let [main, us, eu] = [
        place("loc-e", "default"),
        place("loc-e-us", "region=us"),
        place("loc-e-eu", "region=eu"),
    ];
    let all = places(&[&main, &us, &eu]);
    let options = StoreOptions::default;
    Collection::create_or_open_places(&all, options())
        .await
        .unwrap();
    let other = place("loc-e-other", "default");
    Collection::create_or_open_places(&places(&[&other]), options())
        .await
        .unwrap();
    let swapped = [
        place("loc-e-us", "region=eu"),
        place("loc-e-eu", "region=us"),
    ];
    let a_collection = place("loc-e-other", "region=us");
    let empty = place("loc-e-empty", "region=us");
    for (case, given, may_be_made, why) in [
        (
            "swapped",
            vec![&main, &swapped[0], &swapped[1]],
            true,
            "it is that of region=",
        ),
        (
            "another's",
            vec![&other, &us],
            true,
            "it belongs to collection ",
        ),
        (
            "a collection",
            vec![&main, &a_collection],
            true,
            "a collection lies there",
        ),
        (
            "empty",
            vec![&main, &empty],
            false,
            "nothing there says that it is",
        ),
    ] {
        let given = places(&given);
        let mut refusals = vec![Collection::open_places(&given, options()).await];
        if may_be_made {
            refusals.push(Collection::create_or_open_places(&given, options()).await);
        }
        for refused in refusals {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, Error::ForeignLocality { .. }),
                "{case}: {error}"
            );
            let told = error.to_string();
            let nothing = "nothing there says that it is";
            assert!(
                told.contains(why) || told.contains(nothing),
                "{case}: {told}"
            );
        }
    }
    let no_default = Collection::open(&us.parse().unwrap(), options()).await;
    assert!(matches!(no_default, Err(Error::InvalidPlaces { .. })));
}

/// A file is one put wherever it lies; a listing that checks is one of each place.
#[tokio::test]
async fn requests_of_all_places_are_counted_together() {
    let [main, us, eu] = [
        place("loc-f", "default"),
        place("loc-f-us", "region=us"),
        place("loc-f-eu", "region=eu"),
    ];
    let all = places(&[&main, &us, &eu]);
    let collection = Collection::create_or_open_places(&all, StoreOptions::default())
        .await
        .unwrap();
    let made = collection.requests();
    // For each place its marker is looked for and put, and of the others whether a collection lies there.
    assert_eq!((made.get, made.head, made.put), (3, 2, 3), "{made:?}");
    full(
        &collection,
        &[
            None,
            Some("region=us"),
            Some("region=eu"),
            Some("region=eu"),
        ],
    )
    .await
    .unwrap();
    let made = collection.requests() - made;
    assert_eq!(
        (made.put, made.list, made.total()),
        (4 + 4, 3, 4 + 4 + 3),
        "{made:?}"
    );
    let again = Collection::open_places(&all, StoreOptions::default())
        .await
        .unwrap();
    let made = again.requests();
    assert_eq!((made.get, made.total()), (3, 3), "{made:?}");
}

/// Options under which the stores of localities answer nothing while the switch is on.
fn with_switch() -> (StoreOptions, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = switch.clone();
    let (faulty, _) = FaultStore::options(move |_, _, _| match is_on.load(Ordering::SeqCst) {
        true => Fault::Before,
        false => Fault::None,
    });
    let spoil = faulty.decorate.unwrap();
    // The default's store is made first.
    let stores = AtomicU64::new(0);
    let options = decorated(move |store| match stores.fetch_add(1, Ordering::SeqCst) {
        0 => store,
        _ => spoil(store),
    });
    (options, switch)
}

#[tokio::test]
async fn a_place_that_does_not_answer_is_named_and_nothing_is_listed() {
    let [main, us] = [place("loc-g", "default"), place("loc-g-us", "region=us")];
    let both = places(&[&main, &us]);
    let (options, dead) = with_switch();
    let collection = Collection::create_or_open_places(&both, options)
        .await
        .unwrap();
    let names_it = |error: &Error| matches!(error, Error::StoreUnavailable { location, .. } if location == "memory://loc-g-us");

    // While files are uploaded.
    dead.store(true, Ordering::SeqCst);
    let error = full(&collection, &[None, Some("region=us")])
        .await
        .unwrap_err();
    assert!(names_it(&error), "{error}");
    assert_eq!(collection.chains().await.unwrap(), []);

    // Between the last upload and the commit.
    dead.store(false, Ordering::SeqCst);
    let files = Files::new();
    let writer = collection.begin_full(INCREMENTAL_END, None).await.unwrap();
    let at = Some(locality("region=us"));
    let stored = writer
        .put_file_at(at.as_ref(), &files.make("a", 100))
        .await
        .unwrap();
    dead.store(true, Ordering::SeqCst);
    let error = commit(writer, &[(stored, at)]).await.unwrap_err();
    assert!(names_it(&error), "{error}");
    assert_eq!(collection.chains().await.unwrap(), []);

    // When retention looks.
    let error = collection.survey().await.unwrap_err();
    assert!(names_it(&error), "{error}");
    dead.store(false, Ordering::SeqCst);
    full(&collection, &[Some("region=us")]).await.unwrap();
    assert_eq!(collection.chains().await.unwrap().len(), 1);
}

/// Retention would take the files of a place for junk of the one around it.
#[tokio::test]
async fn a_place_inside_another_is_no_part_of_it() {
    let [main, us, eu] = [
        place("loc-h/main", "default"),
        place("loc-h/main/us", "region=us"),
        place("loc-h", "region=eu"),
    ];
    let all = places(&[&main, &us, &eu]);
    let collection = Collection::create_or_open_places(&all, options())
        .await
        .unwrap();
    let entry = full(&collection, &[None, Some("region=us"), Some("region=eu")])
        .await
        .unwrap();
    let survey = collection.survey().await.unwrap();
    let layers: Vec<_> = survey.directories.keys().collect();
    assert_eq!(layers, [&entry.path]);
    let data = survey.directories[&entry.path].data();
    let mut lie: Vec<Option<String>> = data
        .values()
        .map(|object| object.locality.as_ref().map(ToString::to_string))
        .collect();
    lie.sort();
    let named = |text: &str| Some(text.to_owned());
    assert_eq!(lie, [None, named("region=eu"), named("region=us")]);
    // What is deleted is deleted where it lies.
    for object in data.values() {
        let paths = vec![object.path.clone()];
        let refused = collection.remove(object.locality.as_ref(), paths).await;
        assert_eq!(refused, []);
    }
    let manifest = collection.read_layer(&entry).await.unwrap();
    for (_, file) in manifest.files() {
        let missing = collection.verify_file(&entry.path, file).await;
        assert!(matches!(missing, Err(Error::MissingObject { .. })));
    }
}
