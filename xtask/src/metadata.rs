//! The part of `cargo metadata` that `xtask` reads: members, their direct dependencies, their
//! programs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::children;
use crate::error::Error;
use crate::workspace::Workspace;

/// The members of a workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// One entry a member.
    pub(crate) packages: Vec<Package>,
    /// Where cargo puts what it builds.
    #[serde(default)]
    pub(crate) target_directory: PathBuf,
}

/// A member.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Package {
    /// The package's name: `icecore-engine`.
    pub(crate) name: String,
    /// What its manifest names, each kind of use an entry.
    pub(crate) dependencies: Vec<Dependency>,
    /// What cargo builds from it.
    pub(crate) targets: Vec<Target>,
}

/// A dependency that a manifest names.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// Absent for the program itself, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// The folder, for a member of the workspace.
    pub(crate) path: Option<String>,
}

/// Something that cargo builds.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: String,
    /// `lib`, `bin`, `example`, `test`, …
    pub(crate) kind: Vec<String>,
    /// Features without which cargo leaves it out.
    #[serde(default, rename = "required-features")]
    pub(crate) required_features: Vec<String>,
}

/// A package anywhere beneath the workspace, and where its source lies.
#[derive(Debug, Deserialize)]
pub(crate) struct Source {
    /// The package's name.
    pub(crate) name: String,
    /// Its version, build part included.
    pub(crate) version: String,
    manifest_path: PathBuf,
}

impl Source {
    /// The folder of its sources.
    ///
    /// # Errors
    /// [`Error::Output`] where its manifest is in no folder.
    pub(crate) fn folder(&self) -> Result<PathBuf, Error> {
        self.manifest_path
            .parent()
            .map(Path::to_path_buf)
            .ok_or_else(|| Error::Output {
                program: "cargo metadata",
                reason: format!("`{}` is in no folder", self.manifest_path.display()),
            })
    }
}

#[derive(Deserialize)]
struct Sources {
    packages: Vec<Source>,
}

/// Every package that the workspace is built from, downloaded first where need be.
///
/// # Errors
/// As [`Metadata::read`].
pub(crate) fn sources(workspace: &Workspace) -> Result<Vec<Source>, Error> {
    sources_of(workspace, &workspace.root().join("Cargo.toml"))
}

/// The same of the workspace of that manifest.
///
/// # Errors
/// As [`Metadata::read`].
pub(crate) fn sources_of(workspace: &Workspace, manifest: &Path) -> Result<Vec<Source>, Error> {
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--locked", "--format-version", "1"]);
    cargo.arg("--manifest-path").arg(manifest);
    Ok(parse::<Sources>(&children::read_output(&mut cargo)?)?.packages)
}

/// The manifest of the fuzz targets' package, a workspace of its own.
pub(crate) fn fuzz_manifest(workspace: &Workspace) -> PathBuf {
    workspace.root().join("fuzz/Cargo.toml")
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| Error::Output {
        program: "cargo metadata",
        reason: error.to_string(),
    })
}

impl Metadata {
    /// The members of the workspace itself.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::Failed`] where cargo fails, [`Error::Output`] where its answer
    /// is not the documented JSON.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self, Error> {
        Self::read_manifest(workspace, &workspace.root().join("Cargo.toml"))
    }

    /// The members of the workspace itself and the fuzz targets' package, which stands outside.
    ///
    /// # Errors
    /// As [`Metadata::read`].
    pub(crate) fn read_with_fuzz(workspace: &Workspace) -> Result<Self, Error> {
        let mut metadata = Self::read(workspace)?;
        let fuzz = Self::read_manifest(workspace, &fuzz_manifest(workspace))?;
        metadata.packages.extend(fuzz.packages);
        Ok(metadata)
    }

    /// The members of the workspace of that manifest.
    ///
    /// # Errors
    /// As [`Metadata::read`].
    pub(crate) fn read_manifest(workspace: &Workspace, manifest: &Path) -> Result<Self, Error> {
        let mut cargo = workspace.cargo();
        cargo.args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--manifest-path",
        ]);
        parse(&children::read_output(cargo.arg(manifest))?)
    }
}
