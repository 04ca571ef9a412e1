//! Runs a script and compares what it prints.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::mask::Mask;

/// Shell functions that every script has.
const PRELUDE: &str = r#"
# The last "ts" of a JSON document on standard input.
ts() { sed -n 's/.*"ts": *"\([^"]*\)".*/\1/p' | tail -n 1; }
# The time of the newest version of a key.
ts_of() { icecore --output json versions "$1" "$2" | grep -m 1 '"ts"' | ts; }
"#;

/// A script that begins so has the sizes of SST files replaced by `<size>` and `<n>`.
const SIZES_VARY: &str = "# Sizes vary.";

pub(crate) fn check(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/scripts")
        .join(file);
    let folder = tempfile::tempdir().unwrap();
    let sizes_vary = std::fs::read_to_string(&path)
        .unwrap()
        .starts_with(SIZES_VARY);
    let mut mask = Mask::new(folder.path().to_str().unwrap(), sizes_vary);
    icecore_golden::script::check(&path, |command, printed| {
        execute(command, folder.path(), &mut mask, printed);
    });
}

/// The one command that is not the shell's: `compress FROM TO`. A fresh machine has no `zstd`.
fn compress(names: &str, folder: &Path) {
    let (from, to) = names.split_once(' ').unwrap();
    let plain = std::fs::read(folder.join(from)).unwrap();
    let packed = zstd::encode_all(plain.as_slice(), 3).unwrap();
    std::fs::write(folder.join(to), packed).unwrap();
}

fn execute(command: &str, folder: &Path, mask: &mut Mask, printed: &mut String) {
    if let Some(names) = command.strip_prefix("compress ") {
        return compress(names, folder);
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_icecore")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("{PRELUDE}{command}"))
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("ICECORE_DB", "db")
        .env("XDG_CACHE_HOME", "cache")
        .env("LC_ALL", "C")
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    printed.push_str(&mask.apply(&String::from_utf8(output.stdout).unwrap()));
    for line in mask
        .apply(&String::from_utf8(output.stderr).unwrap())
        .lines()
    {
        writeln!(printed, "{}", format!("! {line}").trim_end()).unwrap();
    }
    match output.status.code() {
        Some(0) => {}
        code => writeln!(printed, "? {}", code.unwrap()).unwrap(),
    }
}
