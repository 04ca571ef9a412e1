//! The command line with keys of a key-management service, which the tests start for themselves; and what
//! is printed nowhere: passphrases, keys and credentials.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use icecore_testkit::machine;
use icecore_testkit::servers::moto::Moto;
use tempfile::TempDir;

/// A folder with a database of one keyspace, and short words for what is done with it.
struct Shell {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Shell {
    fn new() -> Self {
        let shell = Self {
            folder: tempfile::tempdir().unwrap(),
            environment: Vec::new(),
        };
        shell.done(&["keyspace", "create", "t"]);
        shell.done(&["put", "t", "alice", "100"]);
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn uri(&self, name: &str) -> String {
        format!("file://{}", self.path(name).display())
    }

    fn run(&self, db: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_icecore"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command
            .arg("--db")
            .arg(self.path(db))
            .args(arguments)
            .env_remove("RUST_LOG")
            .envs(self.environment.iter().cloned())
            .output()
            .unwrap()
    }

    /// What a command prints that must succeed.
    fn done_in(&self, db: &str, arguments: &[&str]) -> String {
        let output = self.run(db, arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn done(&self, arguments: &[&str]) -> String {
        self.done_in("db", arguments)
    }

    /// The error of a command that must fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run("db", arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        told
    }
}

fn service() -> Option<Moto> {
    let started = Moto::start(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let started = machine::or_skip("key-management service", started);
    started.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_key_of_the_service_seals_and_opens() {
    let Some(service) = service() else {
        return;
    };
    let arn = service.make_key("alias/backup").unwrap();
    service.make_key("alias/other").unwrap();
    let mut shell = Shell::new();
    let credentials = [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ];
    shell.environment = credentials
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .to_vec();
    let into = shell.uri("sealed");
    let by_alias = service.uri("alias/backup");
    shell.done(&["backup", "--into", &into, "--kms", &by_alias]);
    shell.done(&["put", "t", "bob", "50"]);
    // By its ARN it is the same key.
    let by_arn = service.uri(&arn);
    shell.done(&[
        "backup", "--into", &into, "--onto", "LATEST", "--kms", &by_arn,
    ]);
    shell.done_in("copy", &["restore", "--from", &into, "--kms", &by_alias]);
    assert_eq!(
        shell.done_in("copy", &["dump", "t"]),
        shell.done(&["dump", "t"])
    );
    let listed = shell.done(&["collection", "keys", "list", "--in", &into]);
    assert!(
        listed.contains("aws-kms") && listed.contains("alias/backup"),
        "{listed}"
    );

    let other = service.uri("alias/other");
    let told = shell.refused(&["show", "backups", "--in", &into, "--kms", &other]);
    // AWS says which key is the wrong one, and then it reads "none of the keys given"; this service, that it is
    // not allowed.
    assert!(
        told.starts_with("error: could not decrypt with aws-kms:///alias/other?"),
        "{told}"
    );

    // A passphrase beside it opens too, with the service or without.
    let passphrase = shell.path("passphrase");
    fs::write(&passphrase, "p").unwrap();
    let file = passphrase.to_str().unwrap();
    let add = [
        "collection",
        "keys",
        "add",
        "--in",
        &into,
        "--kms",
        &by_alias,
    ];
    shell.done(&[&add[..], &["--new-passphrase-file", file]].concat());
    let missing = service.uri("alias/missing");
    let told = shell.refused(&["show", "backups", "--in", &into, "--kms", &missing]);
    assert!(
        told.contains("could not decrypt") && told.contains("NotFound"),
        "{told}"
    );
    drop(service);
    let told = shell.refused(&["backup", "--into", &shell.uri("new"), "--kms", &by_alias]);
    assert!(
        told.contains("error: could not encrypt with aws-kms:///alias/backup?"),
        "{told}"
    );
    let both = ["--kms", &by_alias, "--passphrase-file", file];
    shell.done(&[&["show", "backups", "--in", into.as_str()][..], &both].concat());
}

const PASSPHRASE: &str = "CANARY-passphrase-7f3a";
const HEX_KEY: &str = "ca4a51e5ca4a51e5ca4a51e5ca4a51e5ca4a51e5ca4a51e5ca4a51e5ca4a51e5";
const SECRET: &str = "CANARY/secret+access";

/// Everything that may not appear: as given, as bytes, as numbers.
fn canaries() -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..HEX_KEY.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&HEX_KEY[at..at + 2], 16).unwrap())
        .collect();
    let numbers = "202, 74, 81, 229, 202, 74";
    let texts = [PASSPHRASE, HEX_KEY, SECRET, "CANARY", numbers];
    let mut canaries: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    canaries.push(HEX_KEY.to_ascii_uppercase().into_bytes());
    canaries.push(bytes);
    canaries
}

fn is_clean(what: &str, content: &[u8]) {
    for canary in canaries() {
        let found = content.windows(canary.len()).any(|window| window == canary);
        assert!(!found, "{what}: {}", String::from_utf8_lossy(content));
    }
}

/// No passphrase, key or credential is in what is printed, logged at the finest level, or stored, whether
/// commands succeed or fail. None is ever an argument: they come from files and variables.
#[test]
fn passphrases_keys_and_credentials_appear_nowhere() {
    let mut shell = Shell::new();
    let file = |name: &str, content: &str| {
        fs::write(shell.path(name), content).unwrap();
        shell.path(name).to_str().unwrap().to_owned()
    };
    let passphrase = file("passphrase", PASSPHRASE);
    let wrong = file("wrong", &format!("{PASSPHRASE}-not"));
    let key = format!("file:{}", file("key", HEX_KEY));
    let no_key = format!("file:{}", file("no-key", &format!("{HEX_KEY}{PASSPHRASE}")));
    let (into, plain) = (shell.uri("sealed"), shell.uri("plain"));
    // A service that nobody answers for.
    let aws = "aws-kms:///alias/k?region=eu-west-1&AWS_ENDPOINT=http%3A%2F%2F127.0.0.1%3A1";
    shell.environment = [
        ("RUST_LOG", "trace"),
        ("CANARY_KEY", HEX_KEY),
        ("BAD_KEY", PASSPHRASE),
        ("AWS_ACCESS_KEY_ID", "AKIA1"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let show = ["show", "backups", "--in", into.as_str()];
    let add = ["collection", "keys", "add", "--in", into.as_str()];
    let commands: Vec<(bool, Vec<&str>)> = vec![
        (
            true,
            vec![
                "backup",
                "--into",
                &into,
                "--passphrase-file",
                &passphrase,
                "--kms",
                &key,
            ],
        ),
        (
            true,
            vec![
                "backup",
                "--into",
                &into,
                "--onto",
                "LATEST",
                "--kms",
                "env:CANARY_KEY",
            ],
        ),
        (
            true,
            [&show[..], &["--passphrase-file", &passphrase]].concat(),
        ),
        (true, vec!["verify", "--in", &into, "--kms", &key]),
        (
            true,
            vec![
                "restore",
                "--from",
                &into,
                "--kms",
                &key,
                "--keyspace",
                "t",
                "--rename",
                "t=u",
            ],
        ),
        (true, vec!["collection", "keys", "list", "--in", &into]),
        (
            true,
            [&add[..], &["--kms", &key, "--new-passphrase-file", &wrong]].concat(),
        ),
        (true, vec!["backup", "--into", &plain]),
        (false, show.to_vec()),
        (
            false,
            vec![
                "show",
                "backups",
                "--in",
                &plain,
                "--passphrase-file",
                &passphrase,
            ],
        ),
        (false, [&show[..], &["--kms", &no_key]].concat()),
        (false, [&show[..], &["--kms", "env:BAD_KEY"]].concat()),
        (false, [&show[..], &["--kms", HEX_KEY]].concat()),
        (false, [&show[..], &["--kms", aws]].concat()),
        (
            false,
            [&add[..], &["--kms", &key, "--new-kms", PASSPHRASE]].concat(),
        ),
    ];
    for (succeeds, arguments) in commands {
        let output = shell.run("db", &arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), succeeds, "{arguments:?}: {told}");
        is_clean(
            &format!("{arguments:?}"),
            &[output.stdout, output.stderr].concat(),
        );
    }
    let mut folders = vec![shell.path("sealed"), shell.path("plain"), shell.path("db")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => is_clean(&path.display().to_string(), &fs::read(&path).unwrap()),
            }
        }
    }
}
