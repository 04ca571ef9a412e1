//! The programs of `examples/`: built by cargo, which also says which there are and where they
//! lie, then run. Each runs without arguments from the workspace's top folder, keeps its files in
//! a temporary folder, and exits 0 when all that it shows came true.

use std::path::PathBuf;
use std::time::Instant;

use serde::Deserialize;

use crate::children;
use crate::error::Error;
use crate::workspace::Workspace;

/// A built example.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    name: String,
    executable: PathBuf,
}

/// Builds one example and returns its program.
///
/// # Errors
/// [`Error::Failed`] where it does not build, [`Error::Absent`] where there is none of that name.
pub(crate) fn build_one(workspace: &Workspace, name: &str) -> Result<PathBuf, Error> {
    let built = build(workspace, &["--example", name])?;
    let found = built.into_iter().find(|example| example.name == name);
    found
        .map(|example| example.executable)
        .ok_or_else(|| Error::Absent {
            what: format!("example `{name}`"),
        })
}

/// Builds and runs every example.
///
/// # Errors
/// [`Error::Failed`] for the first that does not build or does not exit 0; [`Error::Absent`] where
/// there is none at all.
pub(crate) fn run_all(workspace: &Workspace) -> Result<(), Error> {
    let examples = build(workspace, &["--examples"])?;
    if examples.is_empty() {
        return Err(Error::Absent {
            what: "example".to_owned(),
        });
    }
    for example in &examples {
        println!("\n-- example {}", example.name);
        let begun = Instant::now();
        children::run(&mut workspace.command(&example.executable))?;
        println!(
            "-- example {} ran {:.1} s",
            example.name,
            begun.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

fn build(workspace: &Workspace, what: &[&str]) -> Result<Vec<Example>, Error> {
    let mut cargo = workspace.cargo();
    // The whole workspace is selected so that features, and with them what is compiled, are those of
    // `cargo xtask test`.
    cargo.args(["build", "--workspace", "--locked"]).args(what);
    cargo.arg("--message-format=json-render-diagnostics");
    let mut examples: Vec<Example> = children::read_output(&mut cargo)?
        .lines()
        .filter_map(example_of)
        .collect();
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(examples)
}

#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    target: Option<MessageTarget>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
    kind: Vec<String>,
}

/// The example that a line of cargo's messages says was built.
fn example_of(line: &str) -> Option<Example> {
    let message: Message = serde_json::from_str(line).ok()?;
    let target = message
        .target
        .filter(|target| target.kind.iter().any(|kind| kind == "example"))?;
    Some(Example {
        name: target.name,
        executable: message.executable?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_programs_of_examples_are_taken() {
        let line = |kind: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"tour"}},
                    "executable":{executable}}}"#
            )
        };
        let tour = Example {
            name: "tour".to_owned(),
            executable: "/t/tour".into(),
        };
        assert_eq!(example_of(&line("example", r#""/t/tour""#)), Some(tour));
        assert_eq!(example_of(&line("example", "null")), None);
        assert_eq!(example_of(&line("bin", r#""/t/tour""#)), None);
        assert_eq!(
            example_of(r#"{"reason":"build-finished","success":true}"#),
            None
        );
    }
}
