//! `show backup --timeline`: a picture of a backup in a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use icecore_archive::plan::restorable;
use icecore_archive::{BackupSelector, CollectionUri};
use icecore_gc::ProtectedTimestamps;
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::keys::KeyArguments;
use crate::output::plural;
use crate::places;
use crate::timeline::{Bar, Protected, Timeline, draw};

/// What was drawn.
#[derive(Serialize)]
struct Drawn {
    backup: String,
    timeline: PathBuf,
    layers: usize,
}

pub(super) fn run(
    context: &Context,
    collection: &[CollectionUri],
    keys: &KeyArguments,
    backup: &BackupSelector,
    file: &Path,
    force: bool,
) -> Result<()> {
    let started = Instant::now();
    let (drawn, mut timeline) = context.wait(read(collection, keys, backup, file))?;
    timeline.protected = protected(context)?;
    let picture = draw(&timeline);
    write(file, &picture, force)?;
    let sentence = || {
        format!(
            "drew {} of backup {} into {}",
            plural(drawn.layers as u64, "layer"),
            drawn.backup,
            file.display()
        )
    };
    context.done("show", sentence, &drawn, picture.len() as u64, started)
}

async fn read(
    uris: &[CollectionUri],
    keys: &KeyArguments,
    backup: &BackupSelector,
    file: &Path,
) -> Result<(Drawn, Timeline)> {
    let collection = places::open(uris, keys).await?;
    let chain = collection.open_chain(backup).await?;
    let mut manifests = Vec::new();
    for layer in chain.layers() {
        manifests.push(collection.read_layer(layer).await?);
    }
    let drawn = Drawn {
        backup: chain.full().to_string(),
        timeline: file.to_owned(),
        layers: chain.layers().len(),
    };
    let timeline = Timeline {
        title: format!("Backup {}", drawn.backup),
        layers: chain.layers().iter().map(Bar::from).collect(),
        restorable: restorable(chain.layers(), &manifests),
        protected: Vec::new(),
    };
    Ok((drawn, timeline))
}

/// The records of the database, where one is named.
fn protected(context: &Context) -> Result<Vec<Protected>> {
    if context.db().is_err() {
        return Ok(Vec::new());
    }
    let Some(engine) = context.open_if_there()? else {
        return Ok(Vec::new());
    };
    let records = ProtectedTimestamps::new(&engine).list()?;
    let protected = records.into_iter().map(|record| Protected {
        label: record.owner,
        since: record.timestamp,
    });
    Ok(protected.collect())
}

/// Puts the picture there whole or not at all.
fn write(file: &Path, picture: &str, force: bool) -> Result<()> {
    let failed = || Error::io("write", file.display().to_string());
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .prefix(".icecore-timeline-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))
        .map_err(failed())?;
    new.write_all(picture.as_bytes()).map_err(failed())?;
    readable_by_all(new.as_file()).map_err(failed())?;
    new.as_file().sync_all().map_err(failed())?;
    if force {
        return new.persist(file).map(drop).map_err(|e| failed()(e.error));
    }
    match new.persist_noclobber(file) {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Error::Usage(format!(
                "{} is there already; give another name, or --force to replace it",
                file.display()
            )))
        }
        Err(e) => Err(failed()(e.error)),
    }
}

/// A temporary file is its maker's alone; a picture is like any other file.
fn readable_by_all(file: &std::fs::File) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}
