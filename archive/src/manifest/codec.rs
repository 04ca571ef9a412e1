//! A manifest as objects: JSON, compressed and framed, long file lists beside it.
//!
//! The manifest holds its file lists itself up to 10,000 files or 8 MiB of their JSON. Beyond that they go
//! to side files of at most as many each, `BACKUP_FILES-<n>-<hash>`, which the manifest names by their
//! whole hash. They are written first; a side file that no manifest names is junk.

use std::collections::HashMap;

use bytes::Bytes;
use icecore_mvcc::KeyspaceId;
use serde::{Deserialize, Serialize};

use super::{FileEntry, Manifest};
use crate::error::{Error, Result};
use crate::frame::{self, FrameKind};
use crate::hash::ContentHash;
use crate::seal::Seal;
use crate::seal::object::Role;

/// The most bytes that are read of a manifest or side file.
pub(crate) const MAX_OBJECT_BYTES: u64 = 64 << 20;

/// The most bytes that one of them may come to when decompressed.
pub(crate) const MAX_JSON_BYTES: u64 = 256 << 20;

/// The most files of a layer; more would not fit in memory as a plan.
const MAX_FILES: u64 = 4_000_000;

/// How much of the file list one object takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListLimits {
    pub(crate) files: usize,
    pub(crate) json_bytes: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self {
            files: 10_000,
            json_bytes: 8 << 20,
        }
    }
}

/// A side file as the manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SideFile {
    /// Its object's name within the layer.
    pub(crate) name: String,
    /// Files listed in it.
    pub(crate) files: u64,
    /// BLAKE3 of the object.
    pub(crate) blake3: ContentHash,
}

/// The manifest's JSON: the manifest, and where the rest of its file lists is.
#[derive(Serialize, Deserialize)]
struct StoredManifest {
    #[serde(flatten)]
    manifest: Manifest,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    side_files: Vec<SideFile>,
}

/// A side file's JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FileList {
    files: Vec<ListedFile>,
}

/// A file with the keyspace it belongs to.
#[derive(Debug, Serialize, Deserialize)]
struct ListedFile {
    keyspace: KeyspaceId,
    #[serde(flatten)]
    file: FileEntry,
}

/// A manifest ready to be written.
#[derive(Debug)]
pub(crate) struct EncodedManifest {
    /// The manifest object.
    pub(crate) object: Bytes,
    /// Its hash.
    pub(crate) hash: ContentHash,
    /// The side files' names and objects, to be written before.
    pub(crate) side_files: Vec<(String, Bytes)>,
}

/// Encodes a manifest, and its file lists beside it if they are long; seals them if the collection is.
pub(crate) fn encode(
    manifest: &Manifest,
    path: &str,
    limits: ListLimits,
    seal: &Seal,
) -> Result<EncodedManifest> {
    manifest
        .validate()
        .map_err(|reason| invalid(path, reason))?;
    let mut stored = StoredManifest {
        manifest: manifest.clone(),
        side_files: Vec::new(),
    };
    let mut side_files = Vec::new();
    for (number, list) in split(manifest, path, limits)?.into_iter().enumerate() {
        let place = manifest.layer.object(format!("{SIDE_FILE_PREFIX}{number}"));
        let framed = frame::seal(FrameKind::FileList, &to_json(&list, path)?)?;
        let object = seal.seal(Role::FileList, place.as_ref(), framed)?;
        let blake3 = ContentHash::of(&object);
        let name = side_file_name(number, blake3);
        stored.side_files.push(SideFile {
            name: name.clone(),
            files: list.files.len() as u64,
            blake3,
        });
        side_files.push((name, object));
    }
    if !side_files.is_empty() {
        stored
            .manifest
            .keyspaces
            .iter_mut()
            .for_each(|keyspace| keyspace.files.clear());
    }
    let framed = frame::seal(FrameKind::Manifest, &to_json(&stored, path)?)?;
    let object = seal.seal(Role::Manifest, path, framed)?;
    if object.len() as u64 > MAX_OBJECT_BYTES {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            limit_bytes: MAX_OBJECT_BYTES,
        });
    }
    Ok(EncodedManifest {
        hash: ContentHash::of(&object),
        object,
        side_files,
    })
}

/// How the name of a side file begins.
const SIDE_FILE_PREFIX: &str = "BACKUP_FILES-";

/// What a side file is sealed for: its path without the hash in it, which is that of the sealed bytes.
fn side_file_place(path: &str) -> &str {
    path.rsplit_once('-').map_or(path, |(place, _)| place)
}

/// The side file's name: its number, and enough of its hash that another writer's cannot be in its way.
fn side_file_name(number: usize, blake3: ContentHash) -> String {
    let hash = blake3.to_string();
    format!(
        "{SIDE_FILE_PREFIX}{number}-{}",
        hash.get(..32).unwrap_or_default()
    )
}

