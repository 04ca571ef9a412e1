//! Running named steps in order: a heading and the seconds of each, a stop at the first failure,
//! and a table of what ran at the end.

use std::time::Instant;

use crate::error::Error;
use crate::tally::Tally;
use crate::workspace::Workspace;

/// What all steps of a run work with.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The checkout.
    pub(crate) workspace: &'a Workspace,
    /// Tests counted so far.
    pub(crate) tally: Tally,
}

/// How a step ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did all of its work.
    Passed,
    /// It had nothing to do here, and says why.
    Skipped(String),
}

/// A step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// One word or two, as typed after `--only`.
    pub(crate) name: &'static str,
    /// What it checks, in a line.
    pub(crate) title: &'static str,
    /// Does it.
    pub(crate) run: fn(&mut Context<'_>) -> Result<Outcome, Error>,
}

/// Runs the steps, then prints one line for each that ran, and the count of tests last.
///
/// # Errors
/// [`Error::Step`] for the first that fails; later ones do not run.
pub(crate) fn run_all(workspace: &Workspace, steps: &[Step]) -> Result<(), Error> {
    let mut context = Context {
        workspace,
        tally: Tally::default(),
    };
    let mut lines = Vec::new();
    let begun = Instant::now();
    let ended = run_each(steps, &mut context, &mut lines);
    println!(
        "\n== {} in {:.0} s",
        verdict(&ended),
        begun.elapsed().as_secs_f64()
    );
    for line in lines {
        println!("{line}");
    }
    if !context.tally.is_empty() {
        println!("{}", context.tally);
    }
    ended
}

fn run_each(
    steps: &[Step],
    context: &mut Context<'_>,
    lines: &mut Vec<String>,
) -> Result<(), Error> {
    for (index, step) in steps.iter().enumerate() {
        println!(
            "\n== {}/{} {}: {}",
            index + 1,
            steps.len(),
            step.name,
            step.title
        );
        let begun = Instant::now();
        let ended = (step.run)(context);
        let seconds = begun.elapsed().as_secs_f64();
        let said = match &ended {
            Ok(Outcome::Passed) => "passed".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("skipped: {reason}"),
            Err(_) => "FAILED".to_owned(),
        };
        println!("-- {} {said} ({seconds:.1} s)", step.name);
        lines.push(format!("   {:<12} {seconds:>8.1} s  {said}", step.name));
        if let Err(source) = ended {
            return Err(Error::Step {
                step: step.name,
                seconds,
                source: Box::new(source),
            });
        }
    }
    Ok(())
}

fn verdict(ended: &Result<(), Error>) -> String {
    match ended {
        Ok(()) => "all steps passed".to_owned(),
        Err(Error::Step { step, .. }) => format!("step `{step}` failed"),
        Err(_) => "failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSES: Step = Step {
        name: "one",
        title: "counts a test",
        run: |context| {
            context
                .tally
                .add_line("test result: ok. 2 passed; 0 failed");
            Ok(Outcome::Passed)
        },
    };
    const SKIPS: Step = Step {
        name: "two",
        title: "cannot",
        run: |_| Ok(Outcome::Skipped("no moon".to_owned())),
    };
    const FAILS: Step = Step {
        name: "three",
        title: "fails",
        run: |_| {
            Err(Error::Absent {
                what: "moon".to_owned(),
            })
        },
    };

    fn run(steps: &[Step]) -> (Result<(), Error>, Vec<String>, Tally) {
        let workspace = Workspace::locate().unwrap();
        let mut context = Context {
            workspace: &workspace,
            tally: Tally::default(),
        };
        let mut lines = Vec::new();
        let ended = run_each(steps, &mut context, &mut lines);
        (ended, lines, context.tally)
    }

    #[test]
    fn a_failure_stops_the_rest_and_is_named() {
        let (ended, lines, tally) = run(&[PASSES, FAILS, SKIPS]);
        assert_eq!(verdict(&ended), "step `three` failed");
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with("FAILED"), "{lines:?}");
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn a_skipped_step_says_why_and_does_not_stop() {
        let (ended, lines, _) = run(&[SKIPS, PASSES]);
        assert!(ended.is_ok());
        assert!(lines[0].ends_with("skipped: no moon"), "{lines:?}");
        assert!(lines[1].ends_with("passed"), "{lines:?}");
    }
}
