//! What a restore will do, of any manifests that a chain may have: all files that are needed, none after
//! the target, and no promise of a time that is not there.

use arbitrary::{Arbitrary, Unstructured};
use icecore_archive::{LayerPath, Manifest, ManifestKeyspace};
use icecore_mvcc::{KeyspaceName, NamePattern, Timestamp};
use icecore_restore::plan::{PlannedRestore, plan};
use icecore_restore::{History, RestoreOptions, RestorePlan};

use self::chain::Chain;
use super::Bug;
use crate::failure::{Failure, Result, ensure};

mod chain;

/// A chain and what to restore of it.
#[derive(Debug, Arbitrary)]
struct Input<'a> {
    chain: Chain,
    target: u8,
    without_history: bool,
    pattern: Option<&'a str>,
    into_database: Option<&'a str>,
    rename: Option<(u8, &'a str)>,
}

/// Makes manifests of the bytes and plans a restore.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return Ok(());
    };
    let manifests = input.chain.manifests()?;
    let Some(last) = manifests.last() else {
        return Ok(());
    };
    // A chain is planned up to the layer that holds the target, so the target lies in the last.
    let window = last.end.nanos().saturating_sub(last.start.nanos()).max(1);
    let target = Timestamp::from_nanos(last.end.nanos() - u64::from(input.target) % window);
    let options = options(&input);
    let full = last.layer.full();
    let Ok(mut planned) = plan(full, &manifests, target, &options) else {
        return Ok(());
    };
    break_it(&mut planned, &manifests, bug);
    is_right(&planned, &manifests, target, options.history)
        .map_err(|failure| failure.within(&format!("{input:?}: {planned:?}")))
}

fn options(input: &Input<'_>) -> RestoreOptions {
    let pattern = input.pattern.and_then(|text| NamePattern::parse(text).ok());
    let rename = input
        .rename
        .map(|(old, new)| (chain::name(old).to_owned(), new.to_owned()));
    RestoreOptions {
        keyspaces: pattern.into_iter().collect(),
        renames: rename.into_iter().collect(),
        into_database: input.into_database.map(str::to_owned),
        history: if input.without_history {
            History::None
        } else {
            History::All
        },
        ..RestoreOptions::default()
    }
}

fn break_it(planned: &mut RestorePlan, manifests: &[Manifest], bug: Option<Bug>) {
    for keyspace in &mut planned.keyspaces {
        if bug == Some(Bug::RestoresBeginLate) && keyspace.layers.len() > 1 {
            keyspace.layers.remove(0);
        }
        for layer in &mut keyspace.layers {
            if bug == Some(Bug::RestoresForgetToRewrite) {
                layer.files.iter_mut().for_each(|file| file.rewrite = false);
            }
            if bug == Some(Bug::RestoresFetchTheFuture) {
                let manifest = manifests
                    .iter()
                    .find(|manifest| manifest.layer == layer.path);
                let files = manifest.into_iter().flat_map(Manifest::files);
                let late = files
                    .filter(|(_, file)| file.min_ts > planned.target)
                    .map(|(_, file)| file);
                layer
                    .files
                    .extend(late.map(|file| icecore_restore::plan::PlannedFile {
                        file: file.clone(),
                        rewrite: true,
                    }));
            }
        }
    }
}

