//! A server's process: in a temporary folder, and never outliving the test that started it.
//!
//! The server is the child of a small shell script that waits for its standard input to end. It ends
//! when the test drops the process or panics, and also when the test is killed, or keeps the process in
//! a static that nobody drops. The script then kills the server and removes what it left.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Takes what is to be removed at the end, one path a line, then the server's command.
const GUARD: &str = r#"
exec 3<&0
leftovers=$1; shift
"$@" 3<&- &
server=$!
{
    cat <&3
    [ -e .ended ] || kill -9 $server
    printf '%s\n' "$leftovers" | while IFS= read -r path; do rm -rf -- "$path"; done
} >/dev/null 2>&1 &
exec 3<&-
wait $server
status=$?
: >.ended
exit $status
"#;

/// The server's output, in its folder.
const LOG: &str = "server.log";

/// Between two looks at a server that is starting.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running server.
#[derive(Debug)]
pub struct Process {
    script: Child,
    folder: TempDir,
}

impl Process {
    /// Starts a program in a folder, which is its home and its current folder too. `sockets` are files
    /// outside of it that the program makes and, killed, does not remove.
    ///
    /// # Errors
    /// When the machine has no `sh`, or the folder cannot be used.
    pub fn start(
        program: &Path,
        arguments: &[String],
        folder: TempDir,
        sockets: &[PathBuf],
    ) -> io::Result<Self> {
        let log = File::create(folder.path().join(LOG))?;
        let mut leftovers = folder.path().as_os_str().to_owned();
        for socket in sockets {
            leftovers.push("\n");
            leftovers.push(socket);
        }
        let script = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(leftovers)
            .arg(program)
            .args(arguments)
            .current_dir(folder.path())
            .env("HOME", folder.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { script, folder })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the server answers.
    ///
    /// # Errors
    /// A text with the end of its log, when it ended or the time is up.
    pub fn wait_until(
        &mut self,
        limit: Duration,
        answers: impl Fn() -> bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        while !answers() {
            if let Ok(Some(status)) = self.script.try_wait() {
                return Err(format!("it ended with {status}: {}", self.log_end()));
            }
            if begun.elapsed() > limit {
                let seconds = limit.as_secs();
                return Err(format!("no answer within {seconds} s: {}", self.log_end()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn log_end(&self) -> String {
        let bytes = fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let end = lines.len().saturating_sub(5);
        lines.get(end..).unwrap_or_default().join("; ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The end of its input; the script ends with the server.
        drop(self.script.stdin.take());
        let _dead_already = self.script.wait();
    }
}

/// Ports of loopback that were free just now. Another process may take one meanwhile: a server that
/// does not come up is started again with others.
///
/// # Errors
/// When the machine has none left.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut ports = [0; N];
    // Held until all are known, so that no port is given twice.
    let mut held = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// The status that a server on loopback answers to a request without a body; `None` if it does not.
#[must_use]
pub fn http_status(port: u16, method: &str, path: &str) -> Option<u16> {
    let limit = Duration::from_secs(5);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n"
    )
    .ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    let status = std::str::from_utf8(&head).ok()?.strip_prefix("HTTP/1.")?;
    status.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: TempDir, socket: &Path) -> (Process, u32) {
        let script = "echo $$ > pid; touch \"$1\"; exec sleep 600";
        let arguments = ["-c", script, "sh", socket.to_str().unwrap()].map(str::to_owned);
        let sockets = [socket.to_owned()];
        let mut process =
            Process::start(Path::new("/bin/sh"), &arguments, folder, &sockets).unwrap();
        let pid = process.folder().join("pid");
        let read = || fs::read_to_string(&pid).unwrap_or_default();
        process
            .wait_until(Duration::from_secs(30), || {
                read().ends_with('\n') && socket.exists()
            })
            .unwrap();
        let pid = read().trim().parse().unwrap();
        (process, pid)
    }

    fn is_alive(pid: u32) -> bool {
        let pid = pid.to_string();
        let kill = Command::new("kill").args(["-0", &pid]).output().unwrap();
        kill.status.success()
    }

    fn is_gone_soon(pid: u32, paths: &[&Path]) -> bool {
        let begun = Instant::now();
        while is_alive(pid) || paths.iter().any(|path| path.exists()) {
            if begun.elapsed() > Duration::from_secs(30) {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }

    #[test]
    fn a_server_ends_with_its_value_and_leaves_nothing() {
        let outside = tempfile::tempdir().unwrap();
        let socket = outside.path().join("a socket");
        let (process, pid) = sleeper(tempfile::tempdir().unwrap(), &socket);
        let folder = process.folder().to_owned();
        assert!(is_alive(pid));
        drop(process);
        assert!(is_gone_soon(pid, &[&folder, &socket]));
    }

    #[test]
    fn a_server_ends_with_a_test_that_panics_or_forgets_it() {
        let outside = tempfile::tempdir().unwrap();
        let socket = outside.path().join("socket");
        let (process, pid) = sleeper(tempfile::tempdir().unwrap(), &socket);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _owned = process;
            panic!("as a test does");
        }));
        assert!(panicked.is_err() && is_gone_soon(pid, &[&socket]));

        let (mut process, pid) = sleeper(tempfile::tempdir().unwrap(), &socket);
        let folder = process.folder().to_owned();
        // What the end of this process does to every pipe of it.
        drop(process.script.stdin.take());
        std::mem::forget(process);
        assert!(is_gone_soon(pid, &[&folder, &socket]));
    }

    #[test]
    fn one_that_does_not_start_says_why() {
        let arguments = ["-c", "echo port taken; exit 3"].map(str::to_owned);
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(Path::new("/bin/sh"), &arguments, folder, &[]).unwrap();
        let ended = process.wait_until(Duration::from_secs(30), || false);
        assert_eq!(
            ended.unwrap_err(),
            "it ended with exit status: 3: port taken"
        );
    }

    #[test]
    fn a_status_is_read() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
            String::from_utf8_lossy(request.get(..read).unwrap()).into_owned()
        });
        assert_eq!(http_status(port, "GET", "/x"), Some(403));
        assert!(server.join().unwrap().starts_with("GET /x HTTP/1.0\r\n"));
        assert_eq!(http_status(port, "GET", "/x"), None);
    }
}
