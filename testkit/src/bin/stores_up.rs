//! Starts every real store that tests use, prints how to reach each, and stays until it is stopped:
//! `cargo xtask stores up`. Takes the folder that keeps the programs between runs.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use icecore_testkit::servers::{Service, Store};

fn main() -> ExitCode {
    let Some(cache) = std::env::args().nth(1) else {
        eprintln!("error: usage: stores_up FOLDER");
        return ExitCode::from(2);
    };
    let mut started = Vec::new();
    for service in Service::ALL {
        match Store::start(service, &cache) {
            Ok(Some(store)) => {
                println!("\n{service:?}:");
                println!("  icecore --db DIR backup --into '{}'", store.uri("try"));
                println!("  export {}='{}'", service.variable(), store.bucket_uri());
                started.push(store);
            }
            // What is missing was said.
            Ok(None) => {}
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    if started.is_empty() {
        eprintln!("error: no store could be started; what is missing is said above");
        return ExitCode::FAILURE;
    }
    println!(
        "\nThe variables make the tests use these. Stop with Ctrl-C: all that is stored goes with them."
    );
    // The servers end with this process, however it ends.
    loop {
        std::thread::park();
    }
}
