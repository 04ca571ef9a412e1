//! How long commits wait for the capture of a fast full.
//!
//! Two threads commit batches one after another, buffered, while the live files are captured again and
//! again. What is counted is the time in which no commit could begin, as the engine measures it: from the
//! wish on, so that it holds the wait for the commits under way. A note says what the writers saw.

use std::fs;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::Bench;
use crate::data;
use crate::error::{Error, Result};
use crate::measure::{Pair, Samples};
use crate::report::{Report, Shape};
use crate::source::{self, Source};
use crate::systems::Store;

const WRITERS: u64 = 2;

/// Rows of one commit.
const BATCH: u64 = 10;

const CAPTURES: usize = 50;

/// Between two captures.
const REST: Duration = Duration::from_millis(100);

/// What a pause is compared with.
const PAUSE_MAX: f64 = 0.01;

/// The longest commit of a writer that touched a capture, and of the others.
type Longest = (Duration, Duration);

/// Takes the figure.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = Source::load(bench)?;
    let (stop, capturing) = (AtomicBool::new(false), AtomicBool::new(false));
    let (pauses, longest) = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (source, stop, capturing) = (&source, &stop, &capturing);
                scope.spawn(move || write(source, writer, stop, capturing))
            })
            .collect();
        let pauses = capture(&source, &capturing);
        stop.store(true, Ordering::Release);
        let mut longest: Longest = Default::default();
        for writer in writers {
            let (within, without) = writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            longest = (longest.0.max(within), longest.1.max(without));
        }
        Ok::<_, Error>((pauses?, longest))
    })?;
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    report.notes.push(format!(
        "pause: {CAPTURES} captures of {} files, the longest {:.2} ms; the longest commit that met one took {:.2} ms, the longest of the others {:.2} ms",
        source.store.keyspace.stats().sst_files,
        millis(pauses.iter().copied().max().unwrap_or_default()),
        millis(longest.0),
        millis(longest.1),
    ));
    let pair = Pair {
        peer: Samples::new(vec![PAUSE_MAX; pauses.len()]),
        ours: Samples::new(pauses.iter().map(Duration::as_secs_f64).collect()),
    };
    let name = "pause of commits for a fast full";
    report.add(name, "10 ms", &pair, Shape::millis(1.0));
    Ok(())
}

/// Captures again and again; how long each paused commits.
fn capture(source: &Source, capturing: &AtomicBool) -> Result<Vec<Duration>> {
    let folder = source.place("captured");
    let mut pauses = Vec::new();
    for _ in 0..CAPTURES {
        thread::sleep(REST);
        fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
        capturing.store(true, Ordering::Release);
        let captured = source.store.engine.capture(&folder, &|_| true);
        capturing.store(false, Ordering::Release);
        pauses.push(captured?.paused);
        source::remove(&folder)?;
    }
    Ok(pauses)
}

/// Commits until it is stopped.
fn write(
    source: &Source,
    writer: u64,
    stop: &AtomicBool,
    capturing: &AtomicBool,
) -> Result<Longest> {
    let mut longest: Longest = Default::default();
    let mut next = writer;
    while !stop.load(Ordering::Acquire) {
        let keys = (0..BATCH).map(|row| (next * BATCH + row) % source.keys);
        let rows: Vec<_> = keys
            .map(|key| data::row(key, next, source.value_bytes))
            .collect();
        next += WRITERS;
        let before = capturing.load(Ordering::Acquire);
        let started = Instant::now();
        source.store.put_batch(&rows, false)?;
        let took = started.elapsed();
        let slot = match before || capturing.load(Ordering::Acquire) {
            true => &mut longest.0,
            false => &mut longest.1,
        };
        *slot = took.max(*slot);
    }
    Ok(longest)
}
