//! `folder.md`.

use std::collections::BTreeSet;
use std::path::Path;

use icecore_engine::Engine;
use icecore_golden::page::{blocks, rows, section};
use icecore_mvcc::KeyspaceSettings;

use super::{Database, START, page};
use crate::rocks::families;

const PAGE: &str = "folder.md";

fn identity(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("ICECORE")).unwrap()
}

/// The page's identity with another engine's ids.
fn described(engine: &Engine) -> String {
    let page = page(PAGE);
    let golden = blocks(&page, "Identity", "json")[0].to_owned();
    let ids: serde_json::Value = serde_json::from_str(&golden).unwrap();
    let of = |field: &str| ids[field].as_str().unwrap().to_owned();
    let with_id = golden.replace(&of("engine_id"), &engine.id().to_string());
    match engine.forked_from() {
        Some(source) => with_id.replace(&of("forked_from"), &source.to_string()),
        None => with_id.replace(
            &format!(",\n  \"forked_from\": \"{}\"", of("forked_from")),
            "",
        ),
    }
}

#[test]
fn identities() {
    let database = Database::new(START);
    let engine = database.open();
    assert_eq!(identity(&database.folder()), described(&engine));
    let copy = database.folder().with_extension("copy");
    engine.checkpoint(&copy).unwrap();
    let forked = Engine::open(&copy, &database.options).unwrap();
    assert_eq!(forked.forked_from(), Some(engine.id()));
    assert_eq!(identity(&copy), described(&forked));
    let page = page(PAGE);
    let json: serde_json::Value = serde_json::from_str(&identity(&copy)).unwrap();
    let fields: BTreeSet<String> = json.as_object().unwrap().keys().cloned().collect();
    let table = rows(&page, "Identity").into_iter();
    assert_eq!(
        table.map(|row| row[0].clone()).collect::<BTreeSet<_>>(),
        fields
    );
}

/// The page's own bytes are an identity, with fields that nobody knows yet too.
#[test]
fn the_identity_is_read_back() {
    let database = Database::new(START);
    database.open().close().unwrap();
    let page = page(PAGE);
    let golden = blocks(&page, "Identity", "json")[0];
    let ids: serde_json::Value = serde_json::from_str(golden).unwrap();
    let newer = golden.replacen('{', "{\n  \"shape\": \"round\",", 1);
    for text in [golden, &newer] {
        std::fs::write(database.folder().join("ICECORE"), text).unwrap();
        let engine = database.open();
        assert_eq!(engine.format_version(), 1);
        assert_eq!(engine.id().to_string(), ids["engine_id"]);
        assert_eq!(
            engine.forked_from().unwrap().to_string(),
            ids["forked_from"]
        );
    }
}

#[test]
fn names() {
    let database = Database::new(START);
    let engine = database.open();
    let page = page(PAGE);
    let (head, _) = page.split_once("\n## ").unwrap();
    let described: BTreeSet<&str> = head
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.trim_end_matches('/'))
        .collect();
    let passing = BTreeSet::from(["ICECORE.creating", "ICECORE.tmp"]);
    let there: BTreeSet<String> = std::fs::read_dir(database.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    assert_eq!(&described - &passing, there);
    assert!(passing.is_subset(&described));

    engine
        .create_keyspace("a", KeyspaceSettings::default())
        .unwrap();
    let names = families(&database.folder());
    assert_eq!(names, ["commits", "default", "ks-00000001", "system"]);
    let table = rows(&page, "Column families");
    let fixed = ["default", "commits", "system"];
    assert_eq!(
        table.iter().map(|row| &row[0]).take(3).collect::<Vec<_>>(),
        fixed
    );
    assert!(table[3][0].starts_with("ks-"));
}

/// The name decides how RocksDB reads old files, so it may not change unseen.
#[test]
fn the_prefix_extractor() {
    let database = Database::new(START);
    let engine = database.open();
    engine
        .create_keyspace("a", KeyspaceSettings::default())
        .unwrap();
    let page = page(PAGE);
    let (_, after) = section(&page, "Column families")
        .split_once("prefix extractor `")
        .unwrap();
    let extractor = after.split_once('`').unwrap().0;
    let named = |family: &str| options_of(&database.folder(), family).contains(extractor);
    assert!(named("ks-00000001") && named("system"));
    assert!(!named("default") && !named("commits"));
}

/// The line on the prefix extractor in RocksDB's newest file of options.
fn options_of(folder: &Path, family: &str) -> String {
    let files = std::fs::read_dir(folder.join("data")).unwrap();
    let newest = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("OPTIONS-"))
        .max()
        .unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    let head = format!("[CFOptions \"{family}\"]");
    let (_, section) = text.split_once(&head).unwrap();
    let mut lines = section.lines().map(str::trim);
    lines
        .find(|line| line.starts_with("prefix_extractor="))
        .unwrap()
        .to_owned()
}
