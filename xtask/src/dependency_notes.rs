//! `docs/dependencies.md` against the manifests: every direct dependency of every member has its
//! reason there, and nothing else has.
//!
//! The page's tables have one row a dependency: its name in backticks, the folders of the members
//! that use it, the reason. A member that uses it only in tests is marked `(tests)`, only in its
//! build script `(build)`. Members of the workspace are not listed.

use std::collections::BTreeMap;
use std::fs;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::workspace::Workspace;

const RULE: &str = "docs/dependencies.md has the reason of every direct dependency";

/// Dependency → the members that use it, as the page writes both.
type Uses = BTreeMap<String, Vec<String>>;

/// Compares the page with the manifests.
///
/// # Errors
/// [`Error::Rule`] with every difference; [`Error::File`] where the page cannot be read.
pub(crate) fn check(workspace: &Workspace, metadata: &Metadata) -> Result<(), Error> {
    let path = workspace.root().join("docs/dependencies.md");
    let page = fs::read_to_string(&path).map_err(|source| Error::File {
        action: "read",
        path,
        source,
    })?;
    let breaches = differences(&page, &uses(metadata));
    if breaches.is_empty() {
        Ok(())
    } else {
        Err(Error::Rule {
            rule: RULE,
            breaches,
        })
    }
}

fn uses(metadata: &Metadata) -> Uses {
    let mut uses = Uses::new();
    for package in &metadata.packages {
        let folder = package
            .name
            .strip_prefix("icecore-")
            .unwrap_or(&package.name);
        // `None` (the program itself) sorts first, so a package that also uses the dependency in
        // its tests is listed once, without a mark.
        let mut kinds: Vec<_> = package
            .dependencies
            .iter()
            .filter(|used| used.path.is_none())
            .collect();
        kinds.sort_by_key(|used| used.kind.clone());
        for used in kinds {
            let users = uses.entry(used.name.clone()).or_default();
            let mark = match used.kind.as_deref() {
                Some("dev") => " (tests)",
                Some("build") => " (build)",
                _ => "",
            };
            if !users
                .iter()
                .any(|user| user.split(' ').next() == Some(folder))
            {
                users.push(format!("{folder}{mark}"));
            }
        }
    }
    uses.values_mut().for_each(|users| users.sort());
    uses
}

fn differences(page: &str, uses: &Uses) -> Vec<String> {
    let mut found = Vec::new();
    let mut listed = Uses::new();
    for row in page.lines().filter_map(row_of) {
        let mut users: Vec<String> = row.users.split(", ").map(str::to_owned).collect();
        users.sort();
        if row.reason.is_empty() {
            found.push(format!("`{}` has no reason", row.dependency));
        }
        if listed.insert(row.dependency.to_owned(), users).is_some() {
            found.push(format!("`{}` has two rows", row.dependency));
        }
    }
    for (dependency, users) in uses {
        match listed.get(dependency) {
            None => found.push(format!("`{dependency}` has no row: {}", users.join(", "))),
            Some(said) if said != users => found.push(format!(
                "`{dependency}` is used by {}; the row says {}",
                users.join(", "),
                said.join(", ")
            )),
            Some(_) => {}
        }
    }
    let stale = listed.keys().filter(|name| !uses.contains_key(*name));
    found.extend(stale.map(|name| format!("`{name}` has a row, but no member uses it")));
    found
}

struct Row<'a> {
    dependency: &'a str,
    users: &'a str,
    reason: &'a str,
}

/// A table row whose first cell is a name in backticks; anything else is prose.
fn row_of(line: &str) -> Option<Row<'_>> {
    let mut cells = line.strip_prefix("| `")?.splitn(3, " | ");
    let dependency = cells.next()?.strip_suffix('`')?;
    let users = cells.next()?;
    let reason = cells.next()?.trim_end_matches('|').trim();
    Some(Row {
        dependency,
        users,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_uses() -> Uses {
        let users = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Uses::from([
            ("jiff".to_owned(), users(&["archive", "mvcc"])),
            ("proptest".to_owned(), users(&["mvcc (tests)"])),
        ])
    }

    #[test]
    fn a_true_page_passes() {
        let page = "# Notes\n\n| crate | used by | why |\n|---|---|---|\n\
                    | `jiff` | mvcc, archive | time as text |\n\
                    | `proptest` | mvcc (tests) | random | or not |\n";
        assert_eq!(differences(page, &two_uses()), Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_rot_is_told() {
        let page = "| `jiff` | mvcc | time |\n| `rand` | gc |  |\n| `rand` | gc | dice |\n";
        assert_eq!(
            differences(page, &two_uses()),
            [
                "`rand` has no reason",
                "`rand` has two rows",
                "`jiff` is used by archive, mvcc; the row says mvcc",
                "`proptest` has no row: mvcc (tests)",
                "`rand` has a row, but no member uses it",
            ]
        );
    }

    #[test]
    fn a_dependency_of_program_and_tests_is_listed_once() {
        let text = r#"{"packages":[{"name":"icecore-gc","targets":[],"dependencies":[
            {"name":"serde","kind":"dev","path":null},{"name":"serde","kind":null,"path":null},
            {"name":"rand","kind":"dev","path":null},{"name":"cc","kind":"build","path":null},
            {"name":"icecore-mvcc","kind":null,"path":"mvcc"}]}]}"#;
        let uses = uses(&serde_json::from_str(text).unwrap());
        let flat: Vec<String> = uses
            .iter()
            .map(|(name, users)| format!("{name}: {}", users.join(", ")))
            .collect();
        assert_eq!(flat, ["cc: gc (build)", "rand: gc (tests)", "serde: gc"]);
    }

    #[test]
    fn the_page_of_this_workspace_is_true() {
        let workspace = Workspace::locate().unwrap();
        check(&workspace, &Metadata::read_with_fuzz(&workspace).unwrap()).unwrap();
    }
}
