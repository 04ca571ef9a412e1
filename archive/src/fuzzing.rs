//! The codecs behind [`Collection`](crate::Collection), for the fuzz targets alone: with these a fuzzer
//! gets past the checksums to what they guard. No part of the crate's interface.

pub mod sealed;

use bytes::Bytes;

use crate::error::Result;
use crate::frame::{self, FrameKind};
use crate::manifest::Manifest;
use crate::manifest::codec::{self, ListLimits, SideFile};
use crate::marker;
use crate::path::FullPath;
use crate::seal::Seal;

const PATH: &str = "fuzzed";

/// A manifest object with this JSON in it, whatever it says.
///
/// # Errors
/// None: compression into memory fails only where memory does.
pub fn seal_manifest(json: &[u8]) -> Result<Vec<u8>> {
    frame::seal(FrameKind::Manifest, json)
}

/// Writes a manifest with at most so many files in a list, and reads it back, side files and all.
///
/// # Errors
/// Those of the codec, in either direction.
pub fn through_objects(manifest: &Manifest, files_per_list: usize) -> Result<Manifest> {
    let limits = ListLimits {
        files: files_per_list,
        ..ListLimits::default()
    };
    let encoded = codec::encode(manifest, PATH, limits, &Seal::default())?;
    let mut decoded = codec::decode(PATH, &encoded.object, &Seal::default())?;
    let named = decoded.side_files().to_vec();
    for (side_file, (_, object)) in named.iter().zip(&encoded.side_files) {
        decoded.add(
            codec::decode_side_file(side_file, PATH, object, &Seal::default())?,
            PATH,
        )?;
    }
    decoded.finish(PATH)
}

/// Reads a manifest object whose side files all hold this JSON; how many it names.
///
/// # Errors
/// Those of the codec.
pub fn with_side_file(object: &[u8], list: &[u8]) -> Result<usize> {
    let mut decoded = codec::decode(PATH, object, &Seal::default())?;
    let list = Bytes::from(frame::seal(FrameKind::FileList, list)?);
    let named = decoded.side_files().to_vec();
    for side_file in &named {
        let genuine = SideFile {
            blake3: crate::hash::ContentHash::of(&list),
            ..side_file.clone()
        };
        decoded.add(
            codec::decode_side_file(&genuine, PATH, &list, &Seal::default())?,
            PATH,
        )?;
    }
    decoded.finish(PATH)?;
    Ok(named.len())
}

/// Whether this is the name of a marker: of a full's, or in the chain of that full.
#[must_use]
pub fn is_marker(full: &FullPath, name: &str) -> bool {
    marker::parse_latest(name).is_some() || marker::parse_chain_marker(full, name).is_some()
}
