//! Azurite: Microsoft's emulator of Azure Blob Storage, a package of npm that runs in node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use icecore_archive::RunId;

use super::process::{Process, free_ports, http_status};
use crate::python::{lock, run};

const VERSION: &str = "3.35.0";

const ACCOUNT: &str = "icecoretest";

const CONTAINER: &str = "icecore-test";

/// Starts, each with another port, before it counts as impossible.
const ATTEMPTS: usize = 3;

/// A start takes 4 seconds on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(90);

/// Makes the container: the request needs a signature, and node is there anyway.
const MAKE_CONTAINER: &str = r"
const [port, account, container] = process.argv.slice(1);
const key = Buffer.from(process.env.ACCOUNT_KEY, 'base64');
const date = new Date().toUTCString(), version = '2021-12-02', path = `/${account}/${container}`;
const text = 'PUT' + '\n'.repeat(12) + `x-ms-date:${date}\nx-ms-version:${version}\n/${account}${path}\nrestype:container`;
const signature = require('crypto').createHmac('sha256', key).update(text).digest('base64');
const headers = {'x-ms-date': date, 'x-ms-version': version, Authorization: `SharedKey ${account}:${signature}`};
fetch(`http://127.0.0.1:${port}${path}?restype=container`, {method: 'PUT', headers}).then(async answer => {
  if (answer.status !== 201) { console.error(answer.status, await answer.text()); process.exit(1); }
});
";

/// A running server with one account and one container.
#[derive(Debug)]
pub struct Azurite {
    _process: Process,
    port: u16,
    account_key: String,
}

impl Azurite {
    /// Starts one; the program is kept in `cache`. Needs node and npm, and the network the first time.
    ///
    /// # Errors
    /// A text that says why there can be none on this machine.
    pub fn start(cache: &Path) -> Result<Self, String> {
        let program = install(cache)?;
        let mut failures = Vec::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program) {
                Ok(started) => return Ok(started),
                Err(reason) => failures.push(reason),
            }
        }
        Err(format!("azurite does not start: {}", failures.join(" | ")))
    }

    fn attempt(program: &Path) -> Result<Self, String> {
        let [port] = free_ports::<1>().map_err(|e| format!("no free ports: {e}"))?;
        let folder = tempfile::Builder::new()
            .prefix("icecore-test-azure-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        // Hex digits are base64 too; 64 of them make 48 bytes.
        let account_key = format!("{}{}", RunId::random(), RunId::random()).replace('-', "");
        let accounts = format!("AZURITE_ACCOUNTS={ACCOUNT}:{account_key}");
        let arguments = [
            accounts,
            "node".to_owned(),
            program.display().to_string(),
            "--blobHost".to_owned(),
            "127.0.0.1".to_owned(),
            "--blobPort".to_owned(),
            port.to_string(),
            "--location".to_owned(),
            ".".to_owned(),
            "--silent".to_owned(),
            "--disableTelemetry".to_owned(),
            // The client asks in the words of a version that came after this program.
            "--skipApiVersionCheck".to_owned(),
        ];
        let mut process =
            Process::start(Path::new("env"), &arguments, folder, &[]).map_err(|e| e.to_string())?;
        // A stranger is turned away: it is up.
        process.wait_until(START_LIMIT, || http_status(port, "GET", "/") == Some(400))?;
        let mut make = Command::new("node");
        make.args(["-e", MAKE_CONTAINER, &port.to_string(), ACCOUNT, CONTAINER])
            .env("ACCOUNT_KEY", &account_key);
        run(&mut make).map_err(|e| format!("the container cannot be made: {e}"))?;
        Ok(Self {
            _process: process,
            port,
            account_key,
        })
    }

    /// `azure://container`.
    #[must_use]
    pub fn container(&self) -> String {
        format!("azure://{CONTAINER}")
    }

    /// The parameters of a URI, percent-encoded.
    #[must_use]
    pub fn parameters(&self) -> String {
        format!(
            "AZURE_ACCOUNT_NAME={ACCOUNT}&AZURE_ACCOUNT_KEY={}&AZURE_ENDPOINT=http%3A%2F%2F127.0.0.1%3A{}%2F{ACCOUNT}",
            self.account_key, self.port
        )
    }
}

/// The program's path, after it was installed where it is not yet.
fn install(cache: &Path) -> Result<PathBuf, String> {
    let folder = cache.join(format!("azurite-{VERSION}"));
    let _installing = lock(cache, &folder)?;
    let program = folder.join("node_modules/azurite/dist/src/blob/main.js");
    let works = || run(Command::new("node").arg(&program).arg("--version"));
    if works().is_ok() {
        return Ok(program);
    }
    // Whatever an interrupted run left is cleared.
    let _nothing_there = fs::remove_dir_all(&folder);
    let quiet = ["--no-audit", "--no-fund", "--omit=dev", "--ignore-scripts"];
    let mut npm = Command::new("npm");
    npm.arg("install").arg("--prefix").arg(&folder).args(quiet);
    npm.args(["--fetch-retries", "1", "--fetch-timeout", "15000"]);
    npm.arg(format!("azurite@{VERSION}"));
    run(&mut npm).map_err(|e| format!("npm install azurite@{VERSION}: {e}"))?;
    works().map_err(|e| format!("azurite was installed and does not work: {e}"))?;
    Ok(program)
}
