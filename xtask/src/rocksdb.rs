//! One compile of RocksDB for every profile, feature set, toolchain and checkout of this user.
//!
//! RocksDB is 340 C++ files, and most of the time that each takes to compile goes into the same
//! headers. Left to cargo it is compiled once a profile and once a set of features, file by file:
//! half an hour of processor time each. Here it is compiled once, several files at a time (upstream
//! tests such builds: `make unity_test`), into an archive in the user's cache folder, in a third of
//! the time. `.cargo/rocksdb.toml`, which `.cargo/config.toml` includes where it exists, tells
//! every `cargo` in the checkout to link it; only the bindings are still made by cargo.
//!
//! The archive's folder is named by everything that its content depends on: compiler, flags and
//! versions. The flags are those of the build script of `librocksdb-sys`, for the one version that
//! they were copied from; any other version, any other platform, and any failure here leave the
//! work to that build script, which needs nothing but time. Who wants that anyway sets
//! `ROCKSDB_COMPILE=1`.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::children;
use crate::error::Error;
use crate::metadata::{self, Source};
use crate::rocksdb_parts;
use crate::workspace::{self, Workspace};

/// The version whose build script the flags below mirror.
const MIRRORED_VERSION: &str = "0.19.0+11.8.1";

/// What that build script gives the compiler on x86-64 Linux, with the features `lz4` and `zstd`
/// and the target features of `.cargo/config.toml`.
const FLAGS: [&str; 29] = [
    "-O3",
    "-ffunction-sections",
    "-fdata-sections",
    "-fPIC",
    "-m64",
    "-march=x86-64",
    "-msse2",
    "-msse4.1",
    "-msse4.2",
    "-mpclmul",
    "-std=c++20",
    "-w",
    "-include",
    "cstdint",
    "-Irocksdb/include",
    "-Irocksdb",
    "-I.",
    "-DLZ4=1",
    "-DZSTD=1",
    "-DNDEBUG=1",
    "-DHAVE_ALIGNED_NEW",
    "-DHAVE_UINT128_EXTENSION",
    "-DOS_LINUX",
    "-DROCKSDB_PLATFORM_POSIX",
    "-DROCKSDB_LIB_IO_POSIX",
    "-DROCKSDB_SCHED_GETCPU_PRESENT",
    "-DROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "-DROCKSDB_FALLOCATE_PRESENT",
    "-DROCKSDB_RANGESYNC_PRESENT",
];

/// The archive's file name, which the linker knows as `rocksdb`.
const ARCHIVE: &str = "librocksdb.a";

/// What a compile starts from.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// The C++ compiler.
    pub(crate) compiler: String,
    /// Its flags, complete.
    pub(crate) flags: Vec<String>,
    /// The folder of `librocksdb-sys`, which the flags' relative folders start from.
    pub(crate) folder: PathBuf,
}

/// Makes sure that cargo links one archive of RocksDB, compiling it first where this user has none
/// yet. Where that is not possible, says so and leaves RocksDB to cargo.
///
/// # Errors
/// [`Error::File`] where `.cargo/rocksdb.toml` can be neither written nor removed; [`Error::Failed`]
/// where cargo cannot tell where the sources are.
pub(crate) fn prepare(workspace: &Workspace) -> Result<(), Error> {
    let chosen = ["ROCKSDB_COMPILE", "ROCKSDB_LIB_DIR"]
        .iter()
        .any(|name| env::var_os(name).is_some());
    if chosen || !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Ok(());
    }
    match archive(workspace) {
        Ok(Some(folder)) => point_cargo_to(workspace, Some(&folder)),
        Ok(None) => point_cargo_to(workspace, None),
        Err(error) => {
            eprintln!("warning: RocksDB is left to cargo, which takes longer: {error}");
            point_cargo_to(workspace, None)
        }
    }
}

