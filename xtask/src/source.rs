//! Reading Rust sources as text: which lines are comments, which are tests, where functions end.
//!
//! A heuristic lexer, not a parser: it blanks comments and literals so that braces can be counted. The
//! measures and the house rules share it, so that both mean the same by "a line of production code".

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// One source file, taken apart.
pub(crate) struct Source {
    /// Path from the repository's root.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked; same length in characters and lines.
    pub(crate) code: Vec<char>,
    /// For each line: is the whole line a comment?
    pub(crate) comment: Vec<bool>,
    /// For each line: is it a doc comment?
    pub(crate) doc: Vec<bool>,
    /// For each line: does it belong to an item under `#[cfg(test)]`?
    pub(crate) test: Vec<bool>,
}

/// A function found in a source.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Lines from signature to closing brace.
    pub(crate) lines: usize,
}

impl Source {
    /// Takes a text apart.
    pub(crate) fn parse(path: &str, text: String) -> Self {
        let blanked = blank(&text);
        let lines = text.lines().count();
        let mut source = Self {
            path: path.to_string(),
            text,
            code: blanked.code,
            comment: flags(lines, &blanked.comment),
            doc: flags(lines, &blanked.doc),
            test: vec![false; lines],
        };
        source.mark_tests();
        source
    }

    /// Whether the whole file is test, bench, generated or other code that does not ship.
    pub(crate) fn is_test_file(&self) -> bool {
        is_test_path(&self.path)
    }

    /// Lines that ship.
    pub(crate) fn production_lines(&self) -> usize {
        if self.is_test_file() { 0 } else { self.test.iter().filter(|t| !**t).count() }
    }

    /// The blanked text without lines of tests.
    pub(crate) fn production_code(&self) -> String {
        let code: String = self.code.iter().collect();
        let kept = code
            .lines()
            .enumerate()
            .map(|(at, line)| if self.test.get(at).copied().unwrap_or(false) { "" } else { line });
        kept.collect::<Vec<_>>().join("\n")
    }

    /// The functions with bodies in the production part.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let code: Vec<char> = self.production_code().chars().collect();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(start) = find(&code, at, "fn ") {
            at = start + 3;
            let preceded =
                start > 0 && !matches!(code[start - 1], ' ' | '\n' | '(' | ';' | '{' | '}');
            let name: String =
                code[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').collect();
            if preceded || name.is_empty() {
                continue;
            }
            let Some(open) = body_start(&code, at) else { continue };
            let close = matching(&code, open);
            let lines = line_of(&code, close) - line_of(&code, start) + 1;
            found.push(Function { name, lines });
        }
        found
    }

    fn mark_tests(&mut self) {
        let mut at = 0;
        while let Some(start) =
            find(&self.code, at, "#[cfg(test)]").or_else(|| find(&self.code, at, "#[cfg(all(test"))
        {
            let open = (start..self.code.len()).find(|i| matches!(self.code[*i], '{' | ';'));
            let Some(open) = open else { return };
            let end = if self.code[open] == '{' { matching(&self.code, open) } else { open };
            for line in line_of(&self.code, start)..=line_of(&self.code, end) {
                if let Some(flag) = self.test.get_mut(line) {
                    *flag = true;
                }
            }
            at = end + 1;
        }
    }
}

/// Whether a path is test, bench, generated or other code that does not ship.
pub(crate) fn is_test_path(path: &str) -> bool {
    const FOLDERS: [&str; 8] =
        ["tests", "test", "benches", "fuzz", "examples", "testdata", "generated", "testkit"];
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or_default();
    let stem = file.trim_end_matches(".rs");
    parts.iter().any(|p| FOLDERS.contains(p) || *p == "conformance" || *p == "sim")
        || stem == "tests"
        || stem == "generated"
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
}

/// Every tracked or new (not ignored) file of the repository with this ending, sorted.
pub(crate) fn files(root: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut command = std::process::Command::new("git");
    command.current_dir(root).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = crate::process::output(&mut command);
    let mut paths: Vec<PathBuf> = match listed {
        Ok(text) => text.lines().map(PathBuf::from).collect(),
        // A source archive has no git: walk instead.
        Err(_) => walk(root, Path::new("")).context("cannot list the sources")?,
    };
    paths.retain(|p| p.to_string_lossy().ends_with(ending) && root.join(p).is_file());
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Reads and takes apart every Rust source of the repository.
pub(crate) fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for path in files(root, ".rs")? {
        let text = std::fs::read_to_string(root.join(&path))
            .with_context(|| path.display().to_string())?;
        sources.push(Source::parse(&path.to_string_lossy(), text));
    }
    Ok(sources)
}

