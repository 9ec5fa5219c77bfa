//! The terminal: where results and everything else go, colour, questions.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::args::{Color, OutputFormat};
use crate::exit::{Exit, Failure};
use crate::output::{Render, render};

/// Standard output and error, and how they are to be used.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    format: OutputFormat,
    no_header: bool,
    color: bool,
    /// Whether nobody but failures shall be heard of on stderr.
    quiet: bool,
}

impl Terminal {
    pub(crate) fn new(format: OutputFormat, color: Color, no_header: bool, quiet: bool) -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if set("NO_COLOR") => false,
            Color::Auto if set("CLICOLOR_FORCE") => true,
            Color::Auto => io::stderr().is_terminal() && !dumb,
        };
        Self { format, no_header, color, quiet }
    }

    /// The format of results.
    pub fn format(&self) -> OutputFormat {
        self.format
    }

    /// Prints a result.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn print(&self, value: &impl Render) -> Result<(), Failure> {
        self.raw(render(value, self.format, self.no_header)?.as_bytes())
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When stdout is closed or full.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(Failure::from)
    }

    /// Says something on stderr that is no result: what was done, what would be done.
    pub fn say(&self, line: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", line.as_ref());
        }
    }

    /// Warns on stderr.
    pub fn warn(&self, line: impl AsRef<str>) {
        eprintln!("{} {}", self.paint("33", "warning:"), line.as_ref());
    }

    /// Reports a failure on stderr.
    pub fn fail(&self, failure: &Failure) {
        eprintln!("{} {}", self.paint("1;31", "error:"), failure.message);
        if let Some(hint) = &failure.hint {
            eprintln!("{}", hint);
        }
    }

    /// Whether a progress bar on stderr has somebody to look at it.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Asks before something is destroyed. Without a terminal nobody can answer, so `--yes` is
    /// needed there.
    ///
    /// # Errors
    /// When the answer is no, or there is nobody to ask.
    pub fn confirm(&self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let message = format!("{question} Nobody can be asked here");
            return Err(
                Failure::usage(message).with_hint("Add --yes, or look first with --dry-run.")
            );
        }
        eprint!("{question} [y/N] ");
        io::stderr().flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "nothing was changed")),
        }
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal(color: Color) -> Terminal {
        Terminal::new(OutputFormat::Text, color, false, false)
    }

    #[test]
    fn colour_is_there_only_when_it_is_wanted() {
        assert_eq!(terminal(Color::Never).paint("31", "x"), "x");
        assert_eq!(terminal(Color::Always).paint("31", "x"), "\x1b[31mx\x1b[0m");
    }

    #[test]
    fn yes_is_not_asked_again() {
        assert!(terminal(Color::Never).confirm(true, "Delete everything?").is_ok());
    }
}