fn is_right(
    planned: &RestorePlan,
    manifests: &[Manifest],
    target: Timestamp,
    history: History,
) -> Result<()> {
    let mut names: Vec<&str> = planned.keyspaces.iter().map(|k| k.name.as_str()).collect();
    ensure!(
        names.iter().all(|name| KeyspaceName::parse(name).is_ok()),
        "a name is none"
    );
    names.sort_unstable();
    names.dedup();
    ensure!(
        names.len() == planned.keyspaces.len(),
        "two keyspaces have one name"
    );
    let all: Vec<&LayerPath> = manifests.iter().map(|manifest| &manifest.layer).collect();
    ensure!(
        planned.layers.iter().eq(all),
        "the layers are not those of the chain"
    );
    let _ = planned.stored_bytes();
    for keyspace in &planned.keyspaces {
        ensure!(
            keyspace.source.is_live_at(target),
            "{} did not live then",
            keyspace.name
        );
        ensure!(
            keyspace.threshold <= target,
            "the target itself cannot be read"
        );
        if keyspace.source.settings.exclude_from_backup {
            ensure!(keyspace.layers.is_empty(), "an excluded keyspace has files");
            continue;
        }
        let steps = steps(keyspace, manifests)?;
        has_its_files(keyspace, &steps, target)?;
        if history == History::All {
            keeps_its_promise(keyspace, &steps, target)?;
        }
    }
    Ok(())
}

/// A layer with what it holds of a keyspace.
type Step<'a> = (&'a Manifest, &'a ManifestKeyspace);

/// The last layer that introduces the keyspace, and all after it.
fn steps<'a>(keyspace: &PlannedRestore, manifests: &'a [Manifest]) -> Result<Vec<Step<'a>>> {
    let of = |manifest: &'a Manifest| {
        let mut keyspaces = manifest.keyspaces.iter();
        keyspaces.find(|k| k.descriptor.id == keyspace.source.id)
    };
    let introduces = |manifest: &Manifest| of_introduced(manifest, keyspace);
    let first = manifests.iter().rposition(introduces);
    let Some(layers) = first.and_then(|first| manifests.get(first..)) else {
        return Err(Failure::Mismatch(
            "a keyspace that no layer introduces is restored".to_owned(),
        ));
    };
    let steps: Vec<Step<'a>> = layers
        .iter()
        .filter_map(|manifest| Some((manifest, of(manifest)?)))
        .collect();
    ensure!(
        steps.len() == layers.len(),
        "a layer between does not know the keyspace"
    );
    Ok(steps)
}

fn of_introduced(manifest: &Manifest, keyspace: &PlannedRestore) -> bool {
    let mut keyspaces = manifest.keyspaces.iter();
    keyspaces.any(|k| k.descriptor.id == keyspace.source.id && k.introduced)
}

/// From each of those layers, in order, every file that begins by the target, marked if it goes on.
fn has_its_files(keyspace: &PlannedRestore, steps: &[Step<'_>], target: Timestamp) -> Result<()> {
    let layers: Vec<&LayerPath> = keyspace.layers.iter().map(|layer| &layer.path).collect();
    ensure!(
        layers.iter().eq(&steps
            .iter()
            .map(|(manifest, _)| &manifest.layer)
            .collect::<Vec<_>>()),
        "the layers of {} are {layers:?}",
        keyspace.name
    );
    for (layer, (_, held)) in keyspace.layers.iter().zip(steps) {
        let found = layer
            .files
            .iter()
            .map(|planned| (planned.file.id, planned.rewrite));
        let needed = held.files.iter().filter(|file| file.min_ts <= target);
        let needed = needed.map(|file| (file.id, target < file.max_ts));
        ensure!(
            found.eq(needed),
            "the files of {} in {} are wrong",
            keyspace.name,
            layer.path
        );
    }
    Ok(())
}

/// Every time from the threshold to the target is one that some layer says is true.
fn keeps_its_promise(
    keyspace: &PlannedRestore,
    steps: &[Step<'_>],
    target: Timestamp,
) -> Result<()> {
    for nanos in keyspace.threshold.nanos()..=target.nanos() {
        let at = Timestamp::from_nanos(nanos);
        let Some((manifest, held)) = steps.iter().find(|(manifest, _)| at <= manifest.end) else {
            continue;
        };
        let end = held
            .descriptor
            .dropped
            .map_or(manifest.end, |dropped| dropped.prev().min(manifest.end));
        let kept = held.revision_start.is_some_and(|from| from <= at);
        ensure!(
            kept || end <= at,
            "{} cannot be read at {at:?}",
            keyspace.name
        );
    }
    Ok(())
}
