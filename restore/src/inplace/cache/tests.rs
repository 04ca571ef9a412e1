use std::time::Duration;

use icecore_mvcc::{KeyRange, Timestamp};

use super::*;

fn entry(content: &[u8]) -> FileEntry {
    FileEntry {
        id: FileId::random(),
        span: KeyRange::all(),
        min_ts: Timestamp::MIN,
        max_ts: Timestamp::MAX,
        entries: 1,
        tombstones: 0,
        logical_bytes: 1,
        stored_bytes: content.len() as u64,
        crc32: 0,
        blake3: ContentHash::of(content),
        copied: None,
        locality: None,
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// `NAME.sst` stands for the hash of the name.
    fn path(&self, name: &str) -> PathBuf {
        let name = match name.strip_suffix(SUFFIX) {
            Some(name) => format!("{}{SUFFIX}", ContentHash::of(name.as_bytes())),
            None => name.to_owned(),
        };
        self.0.path().join(name)
    }

    /// A kept file, last used so many seconds after the epoch.
    fn kept(&self, name: &str, bytes: usize, used: u64) {
        fs::write(self.path(name), vec![0; bytes]).unwrap();
        let file = File::open(self.path(name)).unwrap();
        let used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
        file.set_modified(used).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let name = |path: PathBuf| {
            let known = ["a.sst", "b.sst", "c.sst", "old.sst", "cached.sst"];
            let known = known.iter().find(|name| self.path(name) == path);
            let other = || path.file_name().unwrap().to_str().unwrap();
            known.copied().unwrap_or_else(other).to_owned()
        };
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap().path())).collect();
        names.sort();
        names
    }
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let folder = Folder::new();
    for (name, used) in [("a.sst", 3), ("b.sst", 1), ("c.sst", 2)] {
        folder.kept(name, 10, used);
    }
    // What is none of ours stays: the folder may be somebody's database.
    fs::write(folder.0.path().join("000012.sst"), vec![0; 1000]).unwrap();
    evict(folder.0.path(), 30).unwrap();
    assert_eq!(folder.names(), ["000012.sst", "a.sst", "b.sst", "c.sst"]);
    evict(folder.0.path(), 29).unwrap();
    assert_eq!(folder.names(), ["000012.sst", "a.sst", "c.sst"]);
    evict(folder.0.path(), 10).unwrap();
    assert_eq!(folder.names(), ["000012.sst", "a.sst"]);
    evict(folder.0.path(), 0).unwrap();
    assert_eq!(folder.names(), ["000012.sst"]);
}

#[test]
fn a_file_is_kept_within_the_budget_and_found_again() {
    let folder = Folder::new();
    let content = b"the bytes of a file";
    let entry = entry(content);
    let (staged, cached) = (folder.path("staged"), folder.path("cached.sst"));
    let mut options = CacheOptions::new(folder.0.path());
    fs::write(&staged, content).unwrap();
    options.budget_bytes = content.len() as u64 - 1;
    keep(&staged, &cached, &entry, &options);
    assert_eq!(folder.names(), ["staged"], "over the budget");
    options.budget_bytes += 1;
    folder.kept("old.sst", 5, 1);
    keep(&staged, &cached, &entry, &options);
    assert_eq!(folder.names(), ["cached.sst", "staged"]);
    // Twice is as good as once.
    keep(&staged, &cached, &entry, &options);
    fs::remove_file(&staged).unwrap();
    folder.kept("cached.sst", 0, 1);
    fs::write(&cached, content).unwrap();
    assert!(take_out(&cached, &staged, &entry));
    assert_eq!(fs::read(&staged).unwrap(), content);
    // Though a read that did not come to its end left something there.
    assert!(take_out(&cached, &staged, &entry));
    fs::write(folder.path("torn"), b"the by").unwrap();
    fs::rename(folder.path("torn"), &staged).unwrap();
    assert!(take_out(&cached, &staged, &entry));
    assert_eq!(fs::read(&staged).unwrap(), content);
    let used = fs::metadata(&cached).unwrap().modified().unwrap();
    assert!(
        used.elapsed().unwrap() < Duration::from_secs(60),
        "{used:?}"
    );
}

#[test]
fn what_is_not_as_it_is_stored_is_not_kept() {
    let folder = Folder::new();
    let mut entry = entry(b"in clear");
    entry.stored_bytes += 16;
    let staged = folder.path("staged");
    fs::write(&staged, b"in clear").unwrap();
    let options = CacheOptions::new(folder.0.path());
    keep(&staged, &folder.path("cached.sst"), &entry, &options);
    assert_eq!(folder.names(), ["staged"]);
}

#[test]
fn a_damaged_file_is_removed_not_used() {
    let folder = Folder::new();
    let content = b"the bytes of a file";
    let (staged, cached) = (folder.path("staged"), folder.path("cached.sst"));
    assert!(
        !take_out(&cached, &staged, &entry(content)),
        "there is none"
    );
    for damaged in [&b"the bytes of a fi1e"[..], b"the bytes", b""] {
        fs::write(&cached, damaged).unwrap();
        assert!(!take_out(&cached, &staged, &entry(content)), "{damaged:?}");
        assert_eq!(folder.names(), Vec::<String>::new());
    }
}

#[test]
fn files_are_held_open_within_the_budget() {
    let mut held = Held::default();
    let files: Vec<FileEntry> = (0..3).map(|_| entry(&[0; 10])).collect();
    let cells: Vec<_> = files
        .iter()
        .map(|file| held.take(file.id, file.stored_bytes, 25))
        .collect();
    // The first went for the third; the others are the same still.
    assert!(Arc::ptr_eq(
        &cells[2],
        &held.take(files[2].id, files[2].stored_bytes, 25)
    ));
    assert!(Arc::ptr_eq(
        &cells[1],
        &held.take(files[1].id, files[1].stored_bytes, 25)
    ));
    assert!(!Arc::ptr_eq(
        &cells[0],
        &held.take(files[0].id, files[0].stored_bytes, 25)
    ));
    assert!(!Arc::ptr_eq(
        &cells[2],
        &held.take(files[2].id, files[2].stored_bytes, 0)
    ));
    assert_eq!(held.files.len(), 1);
    for _ in 0..2 * HELD_FILES {
        held.take(entry(b"").id, 0, 1000);
    }
    assert_eq!(held.files.len(), HELD_FILES);
}
