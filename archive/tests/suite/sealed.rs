//! Sealed collections: who may come in, what is stored, and what is read back.

use std::sync::{Arc, Mutex};

use icecore_archive::object_store::path::Path;
use icecore_archive::object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use icecore_archive::{
    ChainId, Collection, CollectionUri, Error, Keys, Passphrase, PassphraseCost, StoreOptions,
};

use crate::common::*;

/// As cheap as it may be.
const CHEAP: PassphraseCost = PassphraseCost {
    memory_kib: 19 << 10,
    passes: 2,
    lanes: 1,
};

pub(crate) fn passphrase(text: &str) -> Keys {
    Keys::default().with_passphrase(Passphrase::new(text.as_bytes().to_vec()).unwrap())
}

/// A key in a file of its own.
fn key_file(files: &Files, name: &str) -> Keys {
    let path = files.path(name);
    let digit = name.len() % 10;
    std::fs::write(&path, format!("{}\n", digit.to_string().repeat(64))).unwrap();
    Keys::default().with_kms(format!("file:{}", path.display()).parse().unwrap())
}

fn with(keys: Keys) -> StoreOptions {
    StoreOptions {
        keys,
        passphrase_cost: CHEAP,
        ..options()
    }
}

async fn open(uri: &CollectionUri, keys: Keys) -> Result<Collection, Error> {
    Collection::open(uri, with(keys)).await
}

/// The bare store of a sealed collection, without a key to it.
async fn bare_sealed(uri: &CollectionUri) -> Arc<dyn ObjectStore> {
    let seen: Arc<Mutex<Option<Arc<dyn ObjectStore>>>> = Arc::default();
    let slot = seen.clone();
    let options = decorated(move |store| {
        *slot.lock().unwrap() = Some(store.clone());
        store
    });
    let refused = Collection::open(uri, options).await.unwrap_err();
    assert!(matches!(refused, Error::KeysNeeded { .. }), "{refused}");
    let store = seen.lock().unwrap().clone();
    store.unwrap()
}

async fn below(store: &Arc<dyn ObjectStore>, prefix: &str) -> Vec<Path> {
    let all = objects(store).await.into_iter();
    all.filter(|path| path.starts_with(prefix))
        .map(Path::from)
        .collect()
}

async fn get(store: &Arc<dyn ObjectStore>, path: &Path) -> Vec<u8> {
    let read = store.get(path).await.unwrap();
    read.bytes().await.unwrap().to_vec()
}

async fn put(store: &Arc<dyn ObjectStore>, path: &Path, bytes: Vec<u8>) {
    store.put(path, PutPayload::from(bytes)).await.unwrap();
}

#[tokio::test]
async fn either_key_opens_what_both_sealed() {
    let (uri, files) = (memory_uri(), Files::new());
    let key = key_file(&files, "key");
    let both = {
        let path = format!("file:{}", files.path("key").display());
        passphrase("open sesame").with_kms(path.parse().unwrap())
    };
    let made = Collection::create_or_open(&uri, with(both)).await.unwrap();
    assert!(made.is_sealed());
    for keys in [key.clone(), passphrase("open sesame")] {
        let opened = open(&uri, keys).await.unwrap();
        assert!(opened.is_sealed());
        assert_eq!(opened.id(), made.id());
    }
    // One that fits is enough.
    let one_right = key.with_passphrase(Passphrase::new(b"no".to_vec()).unwrap());
    assert!(open(&uri, one_right).await.is_ok());
}

#[tokio::test]
async fn what_does_not_fit_is_told_apart() {
    let (sealed, plain, files) = (memory_uri(), memory_uri(), Files::new());
    Collection::create_or_open(&sealed, with(passphrase("right")))
        .await
        .unwrap();
    Collection::create_or_open(&plain, options()).await.unwrap();
    let refusal = |uri, keys| async move { open(uri, keys).await.unwrap_err() };
    let error = refusal(&sealed, Keys::default()).await;
    assert!(matches!(error, Error::KeysNeeded { .. }), "{error}");
    let error = refusal(&plain, passphrase("right")).await;
    assert!(matches!(error, Error::NotSealed { .. }), "{error}");
    let error = refusal(&sealed, passphrase("wrong")).await;
    assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    let error = refusal(&sealed, key_file(&files, "key")).await;
    assert!(
        matches!(&error, Error::NoKeyWrapper { given, there, .. } if given == "key" && there == "passphrase"),
        "{error}"
    );
    let missing = Keys::default().with_kms("file:/nowhere/key".parse().unwrap());
    let error = refusal(&sealed, missing).await;
    assert!(matches!(error, Error::LocalFile { .. }), "{error}");
    let unset = Keys::default().with_kms("env:ICECORE_TEST_UNSET".parse().unwrap());
    let error = refusal(&sealed, unset).await;
    assert!(matches!(error, Error::InvalidKey { .. }), "{error}");
    // An existing one is opened, not made anew.
    for (uri, keys) in [
        (&sealed, Keys::default()),
        (&plain, passphrase("right")),
        (&sealed, passphrase("no")),
    ] {
        assert!(Collection::create_or_open(uri, with(keys)).await.is_err());
    }
}

