//! Finding libclang, which RocksDB's bindings need while they are built.
//!
//! The search is that of the crate `clang-sys`, in its order: `LIBCLANG_PATH` alone where it is
//! set; else the folders that `llvm-config --prefix` names, `LD_LIBRARY_PATH`, `LIBRARY_PATH`, and
//! the folders where distributions put it. What is found here is therefore found by the build too,
//! and no variable has to be set for it: setting one would make cargo build RocksDB again.
//!
//! A library alone is not enough: libclang reads `stddef.h` and its kin from headers of its own,
//! which some distributions put into another package.

use std::env;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folder patterns for Linux and FreeBSD.
const LINUX_FOLDERS: [&str; 7] = [
    "/usr/local/llvm*/lib*",
    "/usr/local/lib*/*/*",
    "/usr/local/lib*/*",
    "/usr/local/lib*",
    "/usr/lib*/*/*",
    "/usr/lib*/*",
    "/usr/lib*",
];

/// Folder patterns for macOS.
const MACOS_FOLDERS: [&str; 4] = [
    "/usr/local/opt/llvm*/lib/llvm*/lib",
    "/Library/Developer/CommandLineTools/usr/lib",
    "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
    "/usr/local/opt/llvm*/lib",
];

/// Where libclang's own headers lie when they are not beside the library.
const HEADER_PATTERNS: [&str; 3] = [
    "/usr/lib*/clang/*/include/stddef.h",
    "/usr/lib*/llvm*/lib*/clang/*/include/stddef.h",
    "/usr/local/lib*/clang/*/include/stddef.h",
];

/// Where to look, in order of preference.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// `LIBCLANG_PATH`: a file or a folder. Nothing else is searched where it is set.
    only: Option<PathBuf>,
    /// Folders named by `llvm-config` and the library variables.
    folders: Vec<PathBuf>,
    /// Patterns of standard folders.
    patterns: Vec<String>,
    /// Patterns of `stddef.h` in standard folders.
    header_patterns: Vec<String>,
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The library, its headers with it.
    Usable(PathBuf),
    /// The library, but not the headers that it needs.
    WithoutHeaders(PathBuf),
    /// Nothing.
    Nothing,
}

impl Places {
    /// The places that `clang-sys` searches on this machine.
    pub(crate) fn of_this_machine() -> Self {
        let mut folders = llvm_config_folders();
        for variable in ["LD_LIBRARY_PATH", "LIBRARY_PATH"] {
            if let Some(paths) = env::var_os(variable) {
                folders.extend(env::split_paths(&paths));
            }
        }
        let patterns: &[&str] = if cfg!(target_os = "macos") {
            &MACOS_FOLDERS
        } else {
            &LINUX_FOLDERS
        };
        Self {
            only: env::var_os("LIBCLANG_PATH").map(PathBuf::from),
            folders,
            patterns: patterns.iter().map(ToString::to_string).collect(),
            header_patterns: HEADER_PATTERNS.iter().map(ToString::to_string).collect(),
        }
    }

    /// Searches the places for a library of this machine's word size.
    pub(crate) fn search(&self) -> Found {
        let mut libraries = self
            .libraries()
            .into_iter()
            .filter(|path| fits_this_machine(path));
        let Some(first) = libraries.next() else {
            return Found::Nothing;
        };
        match std::iter::once(&first)
            .cloned()
            .chain(libraries)
            .find(|path| self.has_headers(path))
        {
            Some(path) => Found::Usable(path),
            None => Found::WithoutHeaders(first),
        }
    }

    fn libraries(&self) -> Vec<PathBuf> {
        match &self.only {
            Some(path) if path.is_file() => vec![path.clone()],
            Some(path) => libraries_in(path),
            None => {
                let standard = self.patterns.iter().flat_map(|pattern| matches_of(pattern));
                self.folders
                    .iter()
                    .cloned()
                    .chain(standard)
                    .flat_map(|folder| libraries_in(&folder))
                    .collect()
            }
        }
    }

    /// libclang looks beside itself, by the path it was loaded from and by its real path; the
    /// distributions that move the headers teach it where.
    fn has_headers(&self, library: &Path) -> bool {
        let real = library.canonicalize().ok();
        let beside = [Some(library), real.as_deref()]
            .into_iter()
            .flatten()
            .filter_map(Path::parent)
            .flat_map(|folder| [folder.join("clang"), folder.join("../lib/clang")])
            .map(|folder| format!("{}/*/include/stddef.h", glob_escape(&folder)));
        beside
            .chain(self.header_patterns.iter().cloned())
            .any(|pattern| !matches_of(&pattern).is_empty())
    }
}

fn llvm_config_folders() -> Vec<PathBuf> {
    let program = env::var_os("LLVM_CONFIG_PATH").unwrap_or_else(|| "llvm-config".into());
    let output = Command::new(program)
        .arg("--prefix")
        .stderr(Stdio::null())
        .output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let prefix = PathBuf::from(text.lines().next().unwrap_or_default());
    ["bin", "lib", "lib64"]
        .map(|folder| prefix.join(folder))
        .into()
}

fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    matches_of(&format!(
        "{}/{}clang*",
        glob_escape(folder),
        env::consts::DLL_PREFIX
    ))
    .into_iter()
    .filter(|path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(is_libclang)
    })
    .collect()
}

/// `libclang.so`, `libclang-14.so`, `libclang.so.1`, `libclang-14.so.13`; not `libclang-cpp.so.14`.
fn is_libclang(name: &str) -> bool {
    let stem = format!("{}clang", env::consts::DLL_PREFIX);
    let Some(rest) = name.strip_prefix(&stem) else {
        return false;
    };
    let suffix = env::consts::DLL_SUFFIX;
    let inner = format!("{suffix}.");
    !name.contains("-cpp.")
        && (rest == suffix
            || rest.starts_with(&inner)
            || (rest.starts_with('-') && (rest.ends_with(suffix) || rest.contains(&inner))))
}

/// Whether the file is a shared library of this word size; only ELF files say so in a few bytes.
fn fits_this_machine(path: &Path) -> bool {
    if cfg!(not(any(target_os = "linux", target_os = "freebsd"))) {
        return path.is_file();
    }
    let mut header = [0_u8; 5];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut header));
    let class = if cfg!(target_pointer_width = "64") {
        2
    } else {
        1
    };
    read.is_ok() && header == [0x7f, b'E', b'L', b'F', class]
}

fn matches_of(pattern: &str) -> Vec<PathBuf> {
    glob::glob(pattern)
        .map(|paths| paths.filter_map(Result::ok).collect())
        .unwrap_or_default()
}

fn glob_escape(folder: &Path) -> String {
    glob::Pattern::escape(&folder.to_string_lossy())
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;
    use std::fs;

    const LIBRARY: &[u8] = b"\x7fELF\x02 and the rest";
    const LIBRARY_32: &[u8] = b"\x7fELF\x01 and the rest";

    struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        fn with(files: &[(&str, &[u8])]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, bytes) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Self { folder }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn places(&self) -> Places {
            let root = self.folder.path().to_str().unwrap();
            Places {
                only: None,
                folders: vec![self.path("opt/lib")],
                patterns: vec![format!("{root}/usr/lib*/*"), format!("{root}/usr/lib*")],
                header_patterns: vec![format!("{root}/usr/lib/clang/*/include/stddef.h")],
            }
        }
    }

    #[test]
    fn names_of_libclang() {
        for name in [
            "libclang.so",
            "libclang-14.so",
            "libclang.so.1",
            "libclang-14.so.13",
        ] {
            assert!(is_libclang(name), "{name}");
        }
        for name in [
            "libclang-cpp.so.14",
            "libclangAST.a",
            "libclang.a",
            "libLLVM-14.so",
        ] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn a_standard_folder_is_searched_after_the_named_ones() {
        let machine = Machine::with(&[
            ("usr/lib/x86_64-linux-gnu/libclang-14.so.1", LIBRARY),
            ("usr/lib/clang/14/include/stddef.h", b""),
        ]);
        let standard = machine.path("usr/lib/x86_64-linux-gnu/libclang-14.so.1");
        assert_eq!(machine.places().search(), Found::Usable(standard));

        fs::create_dir_all(machine.path("opt/lib")).unwrap();
        fs::write(machine.path("opt/lib/libclang.so"), LIBRARY).unwrap();
        assert_eq!(
            machine.places().search(),
            Found::Usable(machine.path("opt/lib/libclang.so"))
        );
    }

    #[test]
    fn a_library_of_another_word_size_does_not_count() {
        let machine = Machine::with(&[
            ("usr/lib/libclang.so", LIBRARY_32),
            ("usr/lib/libclang-15.so", b"no library at all"),
        ]);
        assert_eq!(machine.places().search(), Found::Nothing);
    }

    #[test]
    fn a_library_without_headers_is_told_apart() {
        let machine = Machine::with(&[("usr/lib/libclang.so.1", LIBRARY)]);
        let library = machine.path("usr/lib/libclang.so.1");
        assert_eq!(machine.places().search(), Found::WithoutHeaders(library));
    }

    #[test]
    fn headers_beside_the_library_count() {
        let machine = Machine::with(&[
            ("opt/lib/libclang.so", LIBRARY),
            ("opt/lib/clang/20/include/stddef.h", b""),
        ]);
        assert_eq!(
            machine.places().search(),
            Found::Usable(machine.path("opt/lib/libclang.so"))
        );
    }

    #[test]
    fn libclang_path_is_searched_alone() {
        let machine = Machine::with(&[
            ("opt/lib/libclang.so", LIBRARY),
            ("usr/lib/clang/14/include/stddef.h", b""),
            ("mine/libclang-9.so", LIBRARY),
        ]);
        let mine = machine.path("mine/libclang-9.so");
        for only in [mine.clone(), machine.path("mine")] {
            let places = Places {
                only: Some(only),
                ..machine.places()
            };
            assert_eq!(places.search(), Found::Usable(mine.clone()));
        }
        let places = Places {
            only: Some(machine.path("empty")),
            ..machine.places()
        };
        assert_eq!(places.search(), Found::Nothing);
    }
}
