//! What the figures were taken on.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The machine and the build. Texts are `unknown` where the system does not tell.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Main memory, in bytes; 0 if unknown.
    pub memory: u64,
    /// Operating system and kernel release.
    pub kernel: String,
    /// The Rust compiler.
    pub rustc: String,
    /// Build profile: `release`, or `dev`, whose figures are of no use.
    pub profile: &'static str,
    /// File system of the folder that holds the data.
    pub file_system: String,
    /// Load average of the last minute when the run began: above 0 somebody else was at work.
    pub load: f64,
}

impl Machine {
    /// This machine, with its data in `dir`.
    #[must_use]
    pub fn here(dir: &Path) -> Self {
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory_bytes().unwrap_or_default(),
            kernel: output("uname", &["-sr"]).unwrap_or_else(unknown),
            rustc: output("rustc", &["--version"]).unwrap_or_else(unknown),
            profile: if cfg!(debug_assertions) {
                "dev"
            } else {
                "release"
            },
            file_system: file_system(dir).unwrap_or_else(unknown),
            load: load().unwrap_or_default(),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// The text after `name :` in a file of such lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes() -> Option<u64> {
    let kib: u64 = field("/proc/meminfo", "MemTotal")?
        .strip_suffix("kB")?
        .trim()
        .parse()
        .ok()?;
    Some(kib << 10)
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg")
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn file_system(dir: &Path) -> Option<String> {
    let dir = dir.to_str()?;
    output("stat", &["--file-system", "--format=%T", dir])
}

/// What a program prints, if it is there and succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
