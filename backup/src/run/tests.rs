//! What happens between the plan and the protection.

use std::time::Duration;

use icecore_archive::{BackupSelector, StoreOptions};
use icecore_engine::{Durability, Options};
use icecore_gc::{GcOptions, ProtectedTimestamps};
use icecore_mvcc::KeyspaceSettings;

use super::*;
use crate::options::OnGcGap;

struct Lab {
    engine: Engine,
    collection: Collection,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Lab {
    /// Two keyspaces with a row each, and a full backup of them.
    fn with_a_full(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path().join("db"), &Options::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let uri = format!("memory://{name}").parse().unwrap();
        let collection = Collection::create_or_open(&uri, StoreOptions::default());
        let collection = runtime.block_on(collection).unwrap();
        for name in ["a", "b"] {
            let settings = KeyspaceSettings::default();
            let keyspace = engine.create_keyspace(name, settings).unwrap();
            keyspace.put(b"k", b"1", Durability::Sync).unwrap();
        }
        let lab = Self {
            engine,
            collection,
            runtime,
            _dir: dir,
        };
        let options = BackupOptions::default();
        let full = backup(&lab.engine, &lab.collection, &options);
        lab.runtime.block_on(full).unwrap();
        lab.put("a");
        lab.put("b");
        lab
    }

    fn put(&self, name: &str) {
        let keyspace = self.engine.keyspace(name).unwrap();
        keyspace.put(b"k", b"2", Durability::Sync).unwrap();
    }

    fn release_all(&self) {
        let records = ProtectedTimestamps::new(&self.engine);
        for record in records.list().unwrap() {
            records.release(&record.id).unwrap();
        }
    }

    fn collect(&self, name: &str) {
        let options = GcOptions {
            ttl_override: Some(Duration::ZERO),
            keyspaces: vec![name.parse().unwrap()],
            ..GcOptions::default()
        };
        icecore_gc::collect(&self.engine, &options).unwrap();
    }

    fn planned(&self, on_gc_gap: OnGcGap) -> (BackupPlan, BackupOptions) {
        let options = BackupOptions {
            onto: Some(BackupSelector::Latest),
            on_gc_gap,
            ..BackupOptions::default()
        };
        let prepared = prepare(&self.engine, &self.collection, &options);
        // Its snapshot of the end is given up with the rest: the end is now, and may be passed.
        let plan = self.runtime.block_on(prepared).unwrap().plan;
        (plan, options)
    }

    fn acquire(&self, plan: BackupPlan, options: &BackupOptions) -> Result<(Hold, BackupPlan)> {
        let chain = ChainOf::new(self.collection.id(), ChainId::random(), plan.start, &plan)?;
        self.runtime
            .block_on(acquire(&self.engine, chain, plan, options))
    }
}

fn whole(plan: &BackupPlan) -> Vec<&str> {
    let whole = plan.keyspaces.iter().filter(|k| k.introduced);
    whole.map(|k| k.descriptor.name.as_str()).collect()
}

#[test]
fn a_threshold_that_rises_after_the_plan_was_made_is_a_gap_all_the_same() {
    let lab = Lab::with_a_full("run-race");
    // Without the chain's record: its plan is good, until the threshold rises.
    lab.release_all();
    let (strict, strict_options) = lab.planned(OnGcGap::Error);
    let (lax, lax_options) = lab.planned(OnGcGap::Reexport);
    assert_eq!(whole(&lax), Vec::<&str>::new());
    lab.collect("a");
    let error = lab.acquire(strict, &strict_options).err().unwrap();
    assert!(
        matches!(&error, Error::GcGap { keyspace, .. } if keyspace == "a"),
        "{error}"
    );
    let records = ProtectedTimestamps::new(&lab.engine);
    assert_eq!(records.list().unwrap(), [], "a record was left");
    let (hold, plan) = lab.acquire(lax, &lax_options).unwrap();
    assert_eq!(whole(&plan), ["a"]);
    assert!(plan.keyspaces[0].gc_gap.is_some() && plan.keyspaces[0].estimated_bytes > 0);
    // The other one's window is held from here on.
    lab.put("b");
    lab.collect("b");
    let b = lab.engine.keyspace("b").unwrap();
    assert!(b.threshold() <= plan.start);
    hold.abandon();
    assert_eq!(records.list().unwrap(), [], "a record was left");
}

#[test]
fn where_every_window_has_a_gap_nothing_needs_to_be_held() {
    let lab = Lab::with_a_full("run-all-gone");
    lab.release_all();
    let (plan, options) = lab.planned(OnGcGap::Reexport);
    lab.collect("a");
    lab.collect("b");
    let (hold, plan) = lab.acquire(plan, &options).unwrap();
    assert_eq!(whole(&plan), ["a", "b"]);
    let records = ProtectedTimestamps::new(&lab.engine).list().unwrap();
    assert_eq!(records, []);
    hold.abandon();
}
