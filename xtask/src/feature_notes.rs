//! `docs/features.md` against the sources: every page and every test that it names is there.
//!
//! A test is written in backticks, as `FILE.rs::FUNCTION` or as the path of a script; a page as the
//! target of a link.

use std::path::Path;

use crate::error::Error;
use crate::workspace::Workspace;

const RULE: &str = "docs/features.md names pages and tests that exist";

const PAGE: &str = "docs/features.md";

/// Looks for what the page names.
///
/// # Errors
/// [`Error::Rule`] with everything that is not there; [`Error::File`] where the page cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    let path = workspace.root().join(PAGE);
    let page = std::fs::read_to_string(&path).map_err(|source| Error::File {
        action: "read",
        path,
        source,
    })?;
    let breaches = missing(&page, workspace.root());
    if breaches.is_empty() {
        return Ok(());
    }
    Err(Error::Rule {
        rule: RULE,
        breaches,
    })
}

/// What the page names and is not there; a row that names no test counts too.
fn missing(page: &str, root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let docs = Path::new(PAGE).parent().unwrap_or(Path::new(""));
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let cells: Vec<&str> = row.trim_end_matches('|').split(" | ").collect();
        let (Some(feature), Some(tests)) = (cells.first(), cells.last()) else {
            continue;
        };
        if *tests == "tests " || *tests == "tests" {
            continue;
        }
        let tests: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            found.push(format!("{feature}: no test"));
        }
        let lost = tests.iter().filter(|test| !is_there(test, root));
        found.extend(lost.map(|test| format!("{feature}: `{test}` is not there")));
        let links = row.split("](").skip(1).filter_map(|l| l.split(')').next());
        let lost = links.filter(|page| !root.join(docs).join(page).is_file());
        found.extend(lost.map(|page| format!("{feature}: no page {page}")));
    }
    found
}

fn is_there(test: &str, root: &Path) -> bool {
    match test.split_once("::") {
        None => root.join(test).is_file(),
        Some((file, function)) => std::fs::read_to_string(root.join(file))
            .is_ok_and(|source| source.contains(&format!("fn {function}("))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_rot_is_told() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("docs/guide")).unwrap();
        std::fs::write(root.path().join("docs/guide/a.md"), "").unwrap();
        std::fs::write(root.path().join("t.rs"), "fn one() {}").unwrap();
        let page = "| feature | page | tests |\n|---|---|---|\n\
            | good | [a](guide/a.md) | `t.rs::one`, `docs/guide/a.md` |\n\
            | bad | [b](guide/b.md) | `t.rs::on`, `u.rs::one`, `s.txt` |\n\
            | empty | [a](guide/a.md) | |\n";
        assert_eq!(
            missing(page, root.path()),
            [
                "bad: `t.rs::on` is not there",
                "bad: `u.rs::one` is not there",
                "bad: `s.txt` is not there",
                "bad: no page guide/b.md",
                "empty: no test"
            ]
        );
    }

    #[test]
    fn the_page_of_this_workspace_is_true() {
        check(&Workspace::locate().unwrap()).unwrap();
    }
}
