//! A table of the error texts of a crate, one of each variant.

use std::path::Path;

use crate::file;

/// Names the variants of an error type: `fn name(&Error) -> &'static str`, and `NAMES`, all of them. The
/// match is exhaustive, so a new variant does not compile until it is named here, and
/// [`check`] then fails until it has a row.
#[macro_export]
macro_rules! error_names {
    ($type:ident: $($variant:ident),* $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($variant)),*];

        fn name(error: &$type) -> &'static str {
            match error {
                $($type::$variant { .. } => stringify!($variant),)*
            }
        }
    };
}

/// Compares the texts, given with the names of their variants, with a file. Every variant must have one,
/// and each must be one line in lower case without a period at its end.
///
/// # Panics
/// If one of these is not so.
pub fn check(path: &Path, names: &[&str], rows: &[(&str, String)]) {
    if let Some(fault) = fault(names, rows) {
        panic!("{fault}");
    }
    let lines: String = rows
        .iter()
        .map(|(name, text)| format!("{name}: {text}\n"))
        .collect();
    file::check(path, &lines);
}

fn fault(names: &[&str], rows: &[(&str, String)]) -> Option<String> {
    let bare = |name: &&&str| !rows.iter().any(|(row, _)| row == *name);
    if let Some(name) = names.iter().find(bare) {
        return Some(format!("no text of variant {name} is pinned"));
    }
    let wrong = |text: &str| {
        text.is_empty()
            || text.contains('\n')
            || text.ends_with(['.', ' '])
            || text.starts_with(|c: char| c.is_uppercase())
    };
    let (name, text) = rows.iter().find(|(_, text)| wrong(text))?;
    Some(format!(
        "the text of {name} is not one line in lower case without a period: {text:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Error {
        Unit,
        Tuple(),
        Struct {},
    }
    crate::error_names!(Error: Unit, Tuple, Struct);

    #[test]
    fn variants_of_every_form_are_named() {
        let all = [Error::Unit, Error::Tuple(), Error::Struct {}];
        let found: Vec<_> = all.iter().map(name).collect();
        assert_eq!(found, NAMES);
    }

    #[test]
    fn each_fault_is_found() {
        let row = |text: &str| [("A", text.to_owned())];
        assert_eq!(fault(&["A"], &row("it is so; do that")), None);
        assert!(fault(&["A", "B"], &row("x")).unwrap().contains("variant B"));
        for text in ["", "two\nlines", "an end.", "Upper case", "an end "] {
            assert!(fault(&["A"], &row(text)).is_some(), "{text:?}");
        }
    }
}