/// The file lists for side files; none if all files fit in the manifest.
fn split(manifest: &Manifest, path: &str, limits: ListLimits) -> Result<Vec<FileList>> {
    let mut lists = Vec::new();
    let mut files: Vec<ListedFile> = Vec::new();
    let mut json_bytes = 0;
    for (keyspace, file) in manifest.files() {
        let listed = ListedFile {
            keyspace: keyspace.descriptor.id,
            file: file.clone(),
        };
        let bytes = to_json(&listed, path)?.len();
        let full = files.len() >= limits.files || json_bytes + bytes > limits.json_bytes;
        if full && !files.is_empty() {
            lists.push(FileList {
                files: std::mem::take(&mut files),
            });
            json_bytes = 0;
        }
        json_bytes += bytes;
        files.push(listed);
    }
    if !lists.is_empty() {
        lists.push(FileList { files });
    }
    Ok(lists)
}

/// A manifest whose side files are still to be read.
pub(crate) struct Decoded {
    manifest: Manifest,
    side_files: Vec<SideFile>,
}

/// Checks and reads a manifest object, opened first if the collection is sealed.
pub(crate) fn decode(path: &str, object: &[u8], seal: &Seal) -> Result<Decoded> {
    let object = seal.unseal(Role::Manifest, path, path, object)?;
    let json = frame::open(FrameKind::Manifest, path, &object, MAX_JSON_BYTES)?;
    let stored: StoredManifest = from_json(&json, path)?;
    let listed = stored
        .side_files
        .iter()
        .try_fold(0_u64, |sum, side_file| sum.checked_add(side_file.files));
    if listed.is_none_or(|listed| listed > MAX_FILES) {
        return Err(invalid(
            path,
            format!("its side files list more than {MAX_FILES} files"),
        ));
    }
    for side_file in &stored.side_files {
        let plain = side_file
            .name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !plain || !side_file.name.starts_with(SIDE_FILE_PREFIX) {
            return Err(invalid(
                path,
                "a side file's name is not one of ours".to_owned(),
            ));
        }
    }
    Ok(Decoded {
        manifest: stored.manifest,
        side_files: stored.side_files,
    })
}

impl Decoded {
    /// The side files to be read, in the order in which [`Decoded::add`] wants them.
    pub(crate) fn side_files(&self) -> &[SideFile] {
        &self.side_files
    }

    /// Takes the list of a side file.
    pub(crate) fn add(&mut self, list: FileList, path: &str) -> Result<()> {
        let keyspaces = self.manifest.keyspaces.iter_mut();
        let mut files_of: HashMap<KeyspaceId, &mut Vec<FileEntry>> = keyspaces
            .map(|keyspace| (keyspace.descriptor.id, &mut keyspace.files))
            .collect();
        for listed in list.files {
            match files_of.get_mut(&listed.keyspace) {
                Some(files) => files.push(listed.file),
                None => {
                    let reason = format!("keyspace id {} is not in the manifest", listed.keyspace);
                    return Err(invalid(path, reason));
                }
            }
        }
        Ok(())
    }

    /// The manifest, once every side file was added.
    pub(crate) fn finish(self, path: &str) -> Result<Manifest> {
        self.manifest
            .validate()
            .map_err(|reason| invalid(path, reason))?;
        Ok(self.manifest)
    }
}

/// Checks and reads a side file's object.
pub(crate) fn decode_side_file(
    side_file: &SideFile,
    path: &str,
    object: &[u8],
    seal: &Seal,
) -> Result<FileList> {
    let actual = ContentHash::of(object);
    if actual != side_file.blake3 {
        let (path, expected) = (path.to_owned(), side_file.blake3);
        return Err(Error::HashMismatch {
            path,
            expected,
            actual,
        });
    }
    let object = seal.unseal(Role::FileList, side_file_place(path), path, object)?;
    let json = frame::open(FrameKind::FileList, path, &object, MAX_JSON_BYTES)?;
    let list: FileList = from_json(&json, path)?;
    if list.files.len() as u64 != side_file.files {
        let (listed, claimed) = (list.files.len(), side_file.files);
        return Err(invalid(
            path,
            format!("it lists {listed} files, the manifest says {claimed}"),
        ));
    }
    Ok(list)
}

fn invalid(path: &str, reason: String) -> Error {
    Error::InvalidManifest {
        path: path.to_owned(),
        reason,
    }
}

fn to_json<T: Serialize>(value: &T, path: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| invalid(path, format!("it cannot be written as JSON: {error}")))
}

fn from_json<'de, T: Deserialize<'de>>(json: &'de [u8], path: &str) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| invalid(path, format!("its JSON does not read: {error}")))
}
