//! `show backups`: one listing of the collection, and no manifest.

use clap::Args;
use icecore_archive::{Chain, CollectionUri, LayerEntry, total};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::{Record, human_bytes, human_count, optional_time, or_dash, since_epoch, time};
use crate::places;
use crate::uri::UriParser;

#[derive(Debug, Args)]
pub(crate) struct BackupsArguments {
    /// The collection; several URIs where it lies in several places
    #[arg(long = "in", value_name = "URI", value_parser = UriParser, required = true)]
    collection: Vec<CollectionUri>,
    #[command(flatten)]
    keys: KeyArguments,
}

pub(crate) fn run(context: &Context, arguments: &BackupsArguments) -> Result<()> {
    let chains = context.wait(async {
        let collection = places::open(&arguments.collection, &arguments.keys).await?;
        Ok(collection.chains().await?)
    })?;
    context.list("backups", chains.iter().map(|chain| Ok(Shown::from(chain))))
}

/// A full backup with its incrementals.
#[derive(Serialize)]
struct Shown {
    backup: String,
    /// The newest time that can be restored.
    #[serde(serialize_with = "optional_time")]
    end: Option<Timestamp>,
    /// The hash of the newest manifest: what `restore --expect-head` takes.
    head: Option<String>,
    entries: u64,
    stored_bytes: u64,
    layers: Vec<Layer>,
    /// What keeps the chain from going on.
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    #[serde(serialize_with = "optional_time")]
    start: Option<Timestamp>,
    #[serde(serialize_with = "time")]
    end: Timestamp,
    /// Any time from here to the end can be restored, at least of some keyspace.
    #[serde(serialize_with = "optional_time")]
    history_from: Option<Timestamp>,
    entries: u64,
    stored_bytes: u64,
    manifest_hash: String,
}

impl From<&Chain> for Shown {
    fn from(chain: &Chain) -> Self {
        let head = chain.head();
        let mut problems: Vec<String> = chain.damage().iter().map(ToString::to_string).collect();
        problems.extend(head.as_ref().err().map(ToString::to_string));
        let layers = chain.layers();
        Self {
            backup: chain.full().to_string(),
            end: head.as_ref().ok().map(|layer| layer.end),
            head: head
                .as_ref()
                .ok()
                .map(|layer| layer.manifest_hash.to_string()),
            entries: total(layers.iter().map(|layer| layer.entries)),
            stored_bytes: total(layers.iter().map(|layer| layer.stored_bytes)),
            layers: layers.iter().map(Layer::from).collect(),
            problems,
        }
    }
}

impl From<&LayerEntry> for Layer {
    fn from(entry: &LayerEntry) -> Self {
        Self {
            layer: entry.path.to_string(),
            start: since_epoch(entry.start),
            end: entry.end,
            history_from: entry.history_from,
            entries: entry.entries,
            stored_bytes: entry.stored_bytes,
            manifest_hash: entry.manifest_hash.to_string(),
        }
    }
}

impl Record for Shown {
    const HEADER: &'static [&'static str] =
        &["backup", "end", "layers", "versions", "bytes", "problems"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.backup.clone(),
            or_dash(self.end),
            self.layers.len().to_string(),
            human_count(self.entries),
            human_bytes(self.stored_bytes),
            match self.problems.is_empty() {
                true => "none".to_owned(),
                false => self.problems.join("; "),
            },
        ]
    }
}
