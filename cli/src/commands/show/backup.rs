//! `show backup`: the layers of one backup, from their manifests; with `--check` also whether the
//! files that they name are there, and as long as they should be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use icecore_archive::plan::restorable;
use icecore_archive::{
    BackupSelector, CollectionUri, FileEntry, FileId, LayerKind, Locality, Manifest,
    ManifestKeyspace, total,
};
use icecore_mvcc::{Fingerprint, KeyRange, KeyspaceName, Timestamp};
use serde::Serialize;

use super::restorable::RestorableRow;
use super::timeline;
use crate::arguments::OutputFormat;
use crate::commands::backup::{at_most, kind_text};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::KeyArguments;
use crate::output::{
    Record, human_bytes, human_count, optional_time, or_dash, plural, since_epoch, time,
};
use crate::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// The collection; several URIs where it lies in several places
    #[arg(long = "in", value_name = "URI", value_parser = UriParser, required = true)]
    collection: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
    /// Which backup: LATEST or a path
    #[arg(value_name = "SUBDIR", default_value = "LATEST")]
    backup: BackupSelector,
    /// Show each file
    #[arg(long)]
    files: bool,
    /// Look whether each file is there with its length, and fail if one is not
    #[arg(long)]
    check: bool,
    /// Draw the layers against time into a new file instead; with --db also what records protect
    #[arg(long, value_name = "FILE.svg", conflicts_with_all = ["files", "check"])]
    timeline: Option<PathBuf>,
    /// With --timeline: replace the file where there is one
    #[arg(long, requires = "timeline")]
    force: bool,
}

/// A backup as JSON tells it.
#[derive(Serialize)]
struct Shown {
    backup: String,
    layers: Vec<Layer>,
    restorable: Vec<RestorableRow>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    kind: LayerKind,
    #[serde(serialize_with = "optional_time")]
    start: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    end: Timestamp,
    #[serde(serialize_with = "time")]
    created_at: Timestamp,
    engine_id: String,
    tool_version: String,
    revision_history: bool,
    whole_engine: bool,
    patterns: Vec<String>,
    manifest_hash: String,
    keyspaces: Vec<Keyspace>,
    /// With `--check`: files that are missing or of another length.
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Keyspace {
    database: String,
    keyspace: String,
    introduced: bool,
    /// The GC threshold for which an incremental took it whole.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "optional_time"
    )]
    gc_gap: Option<Timestamp>,
    #[serde(serialize_with = "optional_time")]
    revision_start: Option<Timestamp>,
    /// Where files are copied: at most.
    entries: u64,
    /// Not known where files are copied.
    tombstones: Option<u64>,
    /// Where files are copied: at most.
    logical_bytes: u64,
    stored_bytes: u64,
    copied_files: usize,
    /// With `--check`: bytes that its files have in the collection.
    #[serde(skip_serializing_if = "Option::is_none")]
    found_bytes: Option<u64>,
    file_count: usize,
    /// Of its rows at the layer's end, or just before its drop.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
    /// With `--files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<File>>,
}

#[derive(Serialize)]
struct File {
    path: String,
    span: KeyRange,
    /// Not known of a copied file.
    #[serde(serialize_with = "optional_time")]
    min_ts: Option<Timestamp>,
    /// Of a copied file: not before its newest version.
    #[serde(serialize_with = "time")]
    max_ts: Timestamp,
    /// Of a copied file: at most.
    entries: u64,
    /// Not known of a copied file.
    tombstones: Option<u64>,
    copied: bool,
    stored_bytes: u64,
    crc32: String,
    blake3: String,
    /// In whose place it lies; absent for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<Locality>,
}

