//! `cargo xtask codestat`: the shape of a tree, so that ratchets and reviews use one measure.
//!
//! A heuristic: treat differences under a tenth as equal.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::source::{self, Source};
use crate::workspace;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only files below these folders; each crate and the whole if none is given.
    prefixes: Vec<String>,
}

/// Prints a table of all measures.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let sources = source::sources(&workspace::root())?;
    let mut groups: BTreeMap<String, Vec<&Source>> = BTreeMap::new();
    for source in &sources {
        if arguments.prefixes.is_empty() {
            groups.entry(crate_of(&source.path)).or_default().push(source);
            groups.entry("all".into()).or_default().push(source);
        }
        for prefix in arguments.prefixes.iter().filter(|p| source.path.starts_with(p.as_str())) {
            groups.entry(prefix.clone()).or_default().push(source);
        }
    }
    println!(
        "{:<14}{:>6}{:>8}{:>7}{:>6}{:>6}{:>7}{:>7}{:>6}{:>6}{:>6}{:>7}{:>9}{:>5}{:>6}{:>9}{:>10}{:>9}{:>7}{:>8}",
        "crate",
        "files",
        "lines",
        "f.med",
        "p90",
        "max",
        "fns",
        "fn.med",
        "p90",
        "p99",
        "max",
        "%<=70",
        "%comment",
        "%doc",
        "%head",
        "unwrap/k",
        "assert/fn",
        "unsafe/k",
        "todo/k",
        "t:p"
    );
    for (label, members) in &groups {
        println!("{}", Measures::of(members).row(label));
    }
    for (label, members) in &groups {
        let measures = Measures::of(members);
        println!(
            "{label}: biggest file {}, biggest function {}",
            measures.biggest_file, measures.biggest_function
        );
    }
    Ok(())
}

fn crate_of(path: &str) -> String {
    let mut parts = path.split('/');
    match (parts.next(), parts.next()) {
        (Some("crates"), Some(name)) => name.to_string(),
        (Some(first), _) => first.to_string(),
        _ => "?".to_string(),
    }
}

#[derive(Default)]
struct Measures {
    files: Vec<usize>,
    functions: Vec<usize>,
    code: usize,
    comment: usize,
    doc: usize,
    heads: usize,
    unwraps: usize,
    asserts: usize,
    unsafes: usize,
    todos: usize,
    test_lines: usize,
    biggest_file: String,
    biggest_function: String,
}

impl Measures {
    fn of(sources: &[&Source]) -> Self {
        let mut measures = Self::default();
        for source in sources {
            measures.add(source);
        }
        measures.files.sort_unstable();
        measures.functions.sort_unstable();
        measures
    }

    fn add(&mut self, source: &Source) {
        let all = source.text.lines().count();
        let lines = source.production_lines();
        self.test_lines += all - lines;
        if source.is_test_file() {
            return;
        }
        if self.files.iter().all(|f| *f < lines) {
            self.biggest_file = format!("{} ({lines})", source.path);
        }
        self.files.push(lines);
        self.heads += usize::from(source.text.trim_start().starts_with("//!"));
        self.add_lines(source);
        let code = source.production_code();
        self.unwraps += count(&code, &[".unwrap(", ".expect("]);
        self.asserts += count(&code, &["assert!", "assert_eq!", "assert_ne!", "unreachable!"]);
        self.unsafes += count(&code, &["unsafe {", "unsafe fn", "unsafe impl"]);
        for function in source.functions() {
            if self.functions.iter().all(|f| *f < function.lines) {
                self.biggest_function =
                    format!("{} in {} ({})", function.name, source.path, function.lines);
            }
            self.functions.push(function.lines);
        }
    }

    fn add_lines(&mut self, source: &Source) {
        for (at, line) in source.text.lines().enumerate() {
            if source.test[at] {
                continue;
            }
            self.todos += usize::from(crate::tidy::unfinished(line).is_some());
            if source.comment[at] {
                self.comment += 1;
                self.doc += usize::from(source.doc[at]);
            } else if !line.trim().is_empty() {
                self.code += 1;
            }
        }
    }

    fn row(&self, label: &str) -> String {
        let lines: usize = self.files.iter().sum();
        let short = self.functions.iter().filter(|f| **f <= 70).count();
        let total = self.code + self.comment;
        format!(
            "{label:<14}{:>6}{lines:>8}{:>7}{:>6}{:>6}{:>7}{:>7}{:>6}{:>6}{:>6}{:>7}{:>9}{:>5}{:>6}{:>9}{:>10}{:>9}{:>7}{:>8}",
            self.files.len(),
            quantile(&self.files, 50),
            quantile(&self.files, 90),
            quantile(&self.files, 100),
            self.functions.len(),
            quantile(&self.functions, 50),
            quantile(&self.functions, 90),
            quantile(&self.functions, 99),
            quantile(&self.functions, 100),
            ratio(100 * short, self.functions.len(), 1),
            ratio(100 * self.comment, total, 0),
            ratio(100 * self.doc, total, 0),
            ratio(100 * self.heads, self.files.len(), 0),
            ratio(1000 * self.unwraps, self.code, 1),
            ratio(self.asserts, self.functions.len(), 2),
            ratio(1000 * self.unsafes, self.code, 1),
            ratio(1000 * self.todos, self.code, 1),
            ratio(self.test_lines, lines, 2),
        )
    }
}

fn count(code: &str, words: &[&str]) -> usize {
    words.iter().map(|w| code.matches(w).count()).sum()
}

fn quantile(sorted: &[usize], percent: usize) -> usize {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

/// `part / whole` with some decimals, in whole numbers so that no float rounding shows.
fn ratio(part: usize, whole: usize, decimals: u32) -> String {
    let scale = 10_usize.pow(decimals);
    let scaled = (part * scale + whole / 2) / whole.max(1);
    if decimals == 0 {
        return scaled.to_string();
    }
    format!("{}.{:0width$}", scaled / scale, scaled % scale, width = decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_measured() {
        let text =
            "//! Head.\n\n/// Doc.\nfn f() {\n    assert!(true);\n}\n#[cfg(test)]\nmod tests {}\n";
        let source = Source::parse("crates/x/src/lib.rs", text.into());
        let measures = Measures::of(&[&source]);
        assert_eq!(
            (measures.files.as_slice(), measures.functions.as_slice()),
            ([6].as_slice(), [3].as_slice())
        );
        assert_eq!((measures.code, measures.comment, measures.doc), (3, 2, 2));
        assert_eq!((measures.asserts, measures.heads, measures.test_lines), (1, 1, 2));
    }

    #[test]
    fn ratios_round_to_nearest() {
        assert_eq!(ratio(1, 3, 2), "0.33");
        assert_eq!(ratio(2, 3, 1), "0.7");
        assert_eq!(ratio(5, 0, 0), "5");
    }
}
