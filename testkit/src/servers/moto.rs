//! Moto: AWS services in one program, of which tests use the key-management service. It comes as a Python
//! package; it answers as AWS does, and keeps its keys in memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::process::{Process, free_ports, http_status};
use crate::python::Package;

const PACKAGE: Package = Package {
    name: "moto[server]",
    version: "5.2.5",
    check: &["python", "-c", "import boto3, moto.server"],
};

/// Starts, each with other ports, before it counts as impossible.
const ATTEMPTS: usize = 3;

const START_LIMIT: Duration = Duration::from_secs(60);

const REGION: &str = "eu-west-1";

/// Makes a key with an alias; prints its ARN.
const MAKE_KEY: &str = r#"
import boto3, sys
kms = boto3.client("kms", region_name=sys.argv[1], endpoint_url=sys.argv[2],
                   aws_access_key_id="test", aws_secret_access_key="test")
key = kms.create_key()["KeyMetadata"]
kms.create_alias(AliasName=sys.argv[3], TargetKeyId=key["KeyId"])
print(key["Arn"])
"#;

/// A running key-management service.
#[derive(Debug)]
pub struct Moto {
    python: PathBuf,
    port: u16,
    /// Kept for its end.
    _process: Process,
}

impl Moto {
    /// Starts one; the program is kept in `cache`.
    ///
    /// # Errors
    /// A text that says why there can be none on this machine.
    pub fn start(cache: &Path) -> Result<Self, String> {
        let programs = PACKAGE.programs(cache)?;
        let mut failures = Vec::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&programs) {
                Ok(started) => return Ok(started),
                Err(reason) => failures.push(reason),
            }
        }
        Err(format!("moto does not start: {}", failures.join(" | ")))
    }

    fn attempt(programs: &Path) -> Result<Self, String> {
        let [port] = free_ports::<1>().map_err(|e| format!("no free ports: {e}"))?;
        let folder = tempfile::Builder::new()
            .prefix("icecore-test-kms-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()].map(str::to_owned);
        let mut process = Process::start(&programs.join("moto_server"), &arguments, folder, &[])
            .map_err(|e| e.to_string())?;
        let is_up = || http_status(port, "GET", "/moto-api/data.json") == Some(200);
        process.wait_until(START_LIMIT, is_up)?;
        Ok(Self {
            python: programs.join("python"),
            port,
            _process: process,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a key by that alias, `alias/…`; its ARN.
    ///
    /// # Errors
    /// What Python said.
    pub fn make_key(&self, alias: &str) -> Result<String, String> {
        self.run(MAKE_KEY, alias)
    }

    /// The URI of a key, without credentials.
    #[must_use]
    pub fn uri(&self, key: &str) -> String {
        format!(
            "aws-kms:///{key}?region={REGION}&AWS_ENDPOINT=http%3A%2F%2F127.0.0.1%3A{}",
            self.port
        )
    }

    fn run(&self, code: &str, argument: &str) -> Result<String, String> {
        let output = Command::new(&self.python)
            .args(["-c", code, REGION, &self.endpoint(), argument])
            .output()
            .map_err(|e| e.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }
}
