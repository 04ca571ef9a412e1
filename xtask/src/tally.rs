//! Counting tests from what the test runners print at their end.

use std::fmt;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Tally {
    /// Whether nothing was counted.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Adds what a runner's closing line says; any other line adds nothing.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some(counts) = counts_of(line) else {
            return;
        };
        for count in without_parentheses(counts).split([',', ';']) {
            let mut words = count.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.collect::<Vec<_>>().join(" ").as_str() {
                "passed" => self.passed += number,
                "failed" | "timed out" | "exec failed" => self.failed += number,
                "skipped" | "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

/// Whether the line closes a run of nextest or of `cargo test`.
pub(crate) fn closes_a_run(line: &str) -> bool {
    counts_of(line).is_some()
}

/// The counts of `Summary [ 1.2s] 5 tests run: 4 passed (1 slow), 1 failed, 0 skipped` and of
/// `test result: ok. 4 passed; 0 failed; 1 ignored; …; finished in 0.1s`.
fn counts_of(line: &str) -> Option<&str> {
    let line = line.trim_start();
    if line.starts_with("Summary [") {
        return line.split_once(" run: ").map(|(_, counts)| counts);
    }
    let result = line.strip_prefix("test result: ")?;
    result.split_once(". ").map(|(_, counts)| counts)
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0_usize;
    text.chars()
        .filter(|c| {
            if *c == '(' {
                depth += 1;
            }
            let outside = depth == 0;
            if *c == ')' {
                depth = depth.saturating_sub(1);
            }
            outside
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> String {
        let mut tally = Tally::default();
        for line in lines {
            tally.add_line(line);
        }
        tally.to_string()
    }

    #[test]
    fn nextest_summaries() {
        let line = "     Summary [  12.004s] 10 tests run: 10 passed (1 slow, 2 leaky), 3 skipped";
        assert_eq!(tally(&[line]), "10 passed, 0 failed, 3 skipped");
        let line = "Summary [ 1s] 5/9 tests run: 2 passed, 1 failed, 1 timed out, 1 exec failed, 4 skipped";
        assert_eq!(tally(&[line]), "2 passed, 3 failed, 4 skipped");
        assert_eq!(
            tally(&["Summary [ 1s] 1 test run: 1 passed, 0 skipped"]),
            "1 passed, 0 failed, 0 skipped"
        );
    }

    #[test]
    fn cargo_test_results_add_up() {
        let ok = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; \
                  finished in 0.00s";
        let failed = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered \
                      out; finished in 1.30s";
        assert_eq!(
            tally(&[ok, "running 3 tests", failed]),
            "6 passed, 2 failed, 1 skipped"
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert!(!closes_a_run("test key::round_trip ... ok"));
        assert!(!closes_a_run("the Summary [ is elsewhere"));
        assert_eq!(
            tally(&["3 passed, 4 failed"]),
            "0 passed, 0 failed, 0 skipped"
        );
        assert!(Tally::default().is_empty());
    }
}
