//! The rule that dependencies point one way:
//! `cli → {backup, restore, gc} → {engine, archive} → mvcc`.
//!
//! `engine` and `archive` do not know each other, nor do `backup` and `restore`. Programs that
//! stand outside the house (tests, benchmarks, examples) may use any of it; `xtask` uses none.

use crate::error::Error;
use crate::metadata::{Metadata, Package};

const RULE: &str =
    "dependencies point one way (docs/ARCHITECTURE.md; the table is in xtask/src/layers.rs)";

/// What each member may use, besides packages of others.
const MAY_USE: [(&str, &[&str]); 9] = [
    ("icecore-mvcc", &[]),
    ("icecore-engine", &["icecore-mvcc"]),
    ("icecore-archive", &["icecore-mvcc"]),
    (
        "icecore-gc",
        &["icecore-engine", "icecore-archive", "icecore-mvcc"],
    ),
    (
        "icecore-backup",
        &[
            "icecore-gc",
            "icecore-engine",
            "icecore-archive",
            "icecore-mvcc",
        ],
    ),
    (
        "icecore-restore",
        &[
            "icecore-gc",
            "icecore-engine",
            "icecore-archive",
            "icecore-mvcc",
        ],
    ),
    (
        "icecore-cli",
        &[
            "icecore-backup",
            "icecore-restore",
            "icecore-gc",
            "icecore-engine",
            "icecore-archive",
            "icecore-mvcc",
        ],
    ),
    ("icecore-golden", &[]),
    ("xtask", &[]),
];

/// Members that nothing of the house depends on.
const OUTSIDE: [&str; 4] = [
    "icecore-testkit",
    "icecore-benches",
    "icecore-examples",
    "icecore-fuzz",
];

/// Checks every member's manifest.
///
/// # Errors
/// [`Error::Rule`] with every dependency that points the wrong way.
pub(crate) fn check(metadata: &Metadata) -> Result<(), Error> {
    let breaches: Vec<String> = metadata.packages.iter().flat_map(breaches_of).collect();
    if breaches.is_empty() {
        Ok(())
    } else {
        Err(Error::Rule {
            rule: RULE,
            breaches,
        })
    }
}

fn breaches_of(package: &Package) -> Vec<String> {
    if OUTSIDE.contains(&package.name.as_str()) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == package.name) else {
        return vec![format!("{} has no place in the table yet", package.name)];
    };
    package
        .dependencies
        .iter()
        // What only a package's own tests use is not part of the house.
        .filter(|used| used.path.is_some() && used.kind.as_deref() != Some("dev"))
        .filter(|used| !allowed.contains(&used.name.as_str()))
        .map(|used| format!("{} may not use {}", package.name, used.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Dependency;
    use crate::workspace::Workspace;

    fn package(name: &str, uses: &[(&str, Option<&str>)]) -> Package {
        let dependencies = uses
            .iter()
            .map(|(used, kind)| Dependency {
                name: (*used).to_owned(),
                kind: kind.map(str::to_owned),
                path: used.starts_with("icecore").then(String::new),
            })
            .collect();
        Package {
            name: name.to_owned(),
            dependencies,
            targets: Vec::new(),
        }
    }

    #[test]
    fn the_wrong_way_is_caught() {
        let engine = package(
            "icecore-engine",
            &[("icecore-archive", None), ("serde", None)],
        );
        assert_eq!(
            breaches_of(&engine),
            ["icecore-engine may not use icecore-archive"]
        );
        let backup = package("icecore-backup", &[("icecore-restore", Some("build"))]);
        assert_eq!(
            breaches_of(&backup),
            ["icecore-backup may not use icecore-restore"]
        );
        assert_eq!(
            breaches_of(&package("new", &[])),
            ["new has no place in the table yet"]
        );
    }

    #[test]
    fn the_right_way_and_tests_are_free() {
        let gc = package(
            "icecore-gc",
            &[("icecore-engine", None), ("icecore-testkit", Some("dev"))],
        );
        assert!(breaches_of(&gc).is_empty());
        assert!(breaches_of(&package("icecore-testkit", &[("icecore-cli", None)])).is_empty());
    }

    #[test]
    fn this_workspace_obeys() {
        let workspace = Workspace::locate().unwrap();
        check(&Metadata::read_with_fuzz(&workspace).unwrap()).unwrap();
    }
}
