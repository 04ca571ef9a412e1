//! Starting child programs: run to the end, read what they print, or copy it through while
//! looking at each line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use crate::error::Error;

/// The command line as a person would type it, for messages.
pub(crate) fn command_line(command: &Command) -> String {
    let mut words = vec![quoted(&command.get_program().to_string_lossy())];
    words.extend(
        command
            .get_args()
            .map(|word| quoted(&word.to_string_lossy())),
    );
    words.join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs a child to its end; it shares our standard streams.
///
/// # Errors
/// [`Error::Start`] where it does not start, [`Error::Failed`] where it exits non-zero.
pub(crate) fn run(command: &mut Command) -> Result<(), Error> {
    let status = command
        .status()
        .map_err(|source| start_error(command, source))?;
    check(command, status)
}

/// Runs a child to its end and returns its standard output; its standard error is ours.
///
/// # Errors
/// As [`run`]; [`Error::Output`] where the output is not UTF-8.
pub(crate) fn read_output(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| start_error(command, source))?;
    check(command, output.status)?;
    String::from_utf8(output.stdout).map_err(|error| Error::Output {
        program: "a child program",
        reason: format!("`{}`: {error}", command_line(command)),
    })
}

/// Runs a child to its end, copying both its streams to ours line by line, and returns every line
/// for which `keep` says so, without colour codes. Lines are returned even where the child failed.
///
/// # Errors
/// The second half of the pair is as [`run`]'s.
pub(crate) fn watch(
    command: &mut Command,
    keep: fn(&str) -> bool,
) -> (Vec<String>, Result<(), Error>) {
    let spawned = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(source) => return (Vec::new(), Err(start_error(command, source))),
    };
    let kept = copy_both(&mut child, keep);
    let ended = child.wait().map_err(|source| start_error(command, source));
    (kept, ended.and_then(|status| check(command, status)))
}

fn copy_both(child: &mut Child, keep: fn(&str) -> bool) -> Vec<String> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let errors = scope.spawn(move || copy_lines(stderr, std::io::stderr(), keep));
        let mut kept = copy_lines(stdout, std::io::stdout(), keep);
        kept.extend(errors.join().unwrap_or_default());
        kept
    })
}

fn copy_lines(from: Option<impl Read>, mut to: impl Write, keep: fn(&str) -> bool) -> Vec<String> {
    let mut kept = Vec::new();
    let Some(from) = from else { return kept };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from
        .read_until(b'\n', &mut line)
        .is_ok_and(|bytes| bytes > 0)
    {
        // A closed terminal must not stop us from reading the child to its end.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        let text = without_colour(String::from_utf8_lossy(&line).trim_end());
        if keep(&text) {
            kept.push(text);
        }
        line.clear();
    }
    kept
}

/// The text without terminal colour codes (`ESC [ … m`).
fn without_colour(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after
            .find(|c: char| c.is_ascii_alphabetic())
            .and_then(|end| after.get(end + 1..))
            .unwrap_or("");
    }
    plain.push_str(rest);
    plain
}

fn start_error(command: &Command, source: std::io::Error) -> Error {
    Error::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

fn check(command: &Command, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            command: command_line(command),
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_can_be_typed_again() {
        let mut command = Command::new("cargo");
        command.args(["nextest", "run", "-E", "binary(model) | test(/a'b/)", ""]);
        assert_eq!(
            command_line(&command),
            r"cargo nextest run -E 'binary(model) | test(/a'\''b/)' ''"
        );
    }

    #[test]
    fn colours_are_taken_off() {
        assert_eq!(
            without_colour("\u{1b}[32;1m  Summary\u{1b}[0m [ 1s]"),
            "  Summary [ 1s]"
        );
        assert_eq!(without_colour("plain"), "plain");
        assert_eq!(without_colour("cut \u{1b}[3"), "cut ");
    }

    #[test]
    fn watched_lines_come_back_from_both_streams() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo keep one; echo drop; echo keep two >&2; exit 3"]);
        let (mut kept, ended) = watch(&mut command, |line| line.starts_with("keep"));
        kept.sort();
        assert_eq!(kept, ["keep one", "keep two"]);
        assert!(matches!(ended, Err(Error::Failed { status, .. }) if status.code() == Some(3)));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(
            error.to_string().contains("no-such-program-here"),
            "{error}"
        );
    }
}
