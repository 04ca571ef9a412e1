//! `keyspace`: the catalog.

mod fingerprint;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use icecore_archive::total;
use icecore_engine::Keyspace;
use icecore_mvcc::{
    Descriptor, KeyspaceName, KeyspaceSettings, Timestamp, duration_text, format_duration,
    parse_duration, parse_locality,
};
use icecore_restore::PlannedRestore;
use serde::Serialize;

use crate::context::Context;
use crate::error::Result;
use crate::keys::KeyArguments;
use crate::output::{Record, human_bytes, human_count, optional_time, or_dash, since_epoch, time};
use crate::view::View;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyspaceCommand {
    /// Create a keyspace, and the database where there is none
    Create(CreateArguments),
    /// List the keyspaces
    List(ListArguments),
    /// Change a keyspace's settings; what is not given stays
    Alter(AlterArguments),
    /// Drop a keyspace; its past stays readable until garbage collection passes the drop
    Drop(DropArguments),
    /// Read keyspaces whole, and tell which rows they have: as manifests and restores do
    Fingerprint(fingerprint::FingerprintArguments),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    /// Segments joined by dots, such as bank.customers
    #[arg(value_parser = KeyspaceName::parse)]
    name: KeyspaceName,
    /// How long a version stays readable after a newer one shadows it [default: 4h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    gc_ttl: Option<Duration>,
    /// Where its data belongs, as tags: region=us,zone=a [default: none]
    #[arg(long, value_name = "TAGS", value_parser = locality)]
    locality: Option<Tags>,
    /// Leave its rows out of backups
    #[arg(long)]
    exclude_from_backup: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Changes {
    /// How long a version stays readable after a newer one shadows it
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    gc_ttl: Option<Duration>,
    /// Where its data belongs, as tags: region=us,zone=a; none takes them away
    #[arg(long, value_name = "TAGS|none", value_parser = locality_or_none)]
    locality: Option<Tags>,
    /// Whether to leave its rows out of backups
    #[arg(long, value_name = "true|false")]
    exclude_from_backup: Option<bool>,
}

/// Locality tags.
#[derive(Debug, Clone, Default)]
struct Tags(BTreeMap<String, String>);

/// Tags, at least one: an empty text is more often an empty variable than a wish.
fn locality(text: &str) -> Result<Tags, String> {
    if text.is_empty() {
        return Err(
            "there are no tags in it; leave --locality out, or write region=us,zone=a".to_owned(),
        );
    }
    parse_locality(text).map(Tags).map_err(|e| e.to_string())
}

fn locality_or_none(text: &str) -> Result<Tags, String> {
    match text {
        "none" => Ok(Tags::default()),
        tags => locality(tags),
    }
}

/// Tags as they are given.
fn tags_text(tags: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = tags.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

#[derive(Debug, Args)]
pub(crate) struct AlterArguments {
    /// The keyspace
    name: String,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    keys: KeyArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DropArguments {
    /// The keyspace
    name: String,
}

pub(crate) fn run(context: &Context, command: KeyspaceCommand) -> Result<()> {
    match command {
        KeyspaceCommand::Create(arguments) => create(context, &arguments),
        KeyspaceCommand::List(arguments) => list(context, &arguments),
        KeyspaceCommand::Alter(arguments) => alter(context, &arguments),
        KeyspaceCommand::Drop(arguments) => drop(context, &arguments),
        KeyspaceCommand::Fingerprint(arguments) => fingerprint::run(context, &arguments),
    }
}

/// A keyspace as JSON tells it.
#[derive(Serialize)]
pub(crate) struct Described {
    keyspace: String,
    id: u32,
    #[serde(with = "duration_text")]
    gc_ttl: Duration,
    locality: BTreeMap<String, String>,
    exclude_from_backup: bool,
    #[serde(serialize_with = "time")]
    created: Timestamp,
    #[serde(
        serialize_with = "optional_time",
        skip_serializing_if = "Option::is_none"
    )]
    dropped: Option<Timestamp>,
}

impl From<Descriptor> for Described {
    fn from(descriptor: Descriptor) -> Self {
        Self {
            keyspace: descriptor.name,
            id: descriptor.id.get(),
            gc_ttl: descriptor.settings.gc_ttl,
            locality: descriptor.settings.locality,
            exclude_from_backup: descriptor.settings.exclude_from_backup,
            created: descriptor.created,
            dropped: descriptor.dropped,
        }
    }
}

impl Described {
    fn settings(&self) -> String {
        let excluded = match self.exclude_from_backup {
            true => ", excluded from backups",
            false => "",
        };
        let locality = match self.locality.is_empty() {
            true => String::new(),
            false => format!(", locality {}", tags_text(&self.locality)),
        };
        format!(
            "gc ttl {}{locality}{excluded}",
            format_duration(self.gc_ttl)
        )
    }
}

fn create(context: &Context, arguments: &CreateArguments) -> Result<()> {
    let started = Instant::now();
    let mut settings = KeyspaceSettings {
        locality: arguments.locality.clone().unwrap_or_default().0,
        exclude_from_backup: arguments.exclude_from_backup,
        ..KeyspaceSettings::default()
    };
    settings.gc_ttl = arguments.gc_ttl.unwrap_or(settings.gc_ttl);
    let descriptor = context.create_or_write(|engine| {
        let created = engine.create_keyspace(arguments.name.as_str(), settings)?;
        Ok(created.descriptor())
    })?;
    let made = Described::from(descriptor);
    let sentence = || format!("created keyspace {} ({})", made.keyspace, made.settings());
    context.done("keyspace create", sentence, &made, 0, started)
}

fn alter(context: &Context, arguments: &AlterArguments) -> Result<()> {
    let started = Instant::now();
    let descriptor = context.write(|engine| {
        let mut settings = engine.keyspace(&arguments.name)?.descriptor().settings;
        settings.gc_ttl = arguments.changes.gc_ttl.unwrap_or(settings.gc_ttl);
        if let Some(Tags(tags)) = &arguments.changes.locality {
            settings.locality.clone_from(tags);
        }
        settings.exclude_from_backup = arguments
            .changes
            .exclude_from_backup
            .unwrap_or(settings.exclude_from_backup);
        Ok(engine.alter_keyspace(&arguments.name, settings)?)
    })?;
    let now = Described::from(descriptor);
    let sentence = || format!("altered keyspace {} ({})", now.keyspace, now.settings());
    context.done("keyspace alter", sentence, &now, 0, started)
}

fn drop(context: &Context, arguments: &DropArguments) -> Result<()> {
    let started = Instant::now();
    let descriptor = context.write(|engine| {
        let keyspace = engine.keyspace(&arguments.name)?;
        engine.drop_keyspace(&arguments.name)?;
        Ok(keyspace.descriptor())
    })?;
    let gone = Described::from(descriptor);
    let sentence = || {
        format!(
            "dropped keyspace {} at {}",
            gone.keyspace,
            or_dash(gone.dropped)
        )
    };
    context.done("keyspace drop", sentence, &gone, 0, started)
}

/// A keyspace in the list.
#[derive(Serialize)]
struct Listed {
    name: String,
    id: u32,
    #[serde(with = "duration_text")]
    gc_ttl: Duration,
    locality: BTreeMap<String, String>,
    exclude_from_backup: bool,
    #[serde(serialize_with = "time")]
    created: Timestamp,
    #[serde(serialize_with = "optional_time")]
    threshold: Option<Timestamp>,
    sst_bytes: u64,
    sst_files: u64,
    memtable_bytes: u64,
    estimated_versions: u64,
}

impl Record for Listed {
    const HEADER: &'static [&'static str] = &[
        "name",
        "gc ttl",
        "locality",
        "excluded",
        "created",
        "threshold",
        "versions",
        "bytes",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            format_duration(self.gc_ttl),
            or_dash((!self.locality.is_empty()).then(|| tags_text(&self.locality))),
            if self.exclude_from_backup {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            self.created.to_string(),
            or_dash(self.threshold),
            format!("~{}", human_count(self.estimated_versions)),
            human_bytes(self.sst_bytes + self.memtable_bytes),
        ]
    }
}

