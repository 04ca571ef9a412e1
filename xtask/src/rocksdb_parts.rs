//! Compiling RocksDB's sources in parts of about the same size, each a file that includes others,
//! on all processors that memory allows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use crate::children;
use crate::error::Error;
use crate::rocksdb::Recipe;
use crate::workspace::Workspace;

/// Parts to aim for: enough to keep many processors busy, few enough to share the headers' cost.
const PARTS: u64 = 24;

/// Memory that one part takes at most, with a margin.
const KIB_A_PART: u64 = 1_500_000;

/// Compiled apart: the sources' template of it is replaced by a file of `librocksdb-sys`.
const VERSION_TEMPLATE: &str = "util/build_version.cc";
const VERSION_SOURCE: &str = "build_version.cc";

/// Compiles everything in `work` and leaves the archive there under the name `archive`.
///
/// # Errors
/// [`Error::Failed`] where the compiler or `ar` fails; [`Error::File`] for the list of sources, or
/// a source, that cannot be read.
pub(crate) fn compile(
    workspace: &Workspace,
    recipe: &Recipe,
    work: &Path,
    archive: &str,
) -> Result<(), Error> {
    let parts = write_parts(recipe, work)?;
    let jobs = jobs(
        thread::available_parallelism().map_or(1, usize::from),
        available_kib(),
    );
    println!(
        "compiling RocksDB in {} parts, {jobs} at a time: {} minutes of processor time, once",
        parts.len(),
        parts.len() * 2 / 3
    );
    let objects: Vec<PathBuf> = parts.iter().map(|part| part.with_extension("o")).collect();
    compile_all(workspace, recipe, &parts, jobs)?;
    let mut ar = workspace.command("ar");
    ar.arg("crs").arg(work.join(archive)).args(&objects);
    children::run(&mut ar)
}

fn compile_all(
    workspace: &Workspace,
    recipe: &Recipe,
    parts: &[PathBuf],
    jobs: usize,
) -> Result<(), Error> {
    // The parts still to do, and the first failure, which empties the queue.
    let queue = Mutex::new((parts.iter(), Ok(())));
    let next = || queue.lock().ok().and_then(|mut queue| queue.0.next());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(part) = next() {
                    let mut compiler = workspace.command(&recipe.compiler);
                    compiler.current_dir(&recipe.folder).args(&recipe.flags);
                    compiler
                        .arg("-c")
                        .arg(part)
                        .arg("-o")
                        .arg(part.with_extension("o"));
                    let ended = children::run(&mut compiler);
                    let name = part.file_stem().unwrap_or_default().to_string_lossy();
                    println!(
                        "   {name} {}",
                        if ended.is_ok() { "compiled" } else { "FAILED" }
                    );
                    if let (Err(error), Ok(mut queue)) = (ended, queue.lock()) {
                        *queue = ([].iter(), Err(error));
                    }
                }
            });
        }
    });
    queue.into_inner().map_or(Ok(()), |(_, ended)| ended)
}

/// Writes the parts and returns their paths, that of the version's own source last.
fn write_parts(recipe: &Recipe, work: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = read(&recipe.folder.join("rocksdb_lib_sources.txt"))?;
    let mut sources = Vec::new();
    for name in list
        .split_whitespace()
        .filter(|name| *name != VERSION_TEMPLATE)
    {
        let path = recipe.folder.join("rocksdb").join(name);
        let bytes = path.metadata().map(|file| file.len());
        let bytes = bytes.map_err(|source| Error::File {
            action: "read",
            path,
            source,
        })?;
        sources.push((name, bytes));
    }
    let mut paths = Vec::new();
    for (number, names) in split(&sources).iter().enumerate() {
        let text: String = names
            .iter()
            .map(|name| format!("#include \"{name}\"\n"))
            .collect();
        paths.push(write(
            work.join(format!("part-{:02}.cc", number + 1)),
            &text,
        )?);
    }
    let version = read(&recipe.folder.join(VERSION_SOURCE))?;
    paths.push(write(work.join("version.cc"), &version)?);
    Ok(paths)
}

