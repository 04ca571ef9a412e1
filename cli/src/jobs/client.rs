//! Asking the process that serves a database.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_backup::jobs::JobRow;

use super::protocol::{self, Answer, Answered, MAX_LINE_BYTES, Request, VERSION};
use super::schedules::{Asked, Told};
use super::socket;
use crate::error::{Error, Result};

/// How long an answer may take: it waits for the disk, never for a job.
const PATIENCE: Duration = Duration::from_secs(60);

/// The process that serves a database.
pub(crate) struct Client {
    db: PathBuf,
}

impl Client {
    /// Whoever serves that database; `None` where nobody does.
    pub(crate) fn find(db: &Path) -> Result<Option<Self>> {
        let found = socket::connect(db).map_err(failed(db))?;
        Ok(found.map(|_| Self { db: db.to_owned() }))
    }

    /// Asks for one job.
    pub(crate) fn job(&self, request: Request) -> Result<JobRow> {
        match self.ask(request)? {
            Answer::Job(job) => Ok(*job),
            answer => Err(self.unexpected(answer)),
        }
    }

    /// Asks for all jobs.
    pub(crate) fn jobs(&self) -> Result<Vec<JobRow>> {
        match self.ask(Request::List)? {
            Answer::Jobs(jobs) => Ok(jobs),
            answer => Err(self.unexpected(answer)),
        }
    }

    /// Asks something of the schedules.
    pub(crate) fn schedules(&self, schedule: Asked) -> Result<Told> {
        match self.ask(Request::Schedule { schedule })? {
            Answer::Schedules(told) => Ok(told),
            answer => Err(self.unexpected(answer)),
        }
    }

    fn unexpected(&self, answer: Answer) -> Error {
        Error::Server(match answer {
            Answer::Error(text) => text,
            _ => format!(
                "the process that serves database {} gave an answer to another question; use the same version of icecore on both sides",
                self.db.display()
            ),
        })
    }

    fn ask(&self, request: Request) -> Result<Answer> {
        let stream = socket::connect(&self.db).map_err(failed(&self.db))?;
        let stream = stream.ok_or_else(|| Error::Unserved {
            path: self.db.clone(),
        })?;
        let line = exchange(&stream, request).map_err(failed(&self.db))?;
        let answered: Answered = serde_json::from_slice(&line).map_err(|e| {
            Error::Server(format!(
                "the answer of the process that serves database {} cannot be read: {e}; use the same version of icecore on both sides",
                self.db.display()
            ))
        })?;
        Ok(answered.answer)
    }
}

fn exchange(mut stream: &UnixStream, request: Request) -> std::io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(&protocol::Asked {
        version: VERSION,
        request,
    })?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(MAX_LINE_BYTES)).read_until(b'\n', &mut answer)?;
    Ok(answer)
}

fn failed(db: &Path) -> impl FnOnce(std::io::Error) -> Error {
    Error::io(
        "ask",
        format!("the process that serves database {}", db.display()),
    )
}