fn list(context: &Context, arguments: &ListArguments) -> Result<()> {
    match View::open(context, None, &arguments.keys)? {
        View::Database(engine, _) => {
            let listed = engine.keyspaces().into_iter().map(of_database);
            context.list("keyspaces", listed.map(Ok))
        }
        View::Backup(_, backup) => {
            let mut keyspaces = backup.keyspaces()?;
            keyspaces.sort_by(|a, b| a.name.cmp(&b.name));
            context.list("keyspaces", keyspaces.iter().map(of_backup).map(Ok))
        }
    }
}

fn of_database(keyspace: Keyspace) -> Listed {
    let descriptor = keyspace.descriptor();
    let stats = keyspace.stats();
    Listed {
        name: descriptor.name,
        id: descriptor.id.get(),
        gc_ttl: descriptor.settings.gc_ttl,
        locality: descriptor.settings.locality,
        exclude_from_backup: descriptor.settings.exclude_from_backup,
        created: descriptor.created,
        threshold: since_epoch(keyspace.threshold()),
        sst_bytes: stats.sst_bytes,
        sst_files: stats.sst_files,
        memtable_bytes: stats.memtable_bytes,
        estimated_versions: stats.estimated_versions,
    }
}

/// As its source was, with the files that are read of it.
fn of_backup(planned: &PlannedRestore) -> Listed {
    let source = &planned.source;
    Listed {
        name: source.name.clone(),
        id: source.id.get(),
        gc_ttl: source.settings.gc_ttl,
        locality: source.settings.locality.clone(),
        exclude_from_backup: source.settings.exclude_from_backup,
        created: source.created,
        threshold: since_epoch(planned.threshold),
        sst_bytes: planned.stored_bytes(),
        sst_files: planned.files().count() as u64,
        memtable_bytes: 0,
        estimated_versions: total(planned.files().map(|file| file.file.entries)),
    }
}
