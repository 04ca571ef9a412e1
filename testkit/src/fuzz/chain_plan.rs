//! Which layers a restore needs, of any list of layers, against a search that tries them all.

use arbitrary::{Arbitrary, Unstructured};
use icecore_archive::plan::{Target, chain};
use icecore_archive::{ContentHash, Error, FullPath, IncrementalPath, LayerEntry, LayerPath};
use icecore_mvcc::Timestamp;

use super::Bug;
use crate::failure::{Failure, Result, ensure};

/// The most layers, and the first time that is none of theirs: few of both, so that windows join.
const LAYERS_MAX: usize = 10;
const TIMES: u8 = 12;

#[derive(Debug, Arbitrary)]
struct Input {
    target: Option<u8>,
    layers: Vec<Layer>,
}

#[derive(Debug, Arbitrary)]
struct Layer {
    full: bool,
    start: u8,
    end: u8,
    history_from: Option<u8>,
}

/// Makes layers of the bytes and plans a restore.
///
/// # Errors
/// The first check that does not hold.
pub fn check(bytes: &[u8], bug: Option<Bug>) -> Result<()> {
    let Ok(input) = Input::arbitrary_take_rest(Unstructured::new(bytes)) else {
        return Ok(());
    };
    let layers = entries(&input.layers)?;
    let target = input
        .target
        .map_or(Target::Latest, |at| Target::At(time(at)));
    let planned = plan(&layers, target, bug);
    let reversed: Vec<LayerEntry> = layers.iter().rev().cloned().collect();
    ensure!(
        plan(&reversed, target, bug) == planned,
        "the plan for {target:?} depends on the order of {layers:?}"
    );
    let wanted = match target {
        Target::At(time) => time,
        Target::Latest => layers
            .iter()
            .map(|layer| layer.end)
            .max()
            .unwrap_or_default(),
    };
    let verdict = match &planned {
        Ok(path) => is_right(path, &layers, wanted),
        Err(error) => is_refused_rightly(error, &layers, wanted),
    };
    verdict.map_err(|failure| failure.within(&format!("{target:?} of {layers:?}: {planned:?}")))
}

fn time(number: u8) -> Timestamp {
    Timestamp::from_nanos(u64::from(number % TIMES))
}

fn entries(layers: &[Layer]) -> Result<Vec<LayerEntry>> {
    let full: FullPath = "full".parse()?;
    let numbered = layers.iter().take(LAYERS_MAX).zip(0_u8..);
    let entries = numbered.map(|(layer, number)| LayerEntry {
        path: match layer.full {
            true => LayerPath::full_at(full.clone()),
            false => LayerPath::incremental_at(full.clone(), IncrementalPath::at(time(layer.end))),
        },
        start: time(layer.start),
        end: time(layer.end),
        history_from: layer.history_from.map(time),
        stored_bytes: 0,
        entries: 0,
        manifest_hash: ContentHash::from_bytes([number; 32]),
    });
    Ok(entries.collect())
}

/// The planner, or a broken one.
fn plan(
    layers: &[LayerEntry],
    target: Target,
    bug: Option<Bug>,
) -> icecore_archive::Result<Vec<LayerEntry>> {
    let mut path = match bug {
        Some(Bug::ChainsInventHistory) => with_history(layers, target)?,
        _ => chain(layers, target)?,
    };
    if bug == Some(Bug::ChainsSkipALayer) && path.len() > 1 {
        path.remove(1);
    }
    if bug == Some(Bug::ChainsTakeADetour) {
        let last = path.last().cloned();
        let others = layers.iter().filter(|layer| Some(*layer) != last.as_ref());
        let detour = chain(&others.cloned().collect::<Vec<_>>(), target);
        return Ok(detour
            .ok()
            .filter(|detour| detour.len() > path.len())
            .unwrap_or(path));
    }
    Ok(path)
}