pub(crate) fn run(context: &Context, arguments: &BackupArguments) -> Result<()> {
    if let Some(file) = &arguments.timeline {
        let (collection, backup) = (&arguments.collection, &arguments.backup);
        let (keys, force) = (&arguments.keys, arguments.force);
        return timeline::run(context, collection, keys, backup, file, force);
    }
    let shown = context.wait(read(arguments))?;
    match context.format {
        OutputFormat::Json => context.document(&shown)?,
        OutputFormat::Table => print(context, &shown, arguments)?,
    }
    let problems = shown
        .layers
        .iter()
        .filter_map(|layer| layer.problems.as_ref());
    match problems.map(Vec::len).sum::<usize>() {
        0 => Ok(()),
        bad => Err(Error::Unsound(format!(
            "{} of backup {} missing or damaged; bring them back from a copy, or take a new full backup",
            plural(bad as u64, "file"),
            shown.backup
        ))),
    }
}

async fn read(arguments: &BackupArguments) -> Result<Shown> {
    let collection = places::open(&arguments.collection, &arguments.keys).await?;
    let chain = collection.open_chain(&arguments.backup).await?;
    let (mut layers, mut manifests) = (Vec::new(), Vec::new());
    for entry in chain.layers() {
        let manifest = collection.read_layer(entry).await?;
        let stored = match arguments.check {
            true => {
                let files = manifest.files().map(|(_, file)| (&entry.path, file));
                collection.check_localities(files)?;
                Some(collection.stored_files_of(&manifest).await?)
            }
            false => None,
        };
        let hash = entry.manifest_hash.to_string();
        layers.push(layer(&manifest, hash, stored.as_ref(), arguments.files));
        manifests.push(manifest);
    }
    let restorable = restorable(chain.layers(), &manifests);
    Ok(Shown {
        backup: chain.full().to_string(),
        layers,
        restorable: restorable.into_iter().map(RestorableRow::from).collect(),
    })
}

/// The files in the collection with their lengths.
type Stored = BTreeMap<FileId, u64>;

fn layer(manifest: &Manifest, hash: String, stored: Option<&Stored>, files: bool) -> Layer {
    let keyspace = |keyspace| keyspace_of(manifest, keyspace, stored, files);
    Layer {
        layer: manifest.layer.to_string(),
        kind: manifest.kind,
        start: since_epoch(manifest.start),
        end: manifest.end,
        created_at: manifest.created_at,
        engine_id: manifest.engine_id.to_string(),
        tool_version: manifest.tool_version.clone(),
        revision_history: manifest.revision_history,
        whole_engine: manifest.whole_engine,
        patterns: manifest.patterns.clone(),
        manifest_hash: hash,
        keyspaces: manifest.keyspaces.iter().map(keyspace).collect(),
        problems: stored.map(|stored| problems(manifest, stored)),
    }
}

fn keyspace_of(
    manifest: &Manifest,
    keyspace: &ManifestKeyspace,
    stored: Option<&Stored>,
    files: bool,
) -> Keyspace {
    let name = &keyspace.descriptor.name;
    let (database, last) = match KeyspaceName::parse(name) {
        Ok(name) => (name.database().to_owned(), name.last_segment().to_owned()),
        Err(_) => (String::new(), name.clone()),
    };
    let sum = |of: fn(&FileEntry) -> u64| total(keyspace.files.iter().map(of));
    let found = |stored: &Stored| {
        let lengths = keyspace
            .files
            .iter()
            .filter_map(|file| stored.get(&file.id));
        total(lengths.copied())
    };
    let file = |file: &FileEntry| File {
        path: manifest.layer.file_path(file),
        span: file.span.clone(),
        min_ts: file.copied.is_none().then_some(file.min_ts),
        max_ts: file.max_ts,
        entries: file.entries,
        tombstones: file.copied.is_none().then_some(file.tombstones),
        copied: file.copied.is_some(),
        stored_bytes: file.stored_bytes,
        crc32: format!("{:08x}", file.crc32),
        blake3: file.blake3.to_string(),
        locality: file.locality.clone(),
    };
    let copied_files = keyspace.copied_files().len();
    Keyspace {
        database,
        keyspace: last,
        introduced: keyspace.introduced,
        gc_gap: keyspace.gc_gap,
        revision_start: keyspace.revision_start,
        entries: sum(|file| file.entries),
        tombstones: (copied_files == 0).then(|| sum(|file| file.tombstones)),
        logical_bytes: sum(|file| file.logical_bytes),
        stored_bytes: sum(|file| file.stored_bytes),
        copied_files,
        found_bytes: stored.map(found),
        file_count: keyspace.files.len(),
        fingerprint: keyspace.fingerprint,
        files: files.then(|| keyspace.files.iter().map(file).collect()),
    }
}

