//! The change feed: committed transactions, whole and in commit order, as they come.
//!
//! A [`Feed`] reads the commit index from its position on, at most up to the visible timestamp, and
//! fetches the rows that it names. So it never shows a transaction that could still be preceded by
//! another, and its cost follows what was written. What it needs is held by a pin at its position,
//! which moves with it: while a feed lives, no threshold passes what it has yet to deliver. A feed
//! that begins below a threshold, or below what is left of the index, is an error that names both
//! times. See `docs/guide/change-feed.md`.

mod fetch;
mod keyspaces;
mod part;
mod scan;
mod token;
mod transaction;
mod window;

use std::time::{Duration, Instant};

use icecore_mvcc::{NamePattern, Timestamp};
pub use token::ResumeToken;
pub use transaction::{CatalogChange, CommittedTransaction, FeedChange};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::read::Snapshot;
use keyspaces::Keyspaces;
use part::Part;
use window::{IndexWindow, Step, Work};

/// Where a feed begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedStart {
    /// After a time: the first transaction is the first one above it.
    After(Timestamp),
    /// Where an earlier feed of the same database stood.
    Resume(ResumeToken),
}

impl From<Timestamp> for FeedStart {
    fn from(after: Timestamp) -> Self {
        Self::After(after)
    }
}

impl From<ResumeToken> for FeedStart {
    fn from(token: ResumeToken) -> Self {
        Self::Resume(token)
    }
}

/// Settings of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedOptions {
    /// Which keyspaces, by name, those that come later too; empty means all. Default: all.
    pub keyspaces: Vec<NamePattern>,
    /// Where to begin.
    pub start: FeedStart,
    /// A transaction whose keys and values come to more than about this many bytes is delivered in
    /// parts; one row may still make a part larger. Default 4 MiB.
    pub part_bytes: usize,
    /// Sync the log before what was committed is delivered, so that a power failure of the source
    /// takes nothing back that a consumer has. Costs one sync for each read of the index that found
    /// something. Default `true`.
    pub synced: bool,
}

impl FeedOptions {
    /// All keyspaces, from there on.
    pub fn new(start: impl Into<FeedStart>) -> Self {
        Self {
            keyspaces: Vec::new(),
            start: start.into(),
            part_bytes: 4 << 20,
            synced: true,
        }
    }
}

/// A running change feed. It keeps the engine open, and history from its position on.
pub struct Feed {
    engine: Engine,
    options: FeedOptions,
    /// All at or below was delivered whole, or is not of its keyspaces.
    position: Timestamp,
    /// Holds the position.
    pin: Snapshot,
    keyspaces: Keyspaces,
    window: IndexWindow,
    part: Part,
    /// An error left the three above somewhere behind the position: begin again there.
    stale: bool,
}

/// What one step of a feed came to.
enum Progress {
    Part(CommittedTransaction),
    GoOn,
    UpToDate,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed(after {})", self.position)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        metrics::gauge!("icecore_engine_feeds").decrement(1.0);
    }
}

impl Engine {
    /// Begins to follow what is committed.
    ///
    /// # Errors
    /// [`Error::FeedGap`] when history or the commit index does not reach back so far;
    /// [`Error::ResumeToken`] for a token of another database, or of a state of this one that is lost;
    /// [`Error::InFuture`]; [`Error::Rocks`] when the disk fails.
    pub fn subscribe(&self, options: FeedOptions) -> Result<Feed> {
        let position = match options.start {
            FeedStart::After(after) => after,
            FeedStart::Resume(token) => token.position_in(self)?,
        };
        // The pin first: it holds the thresholds where they are then looked at.
        let pin = self.snapshot_at(position)?;
        let keyspaces = Keyspaces::at(self, &options.keyspaces, position)?;
        metrics::gauge!("icecore_engine_feeds").increment(1.0);
        let feed = Feed {
            engine: self.clone(),
            options,
            position,
            pin,
            keyspaces,
            window: IndexWindow::after(position),
            part: Part::default(),
            stale: false,
        };
        feed.check_covered()?;
        tracing::debug!(after = %position, "subscribed to changes");
        Ok(feed)
    }
}

impl Feed {
    /// The next transaction, or part of one, that is there already; `None` if there is none. Asking
    /// again says that the one before is done with: what only it needed may be collected. A
    /// transaction that comes in parts is whole with the part that is
    /// [`CommittedTransaction::last`].
    ///
    /// After an error the next call goes on after [`Feed::position`]; a transaction that was delivered
    /// in part begins again with its first part.
    ///
    /// # Errors
    /// [`Error::FeedGap`] when history above the position is gone all the same: the feed cannot go on.
    /// [`Error::Rocks`] or [`Error::Corruption`] when it cannot be read.
    pub fn try_next(&mut self) -> Result<Option<CommittedTransaction>> {
        self.next_until(None)
    }

