//! The command line against a real S3 server, which the tests start for themselves; what that needs, and
//! where it is skipped, is said in `testkit/tests/s3/main.rs`.
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

use icecore_testkit::servers::S3;

/// The command, with nothing of this process's AWS settings.
fn icecore(db: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
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

/// A parameter's value, decoded as far as the test's own credentials need.
fn parameter(s3: &S3, name: &str) -> Option<String> {
    let parts = s3.parameters().split('&');
    let (_, value) = parts
        .filter_map(|p| p.split_once('='))
        .find(|(n, _)| *n == name)?;
    Some(value.replace("%2B", "+").replace("%2F", "/"))
}

fn start() -> Option<S3> {
    S3::start(env!("CARGO_TARGET_TMPDIR")).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_database_goes_to_s3_and_comes_back() {
    let Some(s3) = start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (db, copy) = (folder.path().join("db"), folder.path().join("copy"));
    let uri = s3.uri("cli");
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

#[test]
fn credentials_come_from_the_environment_and_are_never_printed() {
    let Some(s3) = start() else {
        return;
    };
    let Some((id, secret)) =
        parameter(&s3, "AWS_ACCESS_KEY_ID").zip(parameter(&s3, "AWS_SECRET_ACCESS_KEY"))
    else {
        println!("skipped: the store's credentials are not in its URI");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("db");
    let uri = format!(
        "{}?{}",
        s3.place("env"),
        s3.parameters_without_credentials()
    );
    done(&db, &["keyspace", "create", "t"], &[]);
    let with = |secret: &'static str| {
        [
            ("AWS_ACCESS_KEY_ID", "AKIACANARY"),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ]
    };
    let right = [
        ("AWS_ACCESS_KEY_ID", id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", secret.as_str()),
    ];
    let backup = ["backup", "--into", &uri];
    let stored = done(&db, &backup, &right);
    assert!(
        !stored.contains(&id) && !stored.contains(&secret),
        "{stored}"
    );

    let wrong = [
        ("AWS_ACCESS_KEY_ID", id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", "CANARY/SECRET"),
    ];
    for environment in [with("CANARY/SECRET"), wrong] {
        let output = icecore(&db, &backup, &environment);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("error: not allowed to "), "{told}");
        assert!(
            told.ends_with("; check the credentials and what they allow\n"),
            "{told}"
        );
        assert!(!told.contains("CANARY") && !told.contains(&id), "{told}");
    }
}