#[tokio::test]
async fn all_wrappers_gone_is_another_error_than_a_wrong_key() {
    let uri = memory_uri();
    Collection::create_or_open(&uri, with(passphrase("right")))
        .await
        .unwrap();
    let store = bare_sealed(&uri).await;
    for path in below(&store, "metadata/keys").await {
        store.delete(&path).await.unwrap();
    }
    let error = open(&uri, passphrase("right")).await.unwrap_err();
    assert!(
        matches!(&error, Error::NoKeyWrapper { there, .. } if there == "none"),
        "{error}"
    );
}

#[tokio::test]
async fn files_and_manifests_are_stored_sealed_and_read_back() {
    let (uri, files) = (memory_uri(), Files::new());
    let options = in_parts(with(passphrase("p")));
    let collection = Collection::create_or_open(&uri, options).await.unwrap();
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let mut stored = Vec::new();
    // In one put and in parts, around the size of a chunk.
    for (name, bytes) in [
        ("a", 0),
        ("b", 500),
        ("c", 5_000),
        ("d", 65_536),
        ("e", 200_000),
    ] {
        let local = files.make(name, bytes);
        let put = writer.put_file(&local).await.unwrap();
        let tags = (bytes as u64).div_ceil(65_536).max(1) * 16;
        assert_eq!(put.stored_bytes, bytes as u64 + 32 + tags);
        stored.push((local, put));
    }
    let named: Vec<_> = stored.iter().map(|(_, put)| *put).collect();
    let manifest = manifest(&collection, &writer, ChainId::random(), &named);
    let entry = writer.commit(manifest.clone()).await.unwrap();

    let store = bare_sealed(&uri).await;
    for path in below(&store, &entry.path.to_string()).await {
        let object = get(&store, &path).await;
        if !path.as_ref().contains("LOCK") {
            assert!(object.starts_with(b"ICES"), "{path}");
            let shows = |text: &[u8]| object.windows(text.len()).any(|window| window == text);
            assert!(!shows(b"bank.customers") && !shows(b"keyspaces"), "{path}");
        }
    }
    let again = open(&uri, passphrase("p")).await.unwrap();
    assert_eq!(again.read_layer(&entry).await.unwrap(), manifest);
    for ((local, _), (_, file)) in stored.iter().zip(manifest.files()) {
        let (to, plain) = (files.path("fetched"), std::fs::read(local).unwrap());
        again.verify_file(&entry.path, file).await.unwrap();
        again.fetch(&entry.path, file, &to).await.unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), plain);
        let reader = again.file_reader(&entry.path, file).unwrap();
        assert_eq!(reader.bytes(), plain.len() as u64);
        for range in [
            0..10,
            65_530..65_540,
            1_000..150_000,
            190_000..u64::MAX,
            5..5,
        ] {
            let (start, end) = (
                (range.start as usize).min(plain.len()),
                range.end.min(plain.len() as u64) as usize,
            );
            let read = reader.read(range.clone()).await.unwrap();
            assert_eq!(read, plain.get(start..end).unwrap_or_default(), "{range:?}");
        }
    }
}

