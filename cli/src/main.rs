//! The `icecore` command. All of it lies in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    icecore_cli::run()
}
