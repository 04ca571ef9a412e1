//! Where the workspace lies, and how `cargo` is started from it.
//!
//! Children get a clean environment: what `cargo run` sets for `xtask` itself (`CARGO_PKG_NAME`
//! and its kin) is taken away, since build scripts that watch such a variable would otherwise run
//! again, and RocksDB with them, each time `xtask` and a hand-typed `cargo` take turns.
//!
//! Where ccache is installed, the folder with its stand-ins for `cc` and `c++` goes to the front of
//! `PATH`. `CC` and `CXX` stay as they are: build scripts watch those.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::children;
use crate::error::Error;

/// Folders where packages of ccache put links named `cc`, `c++` and so on.
const CCACHE_FOLDERS: [&str; 5] = [
    "/usr/lib/ccache",
    "/usr/lib64/ccache",
    "/usr/lib/ccache/bin",
    "/opt/homebrew/opt/ccache/libexec",
    "/usr/local/opt/ccache/libexec",
];

/// The checkout that `xtask` works on.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    cargo: OsString,
    path: Option<OsString>,
}

impl Workspace {
    /// Asks `cargo` for the workspace around the folder that `cargo xtask` was typed in.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::Failed`] where `cargo` cannot say.
    pub(crate) fn locate() -> Result<Self, Error> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // The manifest folder of xtask is in the workspace wherever the command was typed from;
        // it is read at run time, because checkouts may share one target folder.
        let folder = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), PathBuf::from);
        let mut locate = Command::new(&cargo);
        locate.current_dir(folder).args([
            "locate-project",
            "--workspace",
            "--message-format",
            "plain",
        ]);
        let manifest = PathBuf::from(children::read_output(&mut locate)?.trim_end());
        let root = manifest.parent().unwrap_or(Path::new(".")).to_path_buf();
        let path = path_with_ccache(env::var_os("PATH").as_deref(), ccache_folder());
        Ok(Self { root, cargo, path })
    }

    /// The workspace's top folder, absolute.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A `cargo` command of the workspace's own toolchain, to be run in the top folder.
    pub(crate) fn cargo(&self) -> Command {
        self.command(&self.cargo)
    }

    /// Any program, to be run in the top folder with the children's environment.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            if is_of_xtask_itself(&name) {
                command.env_remove(name);
            }
        }
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command
    }
}

/// `icecore` in the user's cache folder; in the checkout's target folder for a user without a home.
pub(crate) fn cache_folder(root: &Path) -> PathBuf {
    let named = |variable| {
        env::var_os(variable)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    cache.unwrap_or_else(|| root.join("target")).join("icecore")
}

/// Whether `cargo run` set this variable to describe `xtask` to itself.
fn is_of_xtask_itself(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        name.starts_with("CARGO_PKG_")
            || matches!(name, "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH")
    })
}

fn ccache_folder() -> Option<&'static Path> {
    CCACHE_FOLDERS
        .iter()
        .map(Path::new)
        .find(|folder| folder.join("c++").exists())
}

/// `path` with `folder` in front, unless it holds it already; `None`: leave `PATH` alone.
fn path_with_ccache(path: Option<&OsStr>, folder: Option<&Path>) -> Option<OsString> {
    let (path, folder) = (path?, folder?);
    let mut folders: Vec<PathBuf> = env::split_paths(path).collect();
    if folders.iter().any(|known| known == folder) {
        return None;
    }
    folders.insert(0, folder.to_path_buf());
    env::join_paths(folders).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ccache_goes_to_the_front_once() {
        let path = OsStr::new("/usr/bin:/bin");
        let with = path_with_ccache(Some(path), Some(Path::new("/usr/lib/ccache"))).unwrap();
        assert_eq!(with, "/usr/lib/ccache:/usr/bin:/bin");
        assert_eq!(
            path_with_ccache(Some(&with), Some(Path::new("/usr/lib/ccache"))),
            None
        );
        assert_eq!(path_with_ccache(Some(path), None), None);
        assert_eq!(
            path_with_ccache(None, Some(Path::new("/usr/lib/ccache"))),
            None
        );
    }

    #[test]
    fn only_what_describes_xtask_is_taken_away() {
        for name in [
            "CARGO_PKG_NAME",
            "CARGO_MANIFEST_DIR",
            "CARGO_MANIFEST_PATH",
        ] {
            assert!(is_of_xtask_itself(OsStr::new(name)), "{name}");
        }
        for name in [
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO",
            "PATH",
            "CARGO_INCREMENTAL",
        ] {
            assert!(!is_of_xtask_itself(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn the_root_holds_this_crate() {
        let workspace = Workspace::locate().unwrap();
        assert!(workspace.root().join("xtask/src/main.rs").is_file());
        assert!(workspace.root().is_absolute());
    }
}
