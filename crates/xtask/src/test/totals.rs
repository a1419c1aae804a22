//! How many checks passed and failed.

use std::fmt;
use std::ops::AddAssign;
use std::process::ExitCode;

/// A count of checks; a check is a test, or a command that has to succeed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Totals {
    passed: usize,
    failed: usize,
}

impl Totals {
    /// One check that failed.
    pub(crate) const fn failed() -> Self {
        Self {
            passed: 0,
            failed: 1,
        }
    }

    /// Counts one more check.
    pub(crate) fn count(&mut self, is_passed: bool) {
        if is_passed {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// Reads the closing lines of Rust's test runner, of which there is one a test binary.
    pub(crate) fn of_test_runner(output: &str) -> Self {
        let mut totals = Self::default();
        for line in output.lines() {
            let Some(counts) = line.trim_start().strip_prefix("test result: ") else {
                continue;
            };
            for count in counts.split(['.', ';']) {
                match count.trim().split_once(' ') {
                    Some((number, "passed")) => totals.passed += number.parse().unwrap_or(0),
                    Some((number, "failed")) => totals.failed += number.parse().unwrap_or(0),
                    Some(_) | None => {}
                }
            }
        }
        totals
    }

    /// Success only where something was checked and nothing failed.
    pub(crate) fn exit_code(self) -> ExitCode {
        if self.is_success() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    pub(crate) fn is_success(self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    pub(crate) fn has_failed(self) -> bool {
        self.failed > 0
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_the_test_runner_are_added_up() {
        let output = "running 2 tests\n\
            test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 3 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            Totals::of_test_runner(output),
            Totals {
                passed: 5,
                failed: 4
            }
        );
    }

    #[test]
    fn the_closing_line_is_plain() {
        assert_eq!(
            Totals {
                passed: 12,
                failed: 0
            }
            .to_string(),
            "12 passed, 0 failed"
        );
    }

    #[test]
    fn nothing_checked_is_no_success() {
        assert!(!Totals::default().is_success());
        assert!(!Totals::failed().is_success());
        assert!(
            Totals {
                passed: 1,
                failed: 0
            }
            .is_success()
        );
    }
}