/// Plans as if every layer kept its history.
fn with_history(layers: &[LayerEntry], target: Target) -> icecore_archive::Result<Vec<LayerEntry>> {
    let mut keeping = layers.to_vec();
    keeping
        .iter_mut()
        .for_each(|layer| layer.history_from = Some(layer.start));
    let path = chain(&keeping, target)?;
    let genuine = |layer: &LayerEntry| {
        layers
            .iter()
            .find(|l| l.manifest_hash == layer.manifest_hash)
    };
    Ok(path.iter().filter_map(genuine).cloned().collect())
}

fn is_full(layer: &LayerEntry) -> bool {
    layer.path.incremental().is_none()
}

/// Whether a restore may end with this layer at that time.
fn covers(layer: &LayerEntry, time: Timestamp) -> bool {
    let inside = time <= layer.end && (is_full(layer) || layer.start < time);
    time == layer.end || (inside && layer.history_from.is_some_and(|from| from <= time))
}

/// How many layers each takes with all before it: a search without any cleverness.
fn distances(layers: &[LayerEntry]) -> Vec<Option<usize>> {
    let begins = |layer: &LayerEntry| is_full(layer) && layer.start == Timestamp::MIN;
    let mut distances: Vec<Option<usize>> = layers
        .iter()
        .map(|layer| begins(layer).then_some(1))
        .collect();
    for _ in layers {
        let before = distances.clone();
        for (layer, distance) in layers.iter().zip(&mut distances) {
            let forward = Timestamp::MIN < layer.start && layer.start < layer.end;
            let joined = layers
                .iter()
                .zip(&before)
                .filter(|(other, _)| other.end == layer.start);
            let nearest = joined.filter_map(|(_, before)| *before).min();
            if let Some(nearest) = nearest.filter(|_| forward && !is_full(layer)) {
                *distance = Some(distance.map_or(nearest + 1, |known| known.min(nearest + 1)));
            }
        }
    }
    distances
}

fn shortest(layers: &[LayerEntry], time: Timestamp) -> Option<usize> {
    let each = layers.iter().zip(distances(layers));
    each.filter(|(layer, _)| covers(layer, time))
        .filter_map(|(_, distance)| distance)
        .min()
}

fn is_right(path: &[LayerEntry], layers: &[LayerEntry], time: Timestamp) -> Result<()> {
    let (Some(first), Some(last)) = (path.first(), path.last()) else {
        return Err(Failure::Mismatch("the plan is empty".to_owned()));
    };
    ensure!(
        path.iter().all(|layer| layers.contains(layer)),
        "the plan has a layer of its own"
    );
    ensure!(
        is_full(first) && first.start == Timestamp::MIN,
        "the plan begins without a full"
    );
    for (before, after) in path.iter().zip(path.iter().skip(1)) {
        ensure!(
            before.end == after.start && !is_full(after),
            "the plan has a gap"
        );
        ensure!(
            before.end < time,
            "a layer before the last reaches the target"
        );
    }
    ensure!(
        covers(last, time),
        "the last layer does not cover the target"
    );
    let fewest = shortest(layers, time);
    ensure!(
        fewest == Some(path.len()),
        "the fewest layers are {fewest:?}"
    );
    Ok(())
}

/// There is no plan, and the times in the error say why.
fn is_refused_rightly(error: &Error, layers: &[LayerEntry], time: Timestamp) -> Result<()> {
    let fewest = shortest(layers, time);
    ensure!(fewest.is_none(), "there is a plan of {fewest:?} layers");
    let founded = distances(layers).iter().any(Option::is_some);
    let sound = match error {
        Error::EmptyChain => !founded,
        Error::OutsideCoverage {
            target,
            from,
            until,
        } => *target == time && (time < *from || *until < time),
        Error::ChainGap {
            target,
            after,
            before,
        } => *target == time && *after < time && after < before,
        Error::NotInHistory {
            target,
            before,
            after,
        } => *target == time && *before < time && time < *after,
        _ => false,
    };
    ensure!(sound, "the refusal is wrong");
    Ok(())
}
