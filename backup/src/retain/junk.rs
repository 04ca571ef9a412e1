//! What nothing refers to: found by what is there, and by what manifests name.

use std::collections::BTreeSet;
use std::time::Duration;

use icecore_archive::{
    ContentHash, Directory, FileId, LayerPath, Manifest, ObjectKind, StoredObject, total,
};

use super::delete::Deleter;
use super::report::{ExpireReport, JunkReport};
use super::survey::{Known, Unlisted};
use crate::error::Result;

/// Cleans up after runs that died at least a grace ago. Returns the directories in which no manifest can
/// come any more since then.
pub(super) async fn clean(
    known: &Known,
    grace: Duration,
    deleter: &mut Deleter<'_>,
    report: &mut ExpireReport,
) -> Result<BTreeSet<LayerPath>> {
    let mut buried = BTreeSet::new();
    for (layer, directory) in &known.survey.directories {
        let survey = &known.survey;
        if survey.is_expired(layer.full()) || survey.retired.contains_key(layer) {
            continue;
        }
        let job = Job {
            known,
            grace,
            layer,
            directory,
        };
        match known.unlisted.get(layer) {
            Some(unlisted) => job.unlisted(unlisted, deleter, report).await?,
            None if directory.manifest().is_none() => {
                if job.dead(deleter, report).await? {
                    buried.insert(layer.clone());
                }
            }
            None => job.spare(deleter, report).await,
        }
    }
    Ok(buried)
}

/// One directory.
struct Job<'a> {
    known: &'a Known,
    grace: Duration,
    layer: &'a LayerPath,
    directory: &'a Directory,
}

impl Job<'_> {
    fn is_due(&self) -> bool {
        self.known
            .survey
            .is_due(self.directory.newest(), self.grace)
    }

    /// A run that died before its manifest. What comes late finds the tombstone, and a new run of that
    /// name the lock. `false` if it may still be alive.
    async fn dead(&self, deleter: &mut Deleter<'_>, report: &mut ExpireReport) -> Result<bool> {
        let objects: Vec<StoredObject> = self.objects(|kind| kind != ObjectKind::Lock);
        if !self.is_due() {
            return Ok(false);
        }
        let Known {
            collection, run, ..
        } = self.known;
        if !report.dry_run && !collection.bury(self.layer, *run).await? {
            // It was not dead: its manifest came just now.
            return Ok(false);
        }
        self.delete(objects, "a run that died", deleter, report)
            .await;
        Ok(true)
    }

    /// A layer that has a manifest, or a tombstone, and no marker.
    async fn unlisted(
        &self,
        unlisted: &Unlisted,
        deleter: &mut Deleter<'_>,
        report: &mut ExpireReport,
    ) -> Result<()> {
        match unlisted {
            Unlisted::Damaged => report.damaged.push(self.layer.clone()),
            Unlisted::Nothing => {
                let late =
                    self.objects(|kind| !matches!(kind, ObjectKind::Lock | ObjectKind::Manifest));
                let is_due = |o: &StoredObject| self.known.survey.is_due(o.modified, self.grace);
                let late = late.into_iter().filter(is_due).collect();
                self.delete(late, "what came late from a run that died", deleter, report)
                    .await;
            }
            Unlisted::Whole(manifest, hash) => {
                self.whole(manifest, *hash, deleter, report).await?;
            }
        }
        Ok(())
    }

    async fn whole(
        &self,
        manifest: &Manifest,
        hash: ContentHash,
        deleter: &mut Deleter<'_>,
        report: &mut ExpireReport,
    ) -> Result<()> {
        let collection = &self.known.collection;
        if !self.is_due() {
            return Ok(());
        }
        let is_left = !collection.is_adoptable(manifest, hash).await?;
        if !is_left {
            let adopted = match report.dry_run {
                true => true,
                false => collection.adopt(manifest, hash).await?.is_some(),
            };
            report.adopted.extend(adopted.then(|| self.layer.clone()));
            return Ok(());
        }
        let objects = self.objects(|_| true);
        let what = "an incremental that another one forestalled";
        self.delete(objects, what, deleter, report).await;
        Ok(())
    }

    /// What lies in a listed layer's directory and is not named by its manifest: of a writer that can no
    /// longer commit there.
    async fn spare(&self, deleter: &mut Deleter<'_>, report: &mut ExpireReport) {
        let Some(named) = self.named() else { return };
        let is_spare = |object: &StoredObject| match object.kind {
            ObjectKind::Data(id) => !named.contains(&id),
            ObjectKind::OtherLock | ObjectKind::Checkpoint => true,
            ObjectKind::Lock | ObjectKind::Manifest | ObjectKind::SideFile => false,
        };
        let is_due = |o: &StoredObject| self.known.survey.is_due(o.modified, self.grace);
        let spare = self.objects(|_| true);
        let spare = spare.into_iter().filter(|o| is_spare(o) && is_due(o));
        self.delete(
            spare.collect(),
            "files that no manifest names",
            deleter,
            report,
        )
        .await;
    }

    /// The files that the layer's manifest names, if it was read.
    fn named(&self) -> Option<BTreeSet<FileId>> {
        let chains = &self.known.chains;
        let chain = chains
            .iter()
            .find(|c| c.chain.full() == self.layer.full())?;
        let layers = chain.chain.layers().iter().zip(&chain.manifests);
        let (_, manifest) = layers.into_iter().find(|(l, _)| l.path == *self.layer)?;
        let manifest = manifest.as_ref().ok()?;
        Some(manifest.files().map(|(_, file)| file.id).collect())
    }

    fn objects(&self, goes: impl Fn(ObjectKind) -> bool) -> Vec<StoredObject> {
        let objects = self.directory.objects.iter();
        objects
            .filter(|object| goes(object.kind))
            .cloned()
            .collect()
    }

    async fn delete(
        &self,
        objects: Vec<StoredObject>,
        what: &'static str,
        deleter: &mut Deleter<'_>,
        report: &mut ExpireReport,
    ) {
        if objects.is_empty() {
            return;
        }
        report.junk.push(JunkReport {
            directory: self.layer.clone(),
            what,
            objects: objects.len() as u64,
            bytes: total(objects.iter().map(|object| object.bytes)),
        });
        let directory = std::iter::once((self.layer, objects.as_slice()));
        deleter.directories(directory, |_, _| true).await;
    }
}
