//! The command line against real servers of each service, which the tests start for themselves; what that
//! needs, and where it is skipped, is said in `testkit/tests/stores/main.rs`.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::Path;
use std::process::{Command, Output};

use icecore_testkit::servers::{Service, Store};

/// The command, with nothing of this process's settings of stores.
fn icecore(db: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
    let of_stores = ["AWS_", "AZURE_", "GOOGLE_"];
    for (name, _) in std::env::vars() {
        if of_stores.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
        .arg("--db")
        .arg(db)
        .args(arguments)
        .env_remove("RUST_LOG")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

/// What a command prints that must succeed.
fn done(db: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = icecore(db, arguments, environment);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
    assert!(told.is_empty(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn on(service: Service) {
    let started = Store::start(service, env!("CARGO_TARGET_TMPDIR"));
    let Some(store) = started.unwrap_or_else(|error| panic!("{error}")) else {
        return;
    };
    a_database_goes_there_and_comes_back(&store);
    credentials_come_from_the_environment_and_are_never_printed(&store);
}

#[test]
fn s3() {
    on(Service::S3);
}

#[test]
fn azure() {
    on(Service::Azure);
}

#[test]
fn gcs() {
    on(Service::Gcs);
}

fn a_database_goes_there_and_comes_back(store: &Store) {
    let folder = tempfile::tempdir().unwrap();
    let (db, copy) = (folder.path().join("db"), folder.path().join("copy"));
    let uri = store.uri("cli");
    done(&db, &["keyspace", "create", "bank.accounts"], &[]);
    done(&db, &["put", "bank.accounts", "alice", "100"], &[]);
    let full = done(&db, &["backup", "--into", &uri], &[]);
    assert!(full.contains("full backup "), "{full}");
    done(&db, &["put", "bank.accounts", "bob", "50"], &[]);
    done(&db, &["delete", "bank.accounts", "alice"], &[]);
    done(&db, &["put", "bank.accounts", "carol", "7"], &[]);
    let onto = ["backup", "--into", &uri, "--onto", "LATEST"];
    let incremental = done(&db, &onto, &[]);
    assert!(incremental.contains("incremental backup "), "{incremental}");

    let listed = done(&db, &["show", "backups", "--in", &uri], &[]);
    assert_eq!(
        listed.lines().filter(|l| l.contains(" 2 ")).count(),
        1,
        "{listed}"
    );
    done(&db, &["verify", "--in", &uri], &[]);
    done(&copy, &["restore", "--from", &uri], &[]);
    let dump = |db: &Path| done(db, &["dump", "bank.accounts"], &[]);
    assert_eq!(dump(&copy), dump(&db));
    assert_eq!(dump(&copy).lines().count(), 2);
}

/// The variables that say who is asking: the right ones, and some that are wrong.
type Asked = Vec<(&'static str, String)>;

fn asked(store: &Store) -> Option<(Asked, Vec<Asked>)> {
    let known = |name: &str| store.parameter(name);
    Some(match store.service() {
        Service::S3 => {
            let with = |id: &str, secret: &str| {
                vec![
                    ("AWS_ACCESS_KEY_ID", id.to_owned()),
                    ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
                ]
            };
            let (id, secret) = known("AWS_ACCESS_KEY_ID").zip(known("AWS_SECRET_ACCESS_KEY"))?;
            let wrong = ["AKIACANARY", &id].map(|id| with(id, "CANARY/SECRET"));
            (with(&id, &secret), wrong.into())
        }
        Service::Azure => {
            let with = |key: String| vec![("AZURE_STORAGE_ACCOUNT_KEY", key)];
            let wrong = "CANARY".repeat(10) + "AAAA";
            (with(known("AZURE_ACCOUNT_KEY")?), vec![with(wrong)])
        }
        Service::Gcs => {
            let with = |token: &str| vec![("GOOGLE_BEARER_TOKEN", token.to_owned())];
            (with(&known("BEARER_TOKEN")?), vec![with("CANARYTOKEN")])
        }
    })
}

fn credentials_come_from_the_environment_and_are_never_printed(store: &Store) {
    let Some((right, wrong)) = asked(store) else {
        println!("skipped: the store's credentials are not in its URI");
        return;
    };
    fn borrowed(asked: &Asked) -> Vec<(&str, &str)> {
        asked
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let uri = format!(
        "{}?{}",
        store.place("env"),
        store.parameters_without_credentials()
    );
    done(&db, &["keyspace", "create", "t"], &[]);
    let backup = ["backup", "--into", &uri];
    let stored = done(&db, &backup, &borrowed(&right));
    for (_, secret) in &right {
        assert!(!stored.contains(secret), "{stored}");
    }
    for environment in wrong {
        let output = icecore(&db, &backup, &borrowed(&environment));
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("error: not allowed to "), "{told}");
        assert!(
            told.ends_with("; check the credentials and what they allow\n"),
            "{told}"
        );
        let secrets = environment.iter().map(|(_, secret)| secret);
        for secret in secrets.chain(&["CANARY".to_owned()]) {
            assert!(!told.contains(secret.as_str()), "{told}");
        }
    }
}
