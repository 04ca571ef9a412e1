//! Opening: each thing that can be wrong with a folder has an error of its own.

use std::fs;

use icecore_engine::{Durability, Engine, Error, Options};

use crate::common::{Fixture, put, scratch, small};

#[test]
fn in_use_not_ours_newer_and_missing_are_four_errors() {
    let db = Fixture::new();
    assert!(matches!(
        Engine::open(db.dir(), &small()),
        Err(Error::Locked { .. })
    ));
    assert!(matches!(
        Engine::open_read_only(db.dir(), &small()),
        Err(Error::Locked { .. })
    ));
    let temp = scratch();
    let no_create = Options {
        create_if_missing: false,
        ..small()
    };
    assert!(matches!(
        Engine::open(temp.path().join("nowhere"), &no_create),
        Err(Error::Missing { .. })
    ));
    assert!(matches!(
        Engine::open(temp.path(), &no_create),
        Err(Error::Missing { .. })
    ));
    assert!(matches!(
        Engine::open_read_only(temp.path(), &small()),
        Err(Error::Missing { .. })
    ));
    fs::write(temp.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(
        Engine::open(temp.path(), &small()),
        Err(Error::NotADatabase { .. })
    ));
    assert!(matches!(
        Engine::open(temp.path().join("letter.txt"), &small()),
        Err(Error::NotADatabase { .. })
    ));
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        1,
        "what is not ours is left alone"
    );
}

#[test]
fn another_format_or_a_damaged_identity_is_refused() {
    let mut db = Fixture::new();
    db.close();
    let identity = db.dir().join("ICECORE");
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(
        &identity,
        text.replace("\"format_version\": 1", "\"format_version\": 2"),
    )
    .unwrap();
    let refused = Engine::open(db.dir(), &small()).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::NewerFormat {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{refused}"
    );
    for damaged in [
        "",
        "{",
        "{}",
        "{\"format_version\":1}",
        "{\"format_version\":0}",
        "null",
    ] {
        fs::write(&identity, damaged).unwrap();
        assert!(
            matches!(
                Engine::open(db.dir(), &small()),
                Err(Error::NotADatabase { .. })
            ),
            "{damaged:?}"
        );
    }
    fs::write(&identity, text).unwrap();
    db.open();
}

#[test]
fn a_database_that_lost_its_data_is_not_made_anew() {
    let mut db = Fixture::new();
    put(&db.keyspace("a"), "k", "v");
    db.close();
    fs::rename(db.dir().join("data"), db.path("elsewhere")).unwrap();
    let refused = Engine::open(db.dir(), &small()).unwrap_err();
    assert!(matches!(refused, Error::Rocks { .. }), "{refused}");
    fs::rename(db.path("elsewhere"), db.dir().join("data")).unwrap();
    db.open();
    assert_eq!(db.keyspace("a").get(b"k").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn a_creation_that_was_cut_short_starts_over() {
    let temp = scratch();
    let dir = temp.path().join("db");
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("data/CURRENT"), "half").unwrap();
    fs::write(dir.join("ICECORE.creating"), "").unwrap();
    let engine = Engine::open(&dir, &small()).unwrap();
    assert!(!dir.join("ICECORE.creating").exists());
    engine.close().unwrap();
    // A crash between the identity and the removal of the marker: the database is whole.
    fs::write(dir.join("ICECORE.creating"), "").unwrap();
    let id = Engine::open(&dir, &small()).unwrap().id();
    assert!(!dir.join("ICECORE.creating").exists());
    assert_eq!(Engine::open(&dir, &small()).unwrap().id(), id);
}

#[test]
fn staging_is_emptied_and_the_id_stays() {
    let mut db = Fixture::new();
    let id = db.engine().id();
    fs::write(db.engine().staging_dir().join("left over"), "x").unwrap();
    db.reopen();
    assert_eq!(fs::read_dir(db.engine().staging_dir()).unwrap().count(), 0);
    assert_eq!(db.engine().id(), id);
    assert_eq!(db.engine().format_version(), 1);
    assert_eq!(db.engine().dir(), db.dir());
}

#[test]
fn other_settings_open_what_earlier_ones_wrote() {
    let mut db = Fixture::new();
    let write = |db: &Fixture, key: &str| {
        put(&db.keyspace("a"), key, key);
    };
    write(&db, "first");
    let variants = [
        Options {
            bloom_bits_per_key: 0,
            ..db.options.clone()
        },
        Options {
            bloom_bits_per_key: 20,
            block_bytes: 64 << 10,
            ..db.options.clone()
        },
        Options {
            compression: icecore_engine::Compression::Zstd,
            last_level_compression: icecore_engine::Compression::None,
            rate_limit_bytes_per_second: Some(64 << 20),
            ..db.options.clone()
        },
        Options {
            pooled_iterators: 0,
            auto_compactions: false,
            ..db.options.clone()
        },
    ];
    for (number, options) in variants.into_iter().enumerate() {
        db.engine().flush().unwrap();
        db.close();
        db.options = options;
        db.open();
        write(&db, &format!("{number}"));
        for earlier in 0..=number {
            assert!(
                db.keyspace("a")
                    .get(format!("{earlier}").as_bytes())
                    .unwrap()
                    .is_some()
            );
        }
        assert!(db.keyspace("a").get(b"first").unwrap().is_some());
        assert!(db.keyspace("a").get(b"absent").unwrap().is_none());
        db.engine().compact(&db.keyspace("a")).unwrap();
    }
}

/// Damage in the middle of the log must be an error, not a silent loss of what comes after it.
#[test]
fn damage_inside_the_log_refuses_to_open() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..200_u32 {
        a.put(format!("{i}"), vec![b'x'; 1000], Durability::Buffered)
            .unwrap();
    }
    db.engine().sync_wal().unwrap();
    let crashed = db.path("crashed");
    crate::clock::copy(&db.dir(), &crashed);
    let logs = fs::read_dir(crashed.join("data"))
        .unwrap()
        .map(|f| f.unwrap().path());
    let log = logs
        .filter(|f| f.extension().is_some_and(|e| e == "log"))
        .max_by_key(|f| fs::metadata(f).unwrap().len());
    let log = log.unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(&log, bytes).unwrap();
    let refused = Engine::open(&crashed, &db.options).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::Rocks { .. }), "{refused}");
}
