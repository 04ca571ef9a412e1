//! Scripts: commands, and below each what it prints.
//!
//! ```text
//! # a remark
//! $ a command
//! what it prints
//! ```
//!
//! Everything but remarks and commands was printed, so a script is written by writing its commands and
//! blessing it.

use std::fmt::Write as _;
use std::path::Path;

use crate::file;

/// Runs the commands of a script file and compares what they print. `execute` appends the output of
/// one command, in whole lines.
///
/// # Panics
/// If something else is printed than stands there.
pub fn check(path: &Path, execute: impl FnMut(&str, &mut String)) {
    let script =
        std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file::check(path, &replay(&script, execute));
}

/// The script with what its commands print now.
pub fn replay(script: &str, mut execute: impl FnMut(&str, &mut String)) -> String {
    let mut printed = String::new();
    let mut in_remark = false;
    for line in script.lines() {
        let remark = line.starts_with('#');
        if let Some(command) = line.strip_prefix("$ ") {
            writeln!(printed, "{line}").unwrap();
            let begin = printed.len();
            execute(command, &mut printed);
            let output = &printed[begin..];
            assert!(
                readable(output),
                "what '{command}' prints reads as a script: {output}"
            );
        } else if remark {
            let gap = if in_remark { "" } else { "\n" };
            writeln!(printed, "{gap}{line}").unwrap();
        }
        in_remark = remark;
    }
    printed.trim_start().to_owned()
}

/// Whether output can be told from remarks and commands, and consists of whole lines.
fn readable(output: &str) -> bool {
    (output.is_empty() || output.ends_with('\n'))
        && !output
            .lines()
            .any(|line| line.starts_with('#') || line.starts_with("$ "))
}

/// Checks that a folder holds exactly these scripts: one that is not run proves nothing.
///
/// # Panics
/// If a text file of the folder is not named, or the other way round.
pub fn check_folder(folder: &Path, named: &[&str]) {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut found: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt"))
        .collect();
    found.sort();
    let mut named = named.to_vec();
    named.sort_unstable();
    assert_eq!(found, named, "the scripts in {}", folder.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_reads_as_a_script_is_refused() {
        for output in ["# hi\n", "a\n$ b\n", "no newline"] {
            assert!(!readable(output), "{output:?}");
        }
        assert!(readable("") && readable("a # b\n$5\n"));
    }

    #[test]
    fn old_output_is_replaced_and_remarks_stay_apart() {
        let script = "# About\n# two lines.\n$ say hi\nold\n\n# Later.\n$ nothing\nold\n";
        let printed = replay(script, |command, out| {
            if let Some(word) = command.strip_prefix("say ") {
                writeln!(out, "{word}").unwrap();
            }
        });
        let expected = "# About\n# two lines.\n$ say hi\nhi\n\n# Later.\n$ nothing\n";
        assert_eq!(printed, expected);
        assert_eq!(replay(&printed, |_, _| ()).lines().count(), 6);
    }
}