/// The folder of the archive; `None` where the flags are for another version.
fn archive(workspace: &Workspace) -> Result<Option<PathBuf>, Error> {
    let sources = metadata::sources(workspace)?;
    let rocksdb = source(&sources, "librocksdb-sys")?;
    if rocksdb.version != MIRRORED_VERSION {
        println!(
            "RocksDB is left to cargo: xtask/src/rocksdb.rs has the flags of {MIRRORED_VERSION}, \
             and this is {}",
            rocksdb.version
        );
        return Ok(None);
    }
    let (lz4, zstd) = (source(&sources, "lz4-sys")?, source(&sources, "zstd-sys")?);
    let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
    for headers in [
        lz4.folder()?.join("liblz4/lib"),
        zstd.folder()?.join("zstd/lib"),
    ] {
        flags.push(format!("-I{}", headers.display()));
    }
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let identity = children::read_output(workspace.command(&compiler).arg("--version"))?;
    let key = key(&[
        &identity,
        &rocksdb.version,
        &lz4.version,
        &zstd.version,
        &FLAGS.join(" "),
    ]);
    let folder = workspace::cache_folder(workspace.root())
        .join("rocksdb")
        .join(key);
    // An archive cut short by a full disk must not stay for good.
    if folder
        .join(ARCHIVE)
        .metadata()
        .is_ok_and(|file| file.len() > 1 << 20)
    {
        return Ok(Some(folder));
    }
    let recipe = Recipe {
        compiler,
        flags,
        folder: rocksdb.folder()?,
    };
    compile(workspace, &recipe, &folder)?;
    Ok(Some(folder))
}

fn source<'a>(sources: &'a [Source], name: &str) -> Result<&'a Source, Error> {
    let found = sources.iter().find(|source| source.name == name);
    found.ok_or_else(|| Error::Absent {
        what: format!("package `{name}`"),
    })
}

/// A folder name that changes when any of the parts does.
fn key(parts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{MIRRORED_VERSION}-{:016x}", hasher.finish())
}

/// Compiles into a folder of our own beside `folder`, then moves the archive there in one step, so
/// that an interrupted compile leaves nothing that looks complete.
fn compile(workspace: &Workspace, recipe: &Recipe, folder: &Path) -> Result<(), Error> {
    let work = folder.with_file_name(format!("building-{}", std::process::id()));
    let built = create(&work)
        .and_then(|()| rocksdb_parts::compile(workspace, recipe, &work, ARCHIVE))
        .and_then(|()| create(folder))
        .and_then(|()| {
            let (from, to) = (work.join(ARCHIVE), folder.join(ARCHIVE));
            fs::rename(from, &to).map_err(|source| Error::File {
                action: "create",
                path: to,
                source,
            })
        });
    // Whatever happened, the parts are of no more use; what is left over costs only space.
    let _ = fs::remove_dir_all(&work);
    built
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|source| Error::File {
        action: "create",
        path: folder.to_path_buf(),
        source,
    })
}

/// Writes or removes `.cargo/rocksdb.toml`; leaves it alone where it is right already.
fn point_cargo_to(workspace: &Workspace, folder: Option<&Path>) -> Result<(), Error> {
    let path = workspace.root().join(".cargo/rocksdb.toml");
    let (action, done) = match folder {
        Some(folder) => {
            let text = configuration(folder);
            if fs::read_to_string(&path).is_ok_and(|old| old == text) {
                return Ok(());
            }
            ("create", fs::write(&path, text))
        }
        None if path.exists() => ("remove", fs::remove_file(&path)),
        None => return Ok(()),
    };
    done.map_err(|source| Error::File {
        action,
        path,
        source,
    })
}

fn configuration(folder: &Path) -> String {
    // A Rust string's escapes are TOML's too, for everything that a path is likely to hold.
    format!(
        "# Written by `cargo xtask`. Remove this file to have cargo compile RocksDB itself.\n\
         [env]\nROCKSDB_LIB_DIR = {:?}\nROCKSDB_STATIC = \"1\"\n",
        folder.to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_depends_on_every_part() {
        let first = key(&["c++ 12", "0.19.0"]);
        assert_eq!(first, key(&["c++ 12", "0.19.0"]));
        assert_ne!(first, key(&["c++ 13", "0.19.0"]));
        assert_ne!(first, key(&["c++ 120.", "19.0"]));
        assert!(first.starts_with(MIRRORED_VERSION));
    }

    #[test]
    fn cargo_is_told_where_and_how() {
        let text = configuration(Path::new("/home/a b/.cache/x"));
        assert!(
            text.contains("ROCKSDB_LIB_DIR = \"/home/a b/.cache/x\"\n"),
            "{text}"
        );
        assert!(text.contains("ROCKSDB_STATIC = \"1\"\n"), "{text}");
    }

    #[test]
    fn the_flags_are_for_the_version_in_use() {
        let workspace = Workspace::locate().unwrap();
        let sources = metadata::sources(&workspace).unwrap();
        assert_eq!(
            source(&sources, "librocksdb-sys").unwrap().version,
            MIRRORED_VERSION
        );
    }
}