fn walk(root: &Path, below: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let name = entry.file_name();
        let path = below.join(&name);
        if entry.file_type()?.is_dir() {
            if !matches!(name.to_str(), Some("target" | ".git" | "data")) {
                found.extend(walk(root, &path)?);
            }
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

struct Blanked {
    code: Vec<char>,
    comment: Vec<usize>,
    doc: Vec<usize>,
}

fn flags(lines: usize, set: &[usize]) -> Vec<bool> {
    let mut flags = vec![false; lines];
    for line in set {
        if let Some(flag) = flags.get_mut(*line) {
            *flag = true;
        }
    }
    flags
}

/// Blanks comments and the insides of literals, keeping every newline where it is.
fn blank(text: &str) -> Blanked {
    let input: Vec<char> = text.chars().collect();
    let mut out =
        Blanked { code: Vec::with_capacity(input.len()), comment: Vec::new(), doc: Vec::new() };
    let mut at = 0;
    let mut line = 0;
    while at < input.len() {
        let end = literal_end(&input, at);
        let is_comment = starts(&input, at, "//") || starts(&input, at, "/*");
        if is_comment {
            note_comment(&input, at, end, line, &mut out);
        }
        if end == at {
            line += usize::from(input[at] == '\n');
            out.code.push(input[at]);
            at += 1;
            continue;
        }
        for c in &input[at..end] {
            line += usize::from(*c == '\n');
            out.code.push(if *c == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

fn note_comment(input: &[char], at: usize, end: usize, line: usize, out: &mut Blanked) {
    let before = input[..at].iter().rev().take_while(|c| **c != '\n').all(|c| c.is_whitespace());
    if !before {
        return;
    }
    let newlines = input[at..end].iter().filter(|c| **c == '\n').count();
    let doc = ["//!", "/*!", "/**"].iter().any(|s| starts(input, at, s))
        || (starts(input, at, "///") && !starts(input, at, "////"));
    for covered in line..=line + newlines {
        out.comment.push(covered);
        if doc {
            out.doc.push(covered);
        }
    }
}

/// End of the comment or literal that begins here, or `at` itself if none does.
fn literal_end(input: &[char], at: usize) -> usize {
    if starts(input, at, "//") {
        return (at..input.len()).find(|i| input[*i] == '\n').unwrap_or(input.len());
    }
    if starts(input, at, "/*") {
        return block_comment_end(input, at);
    }
    let in_word = at > 0 && (input[at - 1].is_alphanumeric() || input[at - 1] == '_');
    match input[at] {
        'r' | 'b' if !in_word => raw_string_end(input, at).unwrap_or(at),
        '"' => {
            let mut end = at + 1;
            while end < input.len() && input[end] != '"' {
                end += if input[end] == '\\' { 2 } else { 1 };
            }
            (end + 1).min(input.len())
        }
        '\'' => char_end(input, at).unwrap_or(at),
        _ => at,
    }
}

fn block_comment_end(input: &[char], at: usize) -> usize {
    let mut depth = 1;
    let mut end = at + 2;
    while end < input.len() && depth > 0 {
        if starts(input, end, "/*") {
            depth += 1;
            end += 2;
        } else if starts(input, end, "*/") {
            depth -= 1;
            end += 2;
        } else {
            end += 1;
        }
    }
    end.min(input.len())
}

fn raw_string_end(input: &[char], at: usize) -> Option<usize> {
    let mut next = at + usize::from(input[at] == 'b');
    if input.get(next) != Some(&'r') {
        return None;
    }
    next += 1;
    let hashes = input[next..].iter().take_while(|c| **c == '#').count();
    next += hashes;
    if input.get(next) != Some(&'"') {
        return None;
    }
    let closing: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let end = find(input, next + 1, &closing)?;
    Some(end + closing.len())
}

/// End of a character literal; a lifetime is none.
fn char_end(input: &[char], at: usize) -> Option<usize> {
    if input.get(at + 1) == Some(&'\\') {
        let end = (at + 3..(at + 13).min(input.len())).find(|i| input[*i] == '\'')?;
        return Some(end + 1);
    }
    (input.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

fn starts(input: &[char], at: usize, word: &str) -> bool {
    word.chars().enumerate().all(|(i, c)| input.get(at + i) == Some(&c))
}

fn find(input: &[char], from: usize, word: &str) -> Option<usize> {
    (from..input.len()).find(|at| starts(input, *at, word))
}

fn line_of(code: &[char], at: usize) -> usize {
    code[..at.min(code.len())].iter().filter(|c| **c == '\n').count()
}

/// Opening brace of the body of the function whose name begins here; none for a declaration.
fn body_start(code: &[char], at: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (i, c) in code.iter().enumerate().skip(at) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(i),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`; the last character if there is none.
fn matching(code: &[char], open: usize) -> usize {
    let mut depth = 0_i32;
    for (i, c) in code.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    code.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse("crates/x/src/lib.rs", text.to_string())
    }

    #[test]
    fn literals_and_comments_hide_braces() {
        let source = parse(
            "//! Head.\nfn one() {\n    let a = \"}\"; // }\n    let b = '}';\n    r#\"}\"#;\n}\nfn two() {}\n",
        );
        let functions = source.functions();
        let seen: Vec<_> = functions.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(seen, [("one", 5), ("two", 1)]);
        assert!(source.comment[0] && source.doc[0] && !source.comment[2]);
    }

    #[test]
    fn lifetimes_are_no_characters() {
        let source = parse("fn f<'a>(x: &'a str) -> &'a str {\n    x\n}\n");
        assert_eq!(source.functions()[0].lines, 3);
    }

    #[test]
    fn tests_are_not_production() {
        let source = parse("fn ships() {}\n#[cfg(test)]\nmod tests {\n    fn helper() {}\n}\n");
        assert_eq!(source.production_lines(), 1);
        assert_eq!(source.functions().len(), 1);
        assert!(
            is_test_path("crates/log/tests/crash.rs") && !is_test_path("crates/log/src/log.rs")
        );
    }
}
