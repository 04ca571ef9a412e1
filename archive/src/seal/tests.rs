//! Bytes that must not change: `tests/golden/sealing-v1.json`, which a second implementation reads too.

use icecore_mvcc::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::hex;
use crate::ids::{CollectionId, KeyId};
use crate::seal::wrapper::{Label, Wrapper};

const COLLECTION: CollectionId =
    CollectionId::from_bytes(*b"\x01\x23\x45\x67\x89\xab\x4d\xef\x81\x23\x45\x67\x89\xab\xcd\xef");

fn key() -> Arc<CollectionKey> {
    let bytes = std::array::from_fn(|n| n as u8 + 1);
    Arc::new(CollectionKey::new(COLLECTION, Zeroizing::new(bytes)))
}

fn label() -> Label {
    Label {
        id: KeyId::from_bytes([0x11; 16]),
        collection_id: COLLECTION,
    }
}

/// The wrappers whose bytes are pinned.
fn wrappers() -> [Wrapper; 2] {
    let passphrase = Passphrase::new(b"correct horse battery staple".to_vec()).unwrap();
    let cost = PassphraseCost {
        memory_kib: 19 << 10,
        passes: 2,
        lanes: 1,
    };
    let by_passphrase = label()
        .by_passphrase(&key(), &passphrase, cost, ([0x22; 16], [0x33; 12]))
        .unwrap();
    let wrapping = Zeroizing::new([0x44; 32]);
    let by_key = label()
        .by_key(
            &key(),
            &wrapping,
            "file:/etc/icecore/backup.key".to_owned(),
            [0x55; 12],
        )
        .unwrap();
    let created = Timestamp::from_nanos(1_644_422_020_130_000_000);
    [by_passphrase, by_key].map(|method| label().wrapper(created, method))
}

/// A small object, and one of two chunks of which the hash says enough.
fn objects() -> Vec<Value> {
    let long: Vec<u8> = (0..70_000_u32).map(|n| (n % 251) as u8).collect();
    let cases = [
        (Role::DataFile, "2022/02/09-155340.13/data/0a.sst", &b""[..]),
        (
            Role::Manifest,
            "2022/02/09-155340.13/BACKUP_MANIFEST",
            b"a manifest",
        ),
        (
            Role::FileList,
            "2022/02/09-155340.13/BACKUP_FILES-0",
            b"a file list",
        ),
        (Role::DataFile, "2022/02/09-155340.13/data/0b.sst", &long),
    ];
    let described = cases.iter().zip(0x60_u8..).map(|((role, place, plain), id)| {
        let sealed = object::seal(&key(), [id; 16], *role, place, plain).unwrap();
        let mut described = json!({
            "role": role.code(),
            "place": place,
            "id": hex::encode(&[id; 16]),
            "plain_bytes": plain.len(),
            "sealed_sha256": hex::encode(ring::digest::digest(&ring::digest::SHA256, &sealed).as_ref()),
        });
        if sealed.len() < 200 {
            described["plain"] = json!(hex::encode(plain));
            described["sealed"] = json!(hex::encode(&sealed));
        }
        described
    });
    described.collect()
}

#[test]
fn golden_bytes() {
    let wrappers =
        wrappers().map(|wrapper| String::from_utf8(wrapper.encode().unwrap().to_vec()).unwrap());
    let vectors = json!({
        "collection_id": COLLECTION.to_string(),
        "collection_key": hex::encode(key().secret().as_ref()),
        "key_check": hex::encode(&key().check().unwrap()),
        "passphrase": "correct horse battery staple",
        "key_file": hex::encode(&[0x44; 32]),
        "wrapper_id": label().id.to_string(),
        "wrappers": wrappers,
        "objects": objects(),
    });
    let text = serde_json::to_string_pretty(&vectors).unwrap() + "\n";
    crate::golden::check("sealing-v1.json", text.as_bytes());
}

#[test]
fn the_golden_wrappers_open() {
    let golden: Value = serde_json::from_slice(&crate::golden::read("sealing-v1.json")).unwrap();
    for (stored, wrapper) in golden["wrappers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(wrappers())
    {
        let read = Wrapper::decode(label(), stored.as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(read, wrapper);
    }
}

#[test]
fn a_wrapper_that_asks_for_too_much_is_refused_before_it_is_paid() {
    let [wrapper, _] = wrappers();
    let json = String::from_utf8(wrapper.encode().unwrap().to_vec()).unwrap();
    let json = json.lines().next().unwrap();
    for (right, hostile) in [
        (r#""memory_kib":19456"#, r#""memory_kib":67108864"#),
        (r#""passes":2"#, r#""passes":4000000000"#),
        (r#""lanes":1"#, r#""lanes":1000000"#),
        (r#""memory_kib":19456"#, r#""memory_kib":8"#),
    ] {
        let changed = json.replace(right, hostile);
        assert_ne!(changed, json);
        let stored = format!("{changed}\n{:08x}\n", crc32fast::hash(changed.as_bytes()));
        let reason = Wrapper::decode(label(), stored.as_bytes()).unwrap_err();
        assert!(reason.contains("it must lie between"), "{reason}");
    }
}

#[test]
fn a_wrapper_opens_with_its_key_and_for_its_collection_alone() {
    let [_, wrapper] = wrappers();
    let wrapper::Method::Key { wrapped, .. } = &wrapper.method else {
        panic!("{wrapper:?}")
    };
    let right = Zeroizing::new([0x44; 32]);
    let opened = wrapped.unwrap(label(), &right).unwrap();
    assert_eq!(*opened.unwrap(), **key().secret());
    assert!(
        wrapped
            .unwrap(label(), &Zeroizing::new([0x45; 32]))
            .unwrap()
            .is_none()
    );
    for other in [
        Label {
            id: KeyId::from_bytes([0x12; 16]),
            ..label()
        },
        Label {
            collection_id: CollectionId::from_bytes([0x12; 16]),
            ..label()
        },
    ] {
        assert!(wrapped.unwrap(other, &right).unwrap().is_none());
    }
}

#[test]
fn what_debug_shows_is_no_key() {
    let shown = format!(
        "{:?} {:?} {:?}",
        Seal::with(CollectionKey::random(COLLECTION)),
        key(),
        wrappers()
    );
    assert!(!shown.contains("correct horse"), "{shown}");
    let secret = hex::encode(key().secret().as_ref());
    assert!(
        !shown.contains(&secret) && !shown.contains("1, 2, 3, 4, 5"),
        "{shown}"
    );
}