#[tokio::test]
async fn a_part_of_a_file_proves_itself() {
    let (uri, files) = (memory_uri(), Files::new());
    let collection = Collection::create_or_open(&uri, with(passphrase("p")))
        .await
        .unwrap();
    let writer = collection.begin_full(FULL_END, None).await.unwrap();
    let stored = writer.put_file(&files.make("a", 200_000)).await.unwrap();
    let manifest = manifest(&collection, &writer, ChainId::random(), &[stored]);
    let entry = writer.commit(manifest.clone()).await.unwrap();
    let (_, file) = manifest.files().next().unwrap();
    let path = Path::from(format!("{}/data/{}.sst", entry.path, file.id));
    let store = bare_sealed(&uri).await;
    let right = get(&store, &path).await;
    // The second chunk; then the header, whose length every chunk proves.
    for (at, broken, sound) in [(32 + 65_552 + 5, 70_000..70_010, 0..10), (24, 0..10, 0..0)] {
        let mut bad = right.clone();
        bad[at] ^= 1;
        put(&store, &path, bad).await;
        let reader = collection.file_reader(&entry.path, file).unwrap();
        assert!(reader.read(sound).await.is_ok());
        let error = reader.read(broken).await.unwrap_err();
        assert!(matches!(error, Error::Tampered { .. }), "{error}");
    }
    put(&store, &path, right[..right.len() - 1].to_vec()).await;
    let reader = collection.file_reader(&entry.path, file).unwrap();
    let error = reader.read(0..10).await.unwrap_err();
    assert!(
        matches!(error, Error::CorruptFile { check: "size", .. }),
        "{error}"
    );
}

#[tokio::test]
async fn two_who_create_it_at_once_open_the_same_collection() {
    let uri = memory_uri();
    let one = Collection::create_or_open(&uri, with(passphrase("p")));
    let two = Collection::create_or_open(&uri, with(passphrase("p")));
    let (one, two) = tokio::join!(one, two);
    assert_eq!(one.unwrap().id(), two.unwrap().id());
    // What the loser left behind hinders nobody.
    assert!(open(&uri, passphrase("p")).await.is_ok());
    assert!(matches!(
        open(&uri, passphrase("q")).await,
        Err(Error::WrongKey { .. })
    ));
}

/// Collects everything that metrics are told, as text.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<String>>);

impl Told {
    fn tell(&self, key: &metrics::Key) {
        self.0.lock().unwrap().push_str(&format!("{key:?}\n"));
    }
}

impl metrics::Recorder for Told {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }
    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        self.tell(key);
        metrics::Counter::noop()
    }
    fn register_gauge(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        self.tell(key);
        metrics::Gauge::noop()
    }
    fn register_histogram(
        &self,
        key: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        self.tell(key);
        metrics::Histogram::noop()
    }
}

#[test]
fn metrics_errors_and_debug_texts_hold_no_passphrase_and_no_key() {
    const CANARY: &str = "CANARY-passphrase";
    let told = Told::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let texts = metrics::with_local_recorder(&told, || {
        runtime.block_on(async {
            let (uri, files) = (memory_uri(), Files::new());
            let path = files.path("key");
            std::fs::write(&path, "ca4a51e5".repeat(8)).unwrap();
            let key: icecore_archive::KmsUri = format!("file:{}", path.display()).parse().unwrap();
            let keys = passphrase(CANARY).with_kms(key.clone());
            let options = with(keys);
            let made = Collection::create_or_open(&uri, options.clone()).await.unwrap();
            let writer = made.begin_full(FULL_END, None).await.unwrap();
            let put = writer.put_file(&files.make("a", 5_000)).await.unwrap();
            let manifest = manifest(&made, &writer, ChainId::random(), &[put]);
            let entry = writer.commit(manifest.clone()).await.unwrap();
            let (_, file) = manifest.files().next().unwrap();
            made.fetch(&entry.path, file, &files.path("b")).await.unwrap();
            let new = icecore_archive::NewKey::Kms(key);
            let added = made.add_key(&new).await.unwrap();
            let refused = open(&uri, passphrase("CANARY-wrong")).await.unwrap_err();
            let reader = made.file_reader(&entry.path, file).unwrap();
            reader.read(0..10).await.unwrap();
            let passphrase = Passphrase::new(CANARY.as_bytes().to_vec()).unwrap();
            let last = made.remove_key(added.id).await;
            format!("{made:?} {options:?} {new:?} {added:?} {refused} {refused:?} {reader:?} {passphrase:?} {last:?}")
        })
    });
    let all = format!("{texts}\n{}", told.0.lock().unwrap());
    assert!(all.contains("icecore_archive"), "{all}");
    for canary in ["CANARY", "ca4a51e5", "202, 74, 81, 229"] {
        assert!(!all.contains(canary), "{all}");
    }
}