/// Files of a layer that are missing or of another length.
fn problems(manifest: &Manifest, stored: &Stored) -> Vec<String> {
    let wrong = |file: &FileEntry| {
        let path = manifest.layer.file_path(file);
        match stored.get(&file.id) {
            Some(&bytes) if bytes == file.stored_bytes => None,
            Some(bytes) => Some(format!(
                "{path} has {bytes} bytes instead of {}",
                file.stored_bytes
            )),
            None => Some(format!("{path} is missing")),
        }
    };
    manifest
        .files()
        .filter_map(|(_, file)| wrong(file))
        .collect()
}

fn print(context: &Context, shown: &Shown, arguments: &BackupArguments) -> Result<()> {
    let rows = shown.layers.iter().flat_map(|layer| {
        let row = move |keyspace| Ok(Row { layer, keyspace });
        layer.keyspaces.iter().map(row)
    });
    context.list("keyspaces", rows)?;
    context.line("")?;
    context.list("restorable", shown.restorable.iter().map(Ok))?;
    if arguments.files {
        context.line("")?;
        let keyspaces = shown.layers.iter().flat_map(|layer| &layer.keyspaces);
        let files = keyspaces.flat_map(|keyspace| keyspace.files.iter().flatten());
        context.list("files", files.map(Ok))?;
    }
    for problem in shown
        .layers
        .iter()
        .flat_map(|layer| layer.problems.iter().flatten())
    {
        context.line(problem)?;
    }
    Ok(())
}

/// A keyspace of a layer in the table.
struct Row<'a> {
    layer: &'a Layer,
    keyspace: &'a Keyspace,
}

impl Serialize for Row<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.keyspace.serialize(serializer)
    }
}

impl Record for Row<'_> {
    const HEADER: &'static [&'static str] = &[
        "layer",
        "database",
        "keyspace",
        "type",
        "start",
        "end",
        "bytes",
        "found",
        "rows",
        "whole engine",
    ];

    fn cells(&self) -> Vec<String> {
        let (layer, keyspace) = (self.layer, self.keyspace);
        // A keyspace that an incremental introduces is in it whole.
        let introduced = keyspace.introduced && layer.kind == LayerKind::Incremental;
        let from = match (introduced, keyspace.gc_gap) {
            (true, Some(_)) => " (whole: GC gap)",
            (true, None) => " (whole)",
            (false, _) => "",
        };
        vec![
            layer.layer.clone(),
            or_dash(Some(&keyspace.database).filter(|database| !database.is_empty())),
            keyspace.keyspace.clone(),
            format!("{}{from}", kind_text(layer.kind)),
            or_dash(layer.start),
            layer.end.to_string(),
            human_bytes(keyspace.stored_bytes),
            or_dash(keyspace.found_bytes.map(human_bytes)),
            at_most(keyspace.entries, keyspace.copied_files > 0),
            if layer.whole_engine { "yes" } else { "no" }.to_owned(),
        ]
    }
}

impl Record for &File {
    const HEADER: &'static [&'static str] = &[
        "file", "keys", "oldest", "newest", "versions", "deletes", "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.path.clone(),
            self.span.to_string(),
            or_dash(self.min_ts),
            match self.copied {
                true => format!("≤{}", self.max_ts),
                false => self.max_ts.to_string(),
            },
            at_most(self.entries, self.copied),
            or_dash(self.tombstones.map(human_count)),
            human_bytes(self.stored_bytes),
        ]
    }
}
