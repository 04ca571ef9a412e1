//! Reading layers: manifests, what is stored beside them, and data files.

use super::{Chain, Collection};
use crate::error::{Error, Result};
use crate::fetch;
use crate::hash::ContentHash;
use crate::layer::MANIFEST_NAME;
use crate::manifest::{FileEntry, Manifest, codec};
use crate::marker::{LayerEntry, Tombstone};
use crate::path::LayerPath;
use crate::plan::{self, Link, named_besides};

impl Collection {
    /// Reads a layer's manifest by its path alone, with its hash.
    ///
    /// The manifest is whole and undamaged, and belongs to this collection and this path. That it is the
    /// one that was committed is known only by the index: [`Collection::read_layer`].
    ///
    /// # Errors
    /// [`Error::ManifestMissing`]; [`Error::BadMagic`], [`Error::Truncated`], [`Error::TrailingBytes`],
    /// [`Error::FrameChecksum`], [`Error::NewerFormat`], [`Error::TooLarge`], [`Error::InvalidManifest`] for
    /// what is wrong with it; [`Error::MissingObject`] for a side file; those of the store.
    pub async fn read_manifest(&self, layer: &LayerPath) -> Result<(Manifest, ContentHash)> {
        self.read_manifest_of(layer, None).await
    }

    /// Reads the manifest of a layer that the index lists.
    ///
    /// # Errors
    /// Those of [`Collection::read_manifest`], and [`Error::HashMismatch`] if it is not the one that was
    /// committed.
    pub async fn read_layer(&self, entry: &LayerEntry) -> Result<Manifest> {
        let (manifest, _) = self
            .read_manifest_of(&entry.path, Some(entry.manifest_hash))
            .await?;
        if (manifest.start, manifest.end) != (entry.start, entry.end) {
            return Err(Error::InvalidManifest {
                path: entry.path.object(MANIFEST_NAME).to_string(),
                reason: format!(
                    "it covers {} to {}, its marker says {} to {}",
                    manifest.start, manifest.end, entry.start, entry.end
                ),
            });
        }
        Ok(manifest)
    }

    /// Checks that layers of a chain, oldest first and each with its manifest, continue each other: their
    /// manifests name their parents by hash, which the index alone does not prove.
    ///
    /// # Errors
    /// [`Error::BrokenChain`] for the first that does not; those of reading what it names instead.
    pub async fn check_links(
        &self,
        chain: &Chain,
        layers: &[LayerEntry],
        manifests: &[Manifest],
    ) -> Result<()> {
        let chosen = links(manifests, layers);
        let besides: Vec<LayerEntry> = named_besides(&chosen, chain.layers())
            .into_iter()
            .cloned()
            .collect();
        let mut read = Vec::new();
        for layer in &besides {
            read.push(self.read_layer(layer).await?);
        }
        plan::check_links(&chosen, &links(&read, &besides))
    }

    async fn read_manifest_of(
        &self,
        layer: &LayerPath,
        expected: Option<ContentHash>,
    ) -> Result<(Manifest, ContentHash)> {
        let object = layer.object(MANIFEST_NAME);
        let path = object.to_string();
        let parse = |content: &[u8]| {
            let actual = ContentHash::of(content);
            if Tombstone::is(content) {
                return Ok(None);
            }
            // What is damaged says so itself, and better than a hash; an intact one may be the wrong one.
            let decoded = codec::decode(&path, content, self.seal())?;
            match expected.filter(|expected| *expected != actual) {
                Some(expected) => Err(Error::HashMismatch {
                    path: path.clone(),
                    expected,
                    actual,
                }),
                None => Ok(Some((decoded, actual))),
            }
        };
        let read = self
            .store()
            .read(&object, codec::MAX_OBJECT_BYTES, parse)
            .await?;
        let Some((mut decoded, hash)) = read.flatten() else {
            let (layer, location) = (layer.clone(), self.location().to_owned());
            return Err(Error::ManifestMissing {
                layer,
                path,
                location,
            });
        };
        for side_file in decoded.side_files().to_vec() {
            let object = layer.object(&side_file.name);
            let parse = |content: &[u8]| {
                codec::decode_side_file(&side_file, object.as_ref(), content, self.seal())
            };
            let list = self
                .store()
                .read(&object, codec::MAX_OBJECT_BYTES, parse)
                .await?;
            let missing = || Error::MissingObject {
                path: object.to_string(),
                location: self.location().to_owned(),
            };
            decoded.add(list.ok_or_else(missing)?, object.as_ref())?;
        }
        let manifest = decoded.finish(&path)?;
        if manifest.collection_id != self.id() {
            let reason = format!(
                "it belongs to collection {}, this is {}",
                manifest.collection_id,
                self.id()
            );
            return Err(Error::InvalidManifest { path, reason });
        }
        if manifest.layer != *layer {
            let reason = format!("it belongs to layer '{}'", manifest.layer);
            return Err(Error::InvalidManifest { path, reason });
        }
        Ok((manifest, hash))
    }

    /// Copies a data file to a local one, which is replaced if it exists; verifies it on the way, and
    /// opens it if it is sealed.
    ///
    /// Returns once the file and its directory entry are durable. Memory stays bounded, whatever the
    /// manifest says. On an error the local file is removed.
    ///
    /// # Errors
    /// [`Error::MissingObject`]; [`Error::CorruptFile`] if size, CRC32 or BLAKE3 differ, after reading it a
    /// second time; [`Error::Tampered`] if those are right and it does not open; [`Error::MissingLocality`];
    /// [`Error::LocalFile`]; those of the store.
    #[tracing::instrument(level = "debug", skip_all, fields(layer = %layer, file = %file.id))]
    pub async fn fetch(
        &self,
        layer: &LayerPath,
        file: &FileEntry,
        to: &std::path::Path,
    ) -> Result<()> {
        fetch::read_verified(
            self.store_of(layer, file.locality.as_ref())?,
            &layer.file_object(file),
            fetch::expected(file),
            self.seal(),
            Some(to),
        )
        .await
    }

    /// Reads a data file whole and verifies it, opening it if it is sealed, and keeps nothing.
    ///
    /// # Errors
    /// Those of [`Collection::fetch`].
    pub async fn verify_file(&self, layer: &LayerPath, file: &FileEntry) -> Result<()> {
        fetch::read_verified(
            self.store_of(layer, file.locality.as_ref())?,
            &layer.file_object(file),
            fetch::expected(file),
            self.seal(),
            None,
        )
        .await
    }
}

fn links<'m>(manifests: &'m [Manifest], layers: &[LayerEntry]) -> Vec<Link<'m>> {
    let pairs = manifests.iter().zip(layers);
    pairs
        .map(|(manifest, layer)| Link::of(manifest, layer.manifest_hash))
        .collect()
}