    /// As [`Feed::try_next`]; where there is none, waits up to `timeout` for a commit.
    ///
    /// # Errors
    /// As [`Feed::try_next`]; [`Error::Poisoned`] once the engine has stopped.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<CommittedTransaction>> {
        self.next_until(Some(Instant::now() + timeout))
    }

    /// All transactions at or below this time were delivered whole, or are not of the feed's
    /// keyspaces. Reads as of it are possible until the next call.
    pub fn position(&self) -> Timestamp {
        self.position
    }

    /// The token to go on with after [`Feed::position`].
    pub fn token(&self) -> ResumeToken {
        ResumeToken::new(self.engine.id(), self.position)
    }

    /// How far the position lies behind what is visible.
    pub fn lag(&self) -> Duration {
        self.engine.visible().since(self.position)
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<CommittedTransaction>> {
        loop {
            match self.step() {
                Ok(Progress::Part(part)) => return Ok(Some(part)),
                Ok(Progress::GoOn) => {}
                Ok(Progress::UpToDate) => {
                    let Some(deadline) = deadline else {
                        return Ok(None);
                    };
                    let sequencer = self.engine.sequencer();
                    if !sequencer.await_beyond(self.position, deadline)? {
                        return Ok(None);
                    }
                }
                Err(error) => {
                    self.stale = true;
                    // Where history is gone, what was not found is no damage.
                    return Err(self.check_covered().err().unwrap_or(error));
                }
            }
        }
    }

    fn step(&mut self) -> Result<Progress> {
        if self.stale {
            self.begin_again()?;
        }
        let full = self.part.bytes() >= self.options.part_bytes.max(1);
        match self.window.front() {
            None => return self.read_index(),
            Some(Step { at, work }) if full && !matches!(work, Work::End) => {
                let at = *at;
                return self.deliver(at, false);
            }
            Some(_) => {}
        }
        let Some(Step { at, work }) = self.window.pop() else {
            return Ok(Progress::GoOn);
        };
        let rest = match work {
            Work::Catalog(change) => {
                self.part.catalog.push(change);
                None
            }
            Work::Rows(mut rows) if rows.are_fetched() => {
                self.part.take(&mut rows, self.options.part_bytes);
                (!rows.is_empty()).then_some(Work::Rows(rows))
            }
            Work::Rows(rows) => {
                self.window.put_back(at, Work::Rows(rows));
                fetch::ahead(&mut self.window)?;
                None
            }
            Work::Span(span) => {
                let budget = self.options.part_bytes;
                let rest = scan::span(&mut self.part, at, span, budget, &self.pin)?;
                rest.map(Work::Span)
            }
            Work::End => return self.deliver(at, true),
        };
        if let Some(rest) = rest {
            self.window.put_back(at, rest);
        }
        Ok(Progress::GoOn)
    }

    /// Reads on in the index.
    fn read_index(&mut self) -> Result<Progress> {
        if !self.window.read(&self.engine, &mut self.keyspaces)? {
            self.advance(self.window.passed())?;
            return Ok(Progress::UpToDate);
        }
        self.check_covered()?;
        if self.window.front().is_none() {
            // Nothing of its keyspaces: the position moves on all the same.
            self.advance(self.window.passed())?;
        } else if self.options.synced && !self.engine.is_read_only() {
            self.engine.sync_wal()?;
        }
        Ok(Progress::GoOn)
    }

    /// Hands over what the part holds, unless that is nothing of a transaction at all: the span of a
    /// bulk load that a crash cut short.
    fn deliver(&mut self, at: Timestamp, last: bool) -> Result<Progress> {
        // What was read must have been there.
        self.check_covered()?;
        if last {
            self.advance(at)?;
        }
        let Some(transaction) = self.part.close(at, last, self.engine.id()) else {
            return Ok(Progress::GoOn);
        };
        if last {
            metrics::counter!("icecore_engine_feed_transactions_total").increment(1);
        }
        metrics::counter!("icecore_engine_feed_changes_total")
            .increment(transaction.changes.len() as u64);
        Ok(Progress::Part(transaction))
    }

    /// Moves the position, and the pin with it.
    fn advance(&mut self, to: Timestamp) -> Result<()> {
        if to > self.position {
            self.pin = self.engine.snapshot_at(to)?;
            self.position = to;
        }
        Ok(())
    }

    fn begin_again(&mut self) -> Result<()> {
        let patterns = &self.options.keyspaces;
        self.keyspaces = Keyspaces::at(&self.engine, patterns, self.position)?;
        self.window = IndexWindow::after(self.position);
        self.part = Part::default();
        self.stale = false;
        self.check_covered()
    }

    /// An error if anything above the position is gone.
    fn check_covered(&self) -> Result<()> {
        let low_water = self.engine.meta().index_low_water()?;
        let gap = |what: String, floor: Timestamp| {
            metrics::counter!("icecore_engine_feed_gaps_total").increment(1);
            Error::FeedGap {
                position: self.position,
                what,
                floor,
            }
        };
        if self.position < low_water {
            return Err(gap("the commit index".to_owned(), low_water));
        }
        match self.keyspaces.first_gap(self.position) {
            Some((name, threshold)) => Err(gap(format!("the history of {name}"), threshold)),
            None => Ok(()),
        }
    }
}
