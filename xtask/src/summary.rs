//! What a long run says at its end: a table of steps with their times, and one closing line.

use std::time::{Duration, Instant};

use anyhow::Result;

/// How a step went.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
}

/// Collects the steps of a run.
#[derive(Default)]
pub(crate) struct Summary {
    steps: Vec<Step>,
}

struct Step {
    name: String,
    passed: usize,
    failed: usize,
    took: Duration,
}

impl Summary {
    /// Runs a check that either holds or not, and notes it.
    pub(crate) fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) -> Outcome {
        eprintln!("==> {name}");
        let start = Instant::now();
        let failed = match check() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                1
            }
        };
        self.note(name, 1 - failed, failed, start.elapsed())
    }

    /// Notes a step that counted its own tests.
    pub(crate) fn note(
        &mut self,
        name: &str,
        passed: usize,
        failed: usize,
        took: Duration,
    ) -> Outcome {
        self.steps.push(Step { name: name.to_string(), passed, failed, took });
        if failed == 0 { Outcome::Passed } else { Outcome::Failed }
    }

    /// The table and its closing line `N passed, N failed`.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{:<34}{:>8}{:>8}{:>10}\n", "step", "passed", "failed", "seconds");
        for step in &self.steps {
            let seconds = format!("{:.1}", step.took.as_secs_f64());
            text.push_str(&format!(
                "{:<34}{:>8}{:>8}{seconds:>10}\n",
                step.name, step.passed, step.failed
            ));
        }
        let total: Duration = self.steps.iter().map(|s| s.took).sum();
        let (passed, failed) = self.totals();
        text.push_str(&format!(
            "took {:.1} s\n{passed} passed, {failed} failed",
            total.as_secs_f64()
        ));
        text
    }

    /// Tests and checks that passed and that failed.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.steps.iter().map(|s| s.passed).sum(), self.steps.iter().map(|s| s.failed).sum())
    }
}

/// Reads the counts of libtest's closing line, `test result: ok. 3 passed; 0 failed; ...`.
pub(crate) fn counts(line: &str) -> Option<(usize, usize)> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = rest.split(word).next()?.trim_end();
        before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_adds_up() {
        let mut summary = Summary::default();
        summary.check("one", || Ok(()));
        summary.check("two", || anyhow::bail!("no"));
        summary.note("three", 40, 1, Duration::from_secs(2));
        assert!(summary.render().ends_with("41 passed, 2 failed"), "{}", summary.render());
    }

    #[test]
    fn libtest_counts_are_read() {
        let line =
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 1 filtered out";
        assert_eq!(counts(line), Some((12, 3)));
        assert_eq!(counts("running 3 tests"), None);
    }
}
