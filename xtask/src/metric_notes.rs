//! `docs/guide/observing.md` against the sources: every metric that a crate counts is on the page, with
//! its kind, and nothing else is.
//!
//! A metric is a call `metrics::KIND!("NAME"…)` in the sources of a member, tests excepted. The page's
//! table has one row a metric: its name in backticks, its kind, its labels, what it counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::Error;
use crate::workspace::Workspace;

const RULE: &str = "docs/guide/observing.md lists every metric";

const PAGE: &str = "docs/guide/observing.md";

/// Members whose metrics a user sees.
const MEMBERS: [&str; 6] = ["engine", "archive", "gc", "backup", "restore", "cli"];

const KINDS: [&str; 3] = ["counter", "gauge", "histogram"];

/// Name → kind.
type Metrics = BTreeMap<String, String>;

/// Compares the page with the sources.
///
/// # Errors
/// [`Error::Rule`] with every difference; [`Error::File`] where a file cannot be read.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    let page = read(&workspace.root().join(PAGE))?;
    let mut counted = Metrics::new();
    for member in MEMBERS {
        visit(&workspace.root().join(member).join("src"), &mut counted)?;
    }
    let breaches = differences(&page, &counted);
    if breaches.is_empty() {
        return Ok(());
    }
    Err(Error::Rule {
        rule: RULE,
        breaches,
    })
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(file_error("read", path))
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

fn visit(folder: &Path, counted: &mut Metrics) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(file_error("read", folder))? {
        let path = entry.map_err(file_error("read", folder))?.path();
        if path.is_dir() {
            visit(&path, counted)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            collect(&read(&path)?, counted);
        }
    }
    Ok(())
}

/// Adds the metrics of one source file.
fn collect(source: &str, counted: &mut Metrics) {
    for kind in KINDS {
        for call in source.split(&format!("metrics::{kind}!(")).skip(1) {
            let name = call
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next());
            counted.insert(
                name.unwrap_or("a name that is no literal").to_owned(),
                kind.to_owned(),
            );
        }
    }
}

fn differences(page: &str, counted: &Metrics) -> Vec<String> {
    let rows: Metrics = page.lines().filter_map(row_of).collect();
    let mut found = Vec::new();
    for (name, kind) in counted {
        match rows.get(name) {
            None => found.push(format!("`{name}` has no row: {kind}")),
            Some(said) if said != kind => {
                found.push(format!("`{name}` is a {kind}; the row says {said}"));
            }
            Some(_) => {}
        }
    }
    let stale = rows.keys().filter(|name| !counted.contains_key(*name));
    found.extend(stale.map(|name| format!("`{name}` has a row, but nothing counts it")));
    found
}

/// A table row whose first cell is a name in backticks: name and kind.
fn row_of(line: &str) -> Option<(String, String)> {
    let mut cells = line.strip_prefix("| `")?.split(" | ");
    let name = cells.next()?.strip_suffix('`')?;
    Some((name.to_owned(), cells.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_rot_is_told() {
        let mut counted = Metrics::new();
        collect(
            "metrics::counter!(\"a_total\", \"x\" => y); metrics::histogram!(\n  \"b_seconds\")",
            &mut counted,
        );
        let page = "| `a_total` | counter | `x` | as |\n";
        assert_eq!(
            differences(page, &counted),
            ["`b_seconds` has no row: histogram"]
        );
        let page = "| `a_total` | gauge | | as |\n| `b_seconds` | histogram | | bs |\n| `c` | gauge | | cs |\n";
        assert_eq!(
            differences(page, &counted),
            [
                "`a_total` is a counter; the row says gauge",
                "`c` has a row, but nothing counts it"
            ]
        );
    }

    #[test]
    fn the_page_of_this_workspace_is_true() {
        check(&Workspace::locate().unwrap()).unwrap();
    }
}
