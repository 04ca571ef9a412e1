//! `fuzz/Cargo.lock` against `Cargo.lock`: the fuzz targets are a workspace of their own, but must test
//! what ships, so what both lock has one version. It must also be up to date, since cargo-fuzz would
//! change it without a word.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::metadata::{self, Source};
use crate::workspace::Workspace;

const RULE: &str = "fuzz/Cargo.lock locks what Cargo.lock does (copy that one there, then run cargo metadata in fuzz/)";

/// Compares the two.
///
/// # Errors
/// [`Error::Rule`] with every difference; [`Error::Failed`] where one of them is not up to date.
pub(crate) fn check(workspace: &Workspace) -> Result<(), Error> {
    let main = metadata::sources(workspace)?;
    let fuzz = metadata::sources_of(workspace, &metadata::fuzz_manifest(workspace))?;
    let breaches = differences(&main, &fuzz);
    if breaches.is_empty() {
        Ok(())
    } else {
        Err(Error::Rule {
            rule: RULE,
            breaches,
        })
    }
}

/// What `fuzz` has in a version that `main` has not; packages that `main` does not have at all are free.
fn differences(main: &[Source], fuzz: &[Source]) -> Vec<String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in main {
        let known = versions.entry(&source.name).or_default();
        known.insert(&source.version);
    }
    let differs = |source: &&Source| {
        let known = versions.get(source.name.as_str());
        known.is_some_and(|known| !known.contains(source.version.as_str()))
    };
    let told = |source: &Source| format!("{} {} is only there", source.name, source.version);
    fuzz.iter().filter(differs).map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(packages: &[(&str, &str)]) -> Vec<Source> {
        let json = packages.iter().map(|(name, version)| {
            serde_json::json!({"name": name, "version": version, "manifest_path": "Cargo.toml"})
        });
        json.map(|source| serde_json::from_value(source).unwrap())
            .collect()
    }

    #[test]
    fn another_version_is_told_and_another_package_is_free() {
        let main = sources(&[("syn", "2.0.1"), ("syn", "3.0.0"), ("serde", "1.0.229")]);
        let fuzz = sources(&[
            ("syn", "2.0.1"),
            ("serde", "1.0.230"),
            ("libfuzzer-sys", "0.4.13"),
        ]);
        assert_eq!(differences(&main, &fuzz), ["serde 1.0.230 is only there"]);
    }

    #[test]
    fn the_lock_files_of_this_checkout_agree() {
        check(&Workspace::locate().unwrap()).unwrap();
    }
}
