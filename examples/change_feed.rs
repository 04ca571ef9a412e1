//! A second database that follows the first by its change feed: it copies what is there, then applies each
//! transaction as it was committed. A named consumer keeps what it has yet to see from garbage collection
//! while it is away, and a token says where to go on.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore_engine::{
    Batch, CatalogChange, CommittedTransaction, Durability, Engine, Error as EngineError, Feed,
    Keyspace, Options, ResumeToken, ScanDirection, Snapshot,
};
use icecore_gc::{Consumer, ConsumerOptions, Error as GcError, GcOptions, collect};
use icecore_mvcc::{Descriptor, KeyRange, KeyspaceId, KeyspaceSettings};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The second database, with its keyspaces by the ids that the first one gave them.
struct Mirror {
    engine: Engine,
    keyspaces: BTreeMap<KeyspaceId, Keyspace>,
    /// Kept beside the rows by a mirror that is to survive its process.
    token: Option<ResumeToken>,
}

impl Mirror {
    /// Copies a keyspace whole.
    fn copy(&mut self, source: &Engine, what: &Descriptor, at: &Snapshot) -> Result<()> {
        let copy = self
            .engine
            .create_keyspace(&what.name, what.settings.clone())?;
        let rows = source
            .keyspace_by_id(what.id)?
            .scan(at, &KeyRange::all(), ScanDirection::Forward)?
            .map(|row| row.map(|row| (row.key, row.value)));
        self.engine.bulk_load(&copy, rows)?;
        self.keyspaces.insert(what.id, copy);
        Ok(())
    }

    fn apply(&mut self, source: &Engine, transaction: &CommittedTransaction) -> Result<()> {
        for change in &transaction.catalog {
            let what = change.descriptor();
            match change {
                CatalogChange::Created(_) => {
                    let made = self
                        .engine
                        .create_keyspace(&what.name, what.settings.clone())?;
                    self.keyspaces.insert(what.id, made);
                }
                CatalogChange::Restored(_) => {
                    let at = source.snapshot_at(transaction.timestamp)?;
                    self.copy(source, what, &at)?;
                }
                CatalogChange::Altered(_) => {
                    self.engine
                        .alter_keyspace(&what.name, what.settings.clone())?;
                }
                CatalogChange::Dropped(_) => {
                    self.engine.drop_keyspace(&what.name)?;
                    self.keyspaces.remove(&what.id);
                }
            }
        }
        let mut batch = Batch::new();
        for change in &transaction.changes {
            let keyspace = self
                .keyspaces
                .get(&change.keyspace)
                .ok_or("a row of a keyspace that was never announced")?;
            match &change.value {
                Some(value) => batch.put(keyspace, &change.key, value),
                None => batch.delete(keyspace, &change.key),
            };
        }
        self.engine.commit(batch, Durability::Buffered)?;
        self.token = transaction.token.or(self.token);
        Ok(())
    }

    /// Applies all that has come; how many transactions.
    fn follow(&mut self, source: &Engine, feed: &mut Feed) -> Result<u64> {
        let mut applied = 0;
        while let Some(transaction) = feed.next(Duration::from_millis(50))? {
            self.apply(source, &transaction)?;
            applied += u64::from(transaction.last);
        }
        Ok(applied)
    }
}

/// All rows of all keyspaces, by name.
type State = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

fn state(engine: &Engine) -> Result<State> {
    let now = engine.snapshot();
    let mut state = State::new();
    for keyspace in engine.keyspaces() {
        let scan = keyspace.scan(&now, &KeyRange::all(), ScanDirection::Forward)?;
        let rows = scan.map(|row| row.map(|row| (row.key, row.value)));
        let rows: std::result::Result<_, EngineError> = rows.collect();
        state.insert(keyspace.name().to_owned(), rows?);
    }
    Ok(state)
}

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = Engine::open(dir.path().join("source"), &Options::default())?;
    let orders = source.create_keyspace("shop.orders", KeyspaceSettings::default())?;
    for n in 0..100 {
        orders.put(format!("{n:03}"), "open", Durability::Buffered)?;
    }

    // What is there, and from then on what comes.
    let mut mirror = Mirror {
        engine: Engine::open(dir.path().join("mirror"), &Options::default())?,
        keyspaces: BTreeMap::new(),
        token: None,
    };
    let begin = source.snapshot();
    let options = ConsumerOptions {
        after: Some(begin.timestamp()),
        ..ConsumerOptions::default()
    };
    let mut consumer = Consumer::open(&source, "mirror", options)?;
    for what in source.descriptors_at(begin.timestamp())? {
        mirror.copy(&source, &what, &begin)?;
    }
    drop(begin);

    let mut feed = consumer.subscribe()?;
    let mut batch = Batch::new();
    batch.put(&orders, "017", "paid").delete(&orders, "018");
    source.commit(batch, Durability::Sync)?;
    println!("applied {} transaction", mirror.follow(&source, &mut feed)?);
    assert_eq!(state(&mirror.engine)?, state(&source)?);
    if let Some(token) = mirror.token {
        println!("the mirror stands at {}", token.position());
        consumer.ack(token)?;
    }
    consumer.close()?;
    drop(feed);

    // While the mirror is away, garbage is collected: up to where it stands, and no further.
    orders.put("017", "sent", Durability::Sync)?;
    let prices = source.create_keyspace("shop.prices", KeyspaceSettings::default())?;
    prices.put("tea", "3.10", Durability::Sync)?;
    orders.delete("017", Durability::Sync)?;
    let everything = GcOptions {
        ttl_override: Some(Duration::ZERO),
        ..GcOptions::default()
    };
    let round = collect(&source, &everything)?;
    for keyspace in &round.keyspaces {
        println!("{}: held by {}", keyspace.name, keyspace.held_by);
    }

    let consumer = Consumer::open(&source, "mirror", ConsumerOptions::default())?;
    let token = mirror.token.ok_or("the mirror has no token")?;
    let mut feed = consumer.subscribe_at(token)?;
    let applied = mirror.follow(&source, &mut feed)?;
    println!("applied {applied} transactions after it came back");
    assert_eq!(applied, 4);
    assert_eq!(state(&mirror.engine)?, state(&source)?);

    // Forgotten, it holds nothing, and cannot go on where it was.
    drop(feed);
    Consumer::forget(&source, "mirror")?;
    collect(&source, &everything)?;
    match consumer.subscribe_at(token) {
        Err(GcError::Engine(error @ EngineError::FeedGap { .. })) => println!("{error}"),
        other => return Err(format!("a feed behind the threshold gave {other:?}").into()),
    }
    mirror.engine.close()?;
    Ok(source.close()?)
}
