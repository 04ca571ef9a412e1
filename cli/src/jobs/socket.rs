//! The socket in the database folder.
//!
//! It is made in a folder that nobody else may enter, given to its owner alone, and then moved to its place, so
//! that there is no moment at which somebody else could connect. One that a dead process left behind refuses
//! connections, and is replaced.
//!
//! The path of a socket has room for some 100 bytes. A longer one is reached through the folder's descriptor,
//! where the system has such paths (Linux); elsewhere the error says so.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The socket's name in the database folder.
pub(crate) const SOCKET: &str = "jobs.sock";

/// The longest path that every system takes.
const MAX_PATH_BYTES: usize = 100;

/// A path of a file in a folder that is short enough, and what keeps it valid.
struct ShortPath {
    path: PathBuf,
    _folder: Option<File>,
}

impl ShortPath {
    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
        if !short.exists() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidFilename,
                "its path is too long for a socket; reach the database by a shorter path, such as a symbolic link",
            ));
        }
        Ok(Self {
            path: short.join(name),
            _folder: Some(folder),
        })
    }
}

/// Listens at the socket of a database folder, which the caller holds: nobody else serves it.
pub(crate) fn listen(folder: &Path, staging: &Path) -> io::Result<UnixListener> {
    let private = staging.join("jobs-socket");
    match DirBuilder::new().mode(0o700).create(&private) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let made = private.join(SOCKET);
    remove_if_there(&made)?;
    let listener = UnixListener::bind(ShortPath::of(&private, SOCKET)?.path)?;
    std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    std::fs::rename(&made, folder.join(SOCKET))?;
    std::fs::remove_dir(&private)?;
    Ok(listener)
}

/// Removes the socket when nobody serves the database any more.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    remove_if_there(&folder.join(SOCKET))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Connects to whoever serves a database folder; `None` where nobody does.
pub(crate) fn connect(folder: &Path) -> io::Result<Option<UnixStream>> {
    if !folder.join(SOCKET).exists() {
        return Ok(None);
    }
    match UnixStream::connect(ShortPath::of(folder, SOCKET)?.path) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_its_owners_alone_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (db, staging) = (folder.path().join("db"), folder.path().join("db/staging"));
        std::fs::create_dir_all(&staging).unwrap();
        assert!(connect(&db).unwrap().is_none());
        for _ in 0..2 {
            let listener = listen(&db, &staging).unwrap();
            let mode = std::fs::metadata(db.join(SOCKET))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(connect(&db).unwrap().is_some());
            drop(listener);
            // As a process that was killed leaves it.
            assert!(db.join(SOCKET).exists());
            assert!(connect(&db).unwrap().is_none());
        }
        assert_eq!(std::fs::read_dir(&staging).unwrap().count(), 0);
        remove(&db).unwrap();
        remove(&db).unwrap();
        assert!(!db.join(SOCKET).exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_long_path_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("a-long-name".repeat(20)).join("db");
        let staging = db.join("staging");
        std::fs::create_dir_all(&staging).unwrap();
        let _listener = listen(&db, &staging).unwrap();
        assert!(connect(&db).unwrap().is_some());
    }
}