/// Cuts the list, in its order, where a part has reached its share of the bytes.
fn split<'a>(sources: &[(&'a str, u64)]) -> Vec<Vec<&'a str>> {
    let share = sources.iter().map(|(_, bytes)| bytes).sum::<u64>() / PARTS;
    let mut parts = Vec::new();
    let (mut part, mut filled) = (Vec::new(), 0);
    for (name, bytes) in sources {
        part.push(*name);
        filled += bytes;
        if filled >= share {
            parts.push(std::mem::take(&mut part));
            filled = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// As many as there are processors, unless memory holds fewer parts.
fn jobs(processors: usize, available_kib: Option<u64>) -> usize {
    let fitting = available_kib.map_or(u64::MAX, |kib| kib / KIB_A_PART);
    processors
        .min(usize::try_from(fitting).unwrap_or(usize::MAX))
        .max(1)
}

/// `MemAvailable` of `/proc/meminfo`, where there is one.
fn available_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        action: "read",
        path: path.to_path_buf(),
        source,
    })
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf, Error> {
    match fs::write(&path, text) {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::File {
            action: "create",
            path,
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_source_once_and_in_order() {
        let names: Vec<String> = (0..343).map(|number| format!("db/{number}.cc")).collect();
        let sources: Vec<(&str, u64)> = names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.as_str(), (i as u64 * 37) % 90))
            .collect();
        let parts = split(&sources);
        assert!(
            (PARTS as usize / 2..=PARTS as usize + 1).contains(&parts.len()),
            "{}",
            parts.len()
        );
        assert_eq!(parts.concat(), names);
        assert!(split(&[]).is_empty());
    }

    #[test]
    fn memory_limits_the_jobs() {
        assert_eq!(jobs(2, Some(24 << 20)), 2);
        assert_eq!(jobs(16, Some(4 << 20)), 2);
        assert_eq!(jobs(4, Some(1000)), 1);
        assert_eq!(jobs(8, None), 8);
    }

    /// A recipe whose "compiler" writes the object, or fails on one source.
    fn recipe(folder: &Path, fails_on: &str) -> Recipe {
        fs::create_dir_all(folder.join("rocksdb/db")).unwrap();
        let list = format!("db/a.cc\ndb/b.cc\n{VERSION_TEMPLATE}\n");
        fs::write(folder.join("rocksdb_lib_sources.txt"), list).unwrap();
        fs::write(folder.join(VERSION_SOURCE), "int version;\n").unwrap();
        for name in ["a", "b"] {
            fs::write(
                folder.join(format!("rocksdb/db/{name}.cc")),
                format!("int {name};\n"),
            )
            .unwrap();
        }
        let script = format!("#!/bin/sh\n! grep -q '{fails_on}' \"$3\" && cp \"$3\" \"$5\"\n");
        let compiler = folder.join("compiler");
        fs::write(&compiler, script).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).unwrap();
        Recipe {
            compiler: compiler.to_str().unwrap().to_owned(),
            flags: vec!["-flag".to_owned()],
            folder: folder.to_path_buf(),
        }
    }

    #[test]
    fn the_archive_holds_every_part() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), "nothing");
        let work = folder.path().join("work");
        fs::create_dir(&work).unwrap();
        let workspace = Workspace::locate().unwrap();
        compile(&workspace, &recipe, &work, "libx.a").unwrap();
        let mut ar = workspace.command("ar");
        let members = children::read_output(ar.arg("t").arg(work.join("libx.a"))).unwrap();
        assert_eq!(members, "part-01.o\npart-02.o\nversion.o\n");
    }

    #[test]
    fn a_part_that_fails_stops_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let recipe = recipe(folder.path(), "a.cc");
        let workspace = Workspace::locate().unwrap();
        let parts = write_parts(&recipe, folder.path()).unwrap();
        let error = compile_all(&workspace, &recipe, &parts, 1).unwrap_err();
        assert!(matches!(error, Error::Failed { .. }), "{error}");
        assert!(!folder.path().join("version.o").exists());
    }
}
