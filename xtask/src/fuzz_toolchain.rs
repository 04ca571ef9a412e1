//! The toolchain that builds the fuzz targets. Coverage and sanitizers are flags of rustc that only a
//! nightly takes, or a stable one with `RUSTC_BOOTSTRAP=1`. So a nightly is used where rustup has one, and
//! the workspace's own toolchain anywhere else: nothing is downloaded.

use std::process::Command;

use crate::workspace::Workspace;

/// A toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The nightly that rustup has.
    Nightly,
    /// The one that `rust-toolchain.toml` names, told to take unstable flags.
    Pinned,
}

impl Toolchain {
    /// The nightly where there is one; asks rustup, since `cargo +nightly` might download one that nobody
    /// asked for.
    pub(crate) fn find(workspace: &Workspace) -> Self {
        let mut rustup = workspace.command("rustup");
        let list = rustup.args(["toolchain", "list"]).output();
        let nightly =
            list.is_ok_and(|output| lists_nightly(&String::from_utf8_lossy(&output.stdout)));
        if nightly { Self::Nightly } else { Self::Pinned }
    }

    /// What it is, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nightly => "the nightly toolchain",
            Self::Pinned => "the pinned toolchain with RUSTC_BOOTSTRAP=1",
        }
    }

    /// A `cargo` command of it. `cargo` is found through `PATH`, where rustup's proxy is: cargo-fuzz starts
    /// it the same way.
    pub(crate) fn cargo(self, workspace: &Workspace) -> Command {
        let mut cargo = workspace.command("cargo");
        match self {
            Self::Nightly => cargo.env_remove("RUSTUP_TOOLCHAIN").arg("+nightly"),
            Self::Pinned => cargo.env("RUSTC_BOOTSTRAP", "1"),
        };
        cargo
    }
}

fn lists_nightly(toolchains: &str) -> bool {
    toolchains
        .lines()
        .any(|line| line.starts_with("nightly-") || line.starts_with("nightly "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nightly_is_told_from_its_kin() {
        assert!(lists_nightly(
            "stable-x86_64 (default)\nnightly-x86_64-unknown-linux-gnu\n"
        ));
        assert!(!lists_nightly(
            "stable-x86_64 (default)\n1.95.0-x86_64 (active)\n"
        ));
        assert!(!lists_nightly("my-nightly-fork\n"));
    }
}
