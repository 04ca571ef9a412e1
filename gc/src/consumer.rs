//! Consumers of change feeds that outlive a process.
//!
//! A feed holds garbage collection back while it lives; a consumer does so while it is away, too. It is
//! a protected timestamp whose holder is the consumer, by its name, at the position that was acknowledged
//! last. So it is listed with all others, shows what it holds back, and is released by hand where its
//! consumer is gone for good.

use std::time::{Duration, Instant};

use icecore_engine::{Engine, Feed, FeedOptions, FeedStart, ResumeToken};
use icecore_mvcc::{NamePattern, Timestamp};

use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::protect::ProtectedTimestamps;
use crate::record::{ProtectRequest, Record};
use crate::target::Target;

/// What the owner of a consumer's record begins with; its name follows.
const OWNER: &str = "change feed ";

/// Settings of a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// Which keyspaces it follows, by name, those that come later too; empty means all. Those of a
    /// consumer that there is stay as they are. Default: all.
    pub keyspaces: Vec<NamePattern>,
    /// Where a new consumer begins: after this time. Default: now.
    pub after: Option<Timestamp>,
    /// Acknowledgements are made durable at most this often: each one is a synced write. What was
    /// acknowledged since the last is delivered again after a crash. Default 5 s.
    pub ack_interval: Duration,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            keyspaces: Vec::new(),
            after: None,
            ack_interval: Duration::from_secs(5),
        }
    }
}

/// A named consumer of changes, whose position is durable. One process has it at a time; two that
/// open the same name move the same record.
#[derive(Debug)]
pub struct Consumer {
    engine: Engine,
    name: String,
    record: Record,
    acked: Timestamp,
    /// When the record was last moved.
    moved: Instant,
    ack_interval: Duration,
}

impl Consumer {
    /// The consumer of this name: where it stands if there is one, else a new one. From here on
    /// garbage collection leaves it what lies above its position.
    ///
    /// # Errors
    /// [`Error::Verification`] when a threshold has passed the time at which a new one would begin;
    /// [`Error::ConsumerKeyspaces`] when the one that there is follows others;
    /// [`Error::NoSuchKeyspace`] when a pattern without a wildcard matches none;
    /// [`Error::InvalidRequest`] for a name that is empty, too long or not one line;
    /// [`Error::InFuture`].
    pub fn open(engine: &Engine, name: &str, options: ConsumerOptions) -> Result<Self> {
        let ConsumerOptions {
            keyspaces,
            after,
            ack_interval,
        } = options;
        let target = match keyspaces.is_empty() {
            true => Target::All,
            false => Target::Keyspaces(keyspaces),
        };
        let record = match find(engine, name)? {
            Some(record) if record.target == target => record,
            Some(record) => {
                return Err(Error::ConsumerKeyspaces {
                    name: name.to_owned(),
                    has: record.target.to_string(),
                    asked: target.to_string(),
                });
            }
            None => ProtectedTimestamps::new(engine).protect(
                ProtectRequest::new(
                    after.unwrap_or_else(|| engine.visible()),
                    target,
                    format!("{OWNER}{}", checked(name)?),
                )
                .held_by(holder(name)),
            )?,
        };
        Ok(Self {
            engine: engine.clone(),
            name: name.to_owned(),
            acked: record.timestamp,
            record,
            moved: Instant::now(),
            ack_interval,
        })
    }

    /// Ends the consumer of this name: what it held may be collected, and a later one of the name
    /// begins anew. Returns whether there was one.
    ///
    /// # Errors
    /// [`Error::Engine`] when the disk fails.
    pub fn forget(engine: &Engine, name: &str) -> Result<bool> {
        let Some(record) = find(engine, name)? else {
            return Ok(false);
        };
        ProtectedTimestamps::new(engine).release(&record.id)?;
        Ok(true)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its protected timestamp, at the position that is durable.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The position that was acknowledged last.
    pub fn acked(&self) -> Timestamp {
        self.acked
    }

    /// A feed of its keyspaces after the acknowledged position.
    ///
    /// # Errors
    /// As [`Engine::subscribe`].
    pub fn subscribe(&self) -> Result<Feed> {
        self.feed(FeedStart::After(self.acked))
    }

    /// A feed after the token that the consumer keeps with what it applied: then nothing comes twice,
    /// not even after a crash.
    ///
    /// # Errors
    /// As [`Engine::subscribe`].
    pub fn subscribe_at(&self, token: ResumeToken) -> Result<Feed> {
        self.feed(FeedStart::Resume(token))
    }

    fn feed(&self, start: FeedStart) -> Result<Feed> {
        let mut options = FeedOptions::new(start);
        if let Target::Keyspaces(patterns) = &self.record.target {
            options.keyspaces.clone_from(patterns);
        }
        Ok(self.engine.subscribe(options)?)
    }

    /// Says that all up to a token was applied and will not be asked for again. A token behind the last
    /// acknowledged one changes nothing.
    ///
    /// # Errors
    /// [`Error::Engine`] for a token of another database, or when the disk fails;
    /// [`Error::NoSuchRecord`] when the consumer was forgotten meanwhile.
    pub fn ack(&mut self, token: ResumeToken) -> Result<()> {
        let position = token.position_in(&self.engine)?;
        self.acked = self.acked.max(position);
        if self.moved.elapsed() < self.ack_interval {
            return Ok(());
        }
        self.flush()
    }

    /// Makes what was acknowledged durable now.
    ///
    /// # Errors
    /// As [`Consumer::ack`].
    pub fn flush(&mut self) -> Result<()> {
        if self.acked > self.record.timestamp {
            let records = ProtectedTimestamps::new(&self.engine);
            self.record = records.advance(&self.record.id, self.acked)?;
        }
        self.moved = Instant::now();
        Ok(())
    }

    /// Makes what was acknowledged durable, and goes away. The position stays held.
    ///
    /// # Errors
    /// As [`Consumer::ack`].
    pub fn close(mut self) -> Result<()> {
        self.flush()
    }
}

/// By this a consumer's record is known.
fn holder(name: &str) -> Holder {
    Holder::Consumer {
        name: name.to_owned(),
    }
}

fn checked(name: &str) -> Result<&str> {
    if name.trim().is_empty() {
        return Err(Error::InvalidRequest {
            field: "consumer",
            reason: "has no name; give it one".to_owned(),
        });
    }
    Ok(name)
}

fn find(engine: &Engine, name: &str) -> Result<Option<Record>> {
    let holder = Some(holder(name));
    let records = ProtectedTimestamps::new(engine).list()?;
    Ok(records.into_iter().find(|record| record.holder == holder))
}
