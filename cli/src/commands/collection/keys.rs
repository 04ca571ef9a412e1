//! `collection keys`: which keys open a sealed collection. Nothing that is sealed is written again.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, Subcommand};
use icecore_archive::{
    Collection, CollectionUri, KeyEntry, KeyId, NewKey, Passphrase, StoreOptions,
};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::{KeyArguments, KmsArgument};
use crate::output::{Record, or_dash, time};
use crate::uri::UriParser;

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the keys; takes none of them
    List(ListArguments),
    /// Add a key; takes one that opens the collection already
    Add(AddArguments),
    /// Remove a key; takes one that stays
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The collection
    #[arg(long = "in", value_name = "URI", value_parser = UriParser)]
    collection: CollectionUri,
}

#[derive(Debug, Args)]
pub(crate) struct AddArguments {
    /// The collection
    #[arg(long = "in", value_name = "URI", value_parser = UriParser)]
    collection: CollectionUri,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    new: NewKeyArguments,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct NewKeyArguments {
    /// Add the passphrase in this file
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Add this key: file:/path, env:NAME or aws-kms:///KEY
    #[arg(long, value_name = "URI")]
    new_kms: Option<KmsArgument>,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArguments {
    /// The collection
    #[arg(long = "in", value_name = "URI", value_parser = UriParser)]
    collection: CollectionUri,
    #[command(flatten)]
    keys: KeyArguments,
    /// The key, as `collection keys list` shows it
    #[arg(value_name = "ID")]
    id: KeyId,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(context: &Context, command: KeysCommand) -> Result<()> {
    match command {
        KeysCommand::List(arguments) => list(context, &arguments),
        KeysCommand::Add(arguments) => add(context, &arguments),
        KeysCommand::Remove(arguments) => remove(context, &arguments),
    }
}

/// A key that opens the collection.
#[derive(Serialize)]
struct Shown {
    key: String,
    kind: &'static str,
    uri: Option<String>,
    #[serde(serialize_with = "time")]
    added: Timestamp,
}

impl From<&KeyEntry> for Shown {
    fn from(entry: &KeyEntry) -> Self {
        Self {
            key: entry.id.to_string(),
            kind: entry.kind,
            uri: entry.uri.clone(),
            added: entry.created,
        }
    }
}

impl Record for Shown {
    const HEADER: &'static [&'static str] = &["key", "kind", "uri", "added"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.key.clone(),
            self.kind.to_owned(),
            or_dash(self.uri.as_ref()),
            self.added.to_string(),
        ]
    }
}

fn list(context: &Context, arguments: &ListArguments) -> Result<()> {
    let options = StoreOptions::default();
    let listed = context
        .wait(async { Ok(Collection::list_keys(&arguments.collection, &options).await?) })?;
    context.list(
        "keys",
        listed.keys.iter().map(|entry| Ok(Shown::from(entry))),
    )?;
    let damage: Vec<String> = listed.damage.iter().map(ToString::to_string).collect();
    match damage.is_empty() {
        true => Ok(()),
        false => Err(Error::Unsound(damage.join("; "))),
    }
}

/// What was done, or would be.
#[derive(Serialize)]
struct Done {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    /// None as long as it was not added.
    key: Option<String>,
    kind: Option<&'static str>,
}

impl Done {
    fn of(entry: Option<&KeyEntry>, dry_run: bool) -> Self {
        Self {
            dry_run,
            key: entry.map(|entry| entry.id.to_string()),
            kind: entry.map(|entry| entry.kind),
        }
    }
}

fn add(context: &Context, arguments: &AddArguments) -> Result<()> {
    let started = Instant::now();
    let new = match (&arguments.new.new_passphrase_file, &arguments.new.new_kms) {
        (Some(file), _) => NewKey::Passphrase(Passphrase::from_file(file)?),
        (None, Some(kms)) => NewKey::Kms(kms.uri()?),
        (None, None) => return Err(Error::Usage("no new key is named".to_owned())),
    };
    let options = arguments.keys.store_options()?;
    let added = context.wait(async {
        let collection = Collection::open(&arguments.collection, options).await?;
        match arguments.dry_run {
            true => Ok(collection.check_new_key(&new).await.map(|()| None)?),
            false => Ok(Some(collection.add_key(&new).await?)),
        }
    })?;
    let uri = arguments.collection.without_credentials();
    let sentence = || match &added {
        Some(entry) => format!("added key {} ({}) to {uri}", entry.id, entry.kind),
        None => format!("would add a key to {uri}; nothing was written"),
    };
    let done = Done::of(added.as_ref(), arguments.dry_run);
    context.done("collection keys add", sentence, &done, 0, started)
}

fn remove(context: &Context, arguments: &RemoveArguments) -> Result<()> {
    let started = Instant::now();
    let options = arguments.keys.store_options()?;
    let removed = context.wait(async {
        let collection = Collection::open(&arguments.collection, options).await?;
        match arguments.dry_run {
            true => Ok(collection.check_key_removal(arguments.id).await?),
            false => Ok(collection.remove_key(arguments.id).await?),
        }
    })?;
    let uri = arguments.collection.without_credentials();
    let sentence = || {
        let (id, kind) = (removed.id, removed.kind);
        match arguments.dry_run {
            true => format!("would remove key {id} ({kind}) from {uri}; nothing was written"),
            false => format!("removed key {id} ({kind}) from {uri}"),
        }
    };
    let done = Done::of(Some(&removed), arguments.dry_run);
    context.done("collection keys remove", sentence, &done, 0, started)
}
