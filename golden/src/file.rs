//! A file compared with a text.

use std::path::Path;

/// Writes the files instead of comparing them.
pub const BLESS: &str = "ICECORE_BLESS";

/// Whether files are to be written.
///
/// # Panics
/// Where `CI` is set too: a check that writes what it should compare with checks nothing.
pub fn blessing() -> bool {
    let set = |name| std::env::var_os(name).is_some();
    allowed(set(BLESS), set("CI"))
}

fn allowed(asked: bool, ci: bool) -> bool {
    assert!(!(asked && ci), "{BLESS} is set where CI is");
    asked
}

/// Compares a text with a file, or writes the file if blessing was asked for.
///
/// # Panics
/// If they differ, with the first line that does.
pub fn check(path: &Path, actual: &str) {
    if blessing() {
        std::fs::write(path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(path)
        .unwrap_or_else(|e| panic!("{}: {e}; {BLESS}=1 writes it", path.display()));
    if let Some(difference) = difference(&expected, actual) {
        panic!("{}, {difference}", path.display());
    }
}

/// Where two texts first differ, for people.
fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    // Not `lines`: it takes no notice of a newline at the end.
    let (expected, printed): (Vec<_>, Vec<_>) =
        (expected.split('\n').collect(), actual.split('\n').collect());
    let first = (0..)
        .find(|i| expected.get(*i) != printed.get(*i))
        .unwrap_or_default();
    let line = |lines: &[&str]| {
        lines
            .get(first)
            .map_or("(the end)".to_owned(), |l| format!("{l:?}"))
    };
    Some(format!(
        "line {}:\n expected: {}\n actual:   {}\n{BLESS}=1 writes it; now:\n\n{actual}",
        first + 1,
        line(&expected),
        line(&printed)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_seen_at_its_line() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        for (actual, at) in [("a\nc\n", 2), ("a\nb", 3), ("a\nb\n\n", 4), ("", 1)] {
            let found = difference("a\nb\n", actual).unwrap();
            assert!(
                found.starts_with(&format!("line {at}:")),
                "{actual:?}: {found}"
            );
        }
    }

    #[test]
    fn blessing_is_asked_for_and_never_in_ci() {
        assert!(allowed(true, false));
        assert!(!allowed(false, true) && !allowed(false, false));
        assert!(std::panic::catch_unwind(|| allowed(true, true)).is_err());
    }
}
