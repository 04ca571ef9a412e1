use super::*;

/// As printed in docs/format/values.md.
const GOLDEN: &str = r#"{"id":7,"name":"bank.customers","settings":{"gc_ttl":"4h","locality":{"region":"us","zone":"a"},"exclude_from_backup":false},"created":1644422020130000000,"dropped":null,"introduced":1644422020130000000,"index_since":1644422020130000000}"#;

fn descriptor() -> Descriptor {
    let created = Timestamp::from_nanos(1_644_422_020_130_000_000);
    Descriptor {
        id: KeyspaceId::new(7),
        name: "bank.customers".to_owned(),
        settings: KeyspaceSettings {
            locality: parse_locality("zone=a,region=us").unwrap(),
            ..KeyspaceSettings::default()
        },
        created,
        dropped: None,
        introduced: created,
        index_since: created,
    }
}

#[test]
fn golden_json() {
    assert_eq!(serde_json::to_string(&descriptor()).unwrap(), GOLDEN);
    assert_eq!(
        serde_json::from_str::<Descriptor>(GOLDEN).unwrap(),
        descriptor()
    );
    // System rows are read from bytes, not from text that outlives the reader.
    assert_eq!(
        serde_json::from_reader::<_, Descriptor>(GOLDEN.as_bytes()).unwrap(),
        descriptor()
    );
}

#[test]
fn a_newer_descriptor_is_read_and_an_older_one_too() {
    let newer = GOLDEN
        .replace(r#""gc_ttl""#, r#""colour":"blue","gc_ttl""#)
        .replace(r#"{"id""#, r#"{"shards":[1,2],"id""#);
    assert_eq!(
        serde_json::from_str::<Descriptor>(&newer).unwrap(),
        descriptor()
    );
    let older = r#"{"id":1,"name":"a","created":1,"introduced":2,"index_since":3}"#;
    let older: Descriptor = serde_json::from_str(older).unwrap();
    assert_eq!(older.settings, KeyspaceSettings::default());
    assert_eq!(older.settings.gc_ttl, Duration::from_secs(4 * 3600));
    assert_eq!(
        (
            older.dropped,
            older.introduced.nanos(),
            older.index_since.nanos()
        ),
        (None, 2, 3)
    );
}

#[test]
fn life_ends_with_the_drop() {
    let mut descriptor = descriptor();
    let created = descriptor.created;
    assert!(!descriptor.is_live_at(created.prev()));
    assert!(descriptor.is_live_at(created) && descriptor.is_live_at(Timestamp::MAX));
    let dropped = created.saturating_add(Duration::from_secs(1));
    descriptor.dropped = Some(dropped);
    assert!(descriptor.is_live_at(dropped.prev()));
    assert!(!descriptor.is_live_at(dropped) && !descriptor.is_live_at(Timestamp::MAX));
    let json = serde_json::to_string(&descriptor).unwrap();
    assert!(json.contains(r#""dropped":1644422021130000000"#), "{json}");
    assert_eq!(
        serde_json::from_str::<Descriptor>(&json).unwrap(),
        descriptor
    );
}

#[test]
fn what_came_by_a_restore_is_told_from_what_was_created() {
    let restored = descriptor();
    assert_eq!(restored.restored(), Some(restored.created));
    let created_here = Descriptor {
        index_since: Timestamp::MIN,
        ..restored.clone()
    };
    assert_eq!(created_here.restored(), None);
    let system = Descriptor {
        created: Timestamp::MIN,
        ..created_here
    };
    assert_eq!(system.restored(), None);
}

#[test]
fn localities_are_pairs() {
    assert_eq!(parse_locality(""), Ok(BTreeMap::new()));
    let one = BTreeMap::from([("region".to_owned(), "us-east 1".to_owned())]);
    assert_eq!(parse_locality("region=us-east 1"), Ok(one));
    for (text, reason) in [
        ("region", "\"region\" has no '='"),
        ("=us", "\"=us\" has no key"),
        ("region=", "\"region=\" has no value"),
        ("region=us,", "it has an empty pair"),
        (",region=us", "it has an empty pair"),
        ("a=b=c", "\"a=b=c\" has a second '='"),
        ("a=1,a=2", "key \"a\" comes twice"),
        ("a=1,a=1", "key \"a\" comes twice"),
    ] {
        assert_eq!(
            parse_locality(text),
            Err(Error::Locality {
                text: text.to_owned(),
                reason: reason.to_owned(),
            }),
            "{text}"
        );
    }
}

#[test]
fn settings_with_tags_that_cannot_be_written_are_refused() {
    assert_eq!(KeyspaceSettings::default().validate(), Ok(()));
    assert_eq!(descriptor().settings.validate(), Ok(()));
    for (key, value, text) in [
        ("", "us", "=us"),
        ("a", "", "a="),
        ("a", "b,c=d", "a=b,c=d"),
        ("a=b", "c", "a=b=c"),
    ] {
        let locality = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let settings = KeyspaceSettings {
            locality,
            ..KeyspaceSettings::default()
        };
        let refused = settings.validate().unwrap_err();
        assert!(
            matches!(&refused, Error::Locality { text: told, .. } if told == text),
            "{refused}"
        );
    }
}

#[test]
fn an_id_is_its_number() {
    assert_eq!(KeyspaceId::new(7).get(), 7);
    assert_eq!(KeyspaceId::new(7).to_string(), "7");
}
