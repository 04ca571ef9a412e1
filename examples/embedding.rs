//! The skeleton of a server that embeds Icecore: open, serve, collect garbage in the background,
//! back up as time passes, and close without losing anything. `docs/guide/embedding.md` walks
//! through it.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Durability, Engine, Keyspace, Options};
use icecore_examples::fingerprint::Fingerprint;
use icecore_gc::{Worker, WorkerOptions};
use icecore_mvcc::KeyspaceSettings;
use icecore_restore::{RestoreOptions, restore};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// So often in this example; a real server takes an hour.
const BACKUP_EVERY: Duration = Duration::from_millis(150);

/// What clients ask of the server.
enum Request {
    Put {
        key: String,
        value: String,
        done: oneshot::Sender<Outcome<()>>,
    },
    Get {
        key: String,
        done: oneshot::Sender<Outcome<Option<Vec<u8>>>>,
    },
}

/// A running server.
struct Server {
    engine: Engine,
    garbage: Worker,
    backups: JoinHandle<Outcome<u32>>,
    serving: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Opens the database, and starts what runs beside the requests.
    async fn start(dir: &Path, requests: mpsc::Receiver<Request>) -> Outcome<Self> {
        let engine = Engine::open(dir.join("db"), &Options::default())?;
        let orders = match engine.keyspace("shop.orders") {
            Ok(orders) => orders,
            Err(icecore_engine::Error::NoSuchKeyspace { .. }) => {
                engine.create_keyspace("shop.orders", KeyspaceSettings::default())?
            }
            Err(error) => return Err(error.into()),
        };
        let uri = CollectionUri::from_local_path(dir.join("backups"))?;
        let collection = Collection::create_or_open(&uri, StoreOptions::default()).await?;
        let garbage = Worker::start(engine.clone(), WorkerOptions::default())?;
        let (stop, stopped) = watch::channel(false);
        let backups = tokio::spawn(back_up(engine.clone(), collection, stopped));
        let serving = tokio::spawn(serve(orders, requests));
        Ok(Self {
            engine,
            garbage,
            backups,
            serving,
            stop,
        })
    }

    /// Closes in the order that loses nothing: requests, backups, garbage collection, database.
    async fn stop(self) -> Outcome<u32> {
        self.serving.await?;
        self.stop.send(true)?;
        let layers = self.backups.await??;
        spawn_blocking(move || {
            self.garbage.stop()?;
            self.engine.close()?;
            Ok(layers)
        })
        .await?
    }
}

/// Answers requests until no client is left. The engine blocks, so it is called on threads that
/// may.
async fn serve(orders: Keyspace, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        let orders = orders.clone();
        let answered = spawn_blocking(move || match request {
            // A client that went away takes no answer; its write counts all the same.
            Request::Put { key, value, done } => {
                let put = orders.put(key, value, Durability::Sync);
                let _gone = done.send(put.map(|_| ()).map_err(Into::into));
            }
            Request::Get { key, done } => {
                let _gone = done.send(orders.get(key.as_bytes()).map_err(Into::into));
            }
        });
        if let Err(panicked) = answered.await {
            eprintln!("a request failed: {panicked}");
        }
    }
}

/// Takes a full, then an incremental each time it is due, and a last one when the server stops.
/// Returns how many layers it took.
async fn back_up(
    engine: Engine,
    collection: Collection,
    mut stopped: watch::Receiver<bool>,
) -> Outcome<u32> {
    let mut layers = 0;
    let mut options = BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    };
    let mut due = interval_at(Instant::now(), BACKUP_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let last = tokio::select! {
            _ = due.tick() => false,
            _ = stopped.changed() => true,
        };
        match backup(&engine, &collection, &options).await {
            Ok(report) => {
                layers += 1;
                println!("backup {}: {} versions", report.layer, report.entries());
                options.onto = Some(BackupSelector::Latest);
            }
            // The protected timestamp holds: the next backup takes what this one did not.
            Err(error) => eprintln!("backup failed, trying again when the next is due: {error}"),
        }
        if last {
            return Ok(layers);
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let (client, requests) = mpsc::channel(100);
    let server = Server::start(dir.path(), requests).await?;
    for n in 0..40 {
        let (done, answer) = oneshot::channel();
        let (key, value) = (format!("order/{n:03}"), format!("{n} cups"));
        client.send(Request::Put { key, value, done }).await?;
        answer.await??;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (done, answer) = oneshot::channel();
    client
        .send(Request::Get {
            key: "order/017".to_owned(),
            done,
        })
        .await?;
    assert_eq!(answer.await??.as_deref(), Some(&b"17 cups"[..]));

    // A real server waits for tokio::signal::ctrl_c() here.
    drop(client);
    let layers = server.stop().await?;
    println!("closed after {layers} backups");
    assert!(layers >= 3);

    // It opens again as it was, and so does what the backups hold.
    let engine = Engine::open(dir.path().join("db"), &Options::default())?;
    let was = Fingerprint::of(&engine, &engine.snapshot())?;
    assert_eq!(was.rows, 40);
    let copy = Engine::open(dir.path().join("copy"), &Options::default())?;
    let uri = CollectionUri::from_local_path(dir.path().join("backups"))?;
    let collection = Collection::open(&uri, StoreOptions::default()).await?;
    restore(&copy, &collection, &RestoreOptions::default()).await?;
    assert_eq!(Fingerprint::of(&copy, &copy.snapshot())?, was);
    println!("the last backup holds all {} rows", was.rows);
    Ok(())
}
