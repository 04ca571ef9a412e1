//! Answering whoever connects.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use icecore_backup::jobs::JobRunner;
use icecore_backup::schedule::ScheduleRunner;

use super::protocol::{Answer, MAX_LINE_BYTES, Request, read_request};
use super::schedules;

/// How long a client may take over its line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections at a time; others wait until one ends.
const MAX_CONNECTIONS: usize = 32;

/// Serves runners until it is told to stop.
pub(crate) struct Server<'a> {
    runner: &'a JobRunner,
    schedules: &'a ScheduleRunner,
    listener: UnixListener,
    stopping: AtomicBool,
    connections: AtomicUsize,
}

impl<'a> Server<'a> {
    pub(crate) fn new(
        runner: &'a JobRunner,
        schedules: &'a ScheduleRunner,
        listener: UnixListener,
    ) -> Self {
        Self {
            runner,
            schedules,
            listener,
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        }
    }

    /// Answers until [`Server::stop`].
    pub(crate) fn run(&self) {
        std::thread::scope(|scope| {
            loop {
                let accepted = self.listener.accept();
                if self.stopping.load(Ordering::Acquire) {
                    return;
                }
                match accepted {
                    Ok((stream, _)) => {
                        while self.connections.load(Ordering::Acquire) >= MAX_CONNECTIONS {
                            std::thread::sleep(Duration::from_millis(5));
                        }
                        self.connections.fetch_add(1, Ordering::AcqRel);
                        scope.spawn(move || {
                            // A client that went away is no failure of ours.
                            let _ = self.serve(&stream);
                            self.connections.fetch_sub(1, Ordering::AcqRel);
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
            }
        });
    }

    /// Makes [`Server::run`] end, by a connection of our own through which it notices.
    pub(crate) fn stop(&self, connect: impl FnOnce() -> io::Result<Option<UnixStream>>) {
        self.stopping.store(true, Ordering::Release);
        if let Err(error) = connect() {
            tracing::warn!(%error, "the server could not be woken");
        }
    }

    fn serve(&self, mut stream: &UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = Vec::new();
        BufReader::new(stream.take(MAX_LINE_BYTES)).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            // Somebody who only looked whether anybody is there.
            return Ok(());
        }
        let answer = match read_request(&line) {
            Ok(request) => self.answer(request),
            Err(text) => Answer::Error(text),
        };
        let mut line = answer.encode()?;
        line.push(b'\n');
        stream.write_all(&line)
    }

    fn answer(&self, request: Request) -> Answer {
        let job = match request {
            Request::List => {
                return match self.runner.list() {
                    Ok(jobs) => Answer::Jobs(jobs),
                    Err(error) => Answer::Error(error.to_string()),
                };
            }
            Request::Show { id } => self.runner.get(id),
            Request::Pause { id } => self.runner.pause(id),
            Request::Resume { id } => self.runner.resume(id),
            Request::Cancel { id } => self.runner.cancel(id),
            Request::Submit { kind, spec } => self.runner.submit(&kind, spec),
            Request::Schedule { schedule } => {
                let told = schedules::answer(self.schedules.table(), schedule);
                self.schedules.wake();
                return told.into();
            }
        };
        match job {
            Ok(job) => Answer::Job(Box::new(job)),
            Err(error) => Answer::Error(error.to_string()),
        }
    }
}
