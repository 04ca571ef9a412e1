//! What to type to look around.

use crate::folders::Folders;
use crate::load::FLIGHTS;
use crate::proof::Truth;

/// Prints commands that work on what was kept, or how to keep it.
pub(crate) fn print(folders: &Folders, truth: &Truth, kept: bool) {
    if !kept {
        println!("\nTo look around, keep everything: cargo xtask demo --dir /tmp/icecore-demo");
        return;
    }
    let db = format!("icecore --db {}", folders.restored_latest().display());
    let (delayed, mid) = (&truth.delayed, truth.mid.ts);
    println!(
        "\nEverything is in {}. To look around:",
        folders.root().display()
    );
    println!("  cargo build --workspace --bin icecore && alias icecore=$PWD/target/debug/icecore");
    println!("  {db} keyspace list");
    println!("  {db} scan {FLIGHTS} --prefix 2013-12-24/ --limit 3");
    println!("  {db} versions {FLIGHTS} {delayed}");
    println!("  {db} get {FLIGHTS} {delayed} --as-of {mid}    # not flown yet");
    println!(
        "  icecore show backups --in file://{}",
        folders.backups().display()
    );
    println!(
        "  icecore --db {} restore --from file://{} --as-of {mid}",
        folders.root().join("mine").display(),
        folders.backups().display(),
    );
}
