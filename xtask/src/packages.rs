//! The machine's package manager: what the things a build needs are called there, and the command
//! that installs them.

use crate::programs;

/// Something that a build needs from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// A C++20 compiler, for RocksDB.
    Compiler,
    /// libclang and its headers, for RocksDB's bindings.
    Libclang,
    /// A compiler cache; nothing fails without it.
    Ccache,
}

impl Need {
    /// What is missing and who needs it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Compiler => "no C++ compiler was found, and RocksDB is compiled from source",
            Self::Libclang => {
                "no libclang with its headers was found, and RocksDB's bindings are made with it"
            }
            Self::Ccache => "ccache is not installed",
        }
    }
}

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// Debian, Ubuntu.
    Apt,
    /// Fedora and its kin.
    Dnf,
    /// openSUSE.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
    /// Homebrew, on macOS.
    Brew,
}

const MANAGERS: [(&str, Manager); 6] = [
    ("apt-get", Manager::Apt),
    ("dnf", Manager::Dnf),
    ("zypper", Manager::Zypper),
    ("pacman", Manager::Pacman),
    ("apk", Manager::Apk),
    ("brew", Manager::Brew),
];

impl Manager {
    /// The manager of this machine, where it is a known one.
    pub(crate) fn of_this_machine() -> Option<Self> {
        MANAGERS
            .iter()
            .find(|(program, _)| programs::find(program).is_some())
            .map(|found| found.1)
    }

    fn package(self, need: Need) -> &'static str {
        match (need, self) {
            (Need::Compiler, Self::Apt | Self::Apk) => "g++",
            (Need::Compiler, Self::Dnf | Self::Zypper) => "gcc-c++",
            (Need::Compiler, Self::Pacman) => "gcc",
            (Need::Libclang, Self::Apt) => "libclang-dev",
            (Need::Libclang, Self::Dnf | Self::Zypper) => "clang-devel",
            (Need::Libclang, Self::Pacman) => "clang",
            (Need::Libclang, Self::Apk) => "clang-dev",
            (Need::Compiler | Need::Libclang, Self::Brew) => "llvm",
            (Need::Ccache, _) => "ccache",
        }
    }

    /// The programs to run, in order, each with its arguments.
    pub(crate) fn install(self, needs: &[Need]) -> Vec<Vec<&'static str>> {
        let (mut steps, mut install) = match self {
            Self::Apt => (
                vec![vec!["apt-get", "update"]],
                vec!["apt-get", "install", "-y", "--no-install-recommends"],
            ),
            Self::Dnf => (vec![], vec!["dnf", "install", "-y"]),
            Self::Zypper => (vec![], vec!["zypper", "--non-interactive", "install"]),
            Self::Pacman => (vec![], vec!["pacman", "-Sy", "--noconfirm"]),
            Self::Apk => (vec![], vec!["apk", "add"]),
            Self::Brew => (vec![], vec!["brew", "install"]),
        };
        for need in needs {
            let package = self.package(*need);
            if !install.contains(&package) {
                install.push(package);
            }
        }
        steps.push(install);
        steps
    }

    /// The same as one line to type, by a user who is not root.
    pub(crate) fn install_line(self, needs: &[Need]) -> String {
        let sudo = if self == Self::Brew { "" } else { "sudo " };
        let steps = self.install(needs);
        let lines: Vec<String> = steps
            .iter()
            .map(|words| format!("{sudo}{}", words.join(" ")))
            .collect();
        lines.join(" && ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_type_names_every_package_once() {
        assert_eq!(
            Manager::Apt.install_line(&[Need::Libclang]),
            "sudo apt-get update && \
             sudo apt-get install -y --no-install-recommends libclang-dev"
        );
        assert_eq!(
            Manager::Brew.install_line(&[Need::Compiler, Need::Libclang]),
            "brew install llvm"
        );
        assert_eq!(
            Manager::Dnf.install_line(&[Need::Compiler, Need::Libclang, Need::Ccache]),
            "sudo dnf install -y gcc-c++ clang-devel ccache"
        );
    }

    #[test]
    fn every_manager_has_a_package_for_every_need() {
        for (program, manager) in MANAGERS {
            for need in [Need::Compiler, Need::Libclang, Need::Ccache] {
                let steps = manager.install(&[need]);
                let install = steps.last().unwrap();
                assert_eq!(install[0], program);
                assert!(install.contains(&manager.package(need)));
            }
        }
    }
}
