//! Sizes that may only shrink: files longer than the rule allows, and bare numbers in public signatures.
//!
//! `xtask/tidy-ratchet.txt` lists what was too big when the rule came; nothing new may enter it, and
//! nothing in it may grow.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::Complaint;
use crate::source::Source;

const FILE: &str = "xtask/tidy-ratchet.txt";

/// Longest file, in lines that ship.
const FILE_LINES_MAX: usize = 600;

/// Crates whose public signatures speak in newtypes, not in bare wire integers.
const TYPED: [&str; 4] = ["log", "quorum", "metadata", "group"];

/// Compares today's sizes with the rule and with the ratchet file.
pub(super) fn check(
    root: &Path,
    sources: &[Source],
    tighten: bool,
    complaints: &mut Vec<Complaint>,
) -> Result<()> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {FILE}"))?;
    let allowed = parse(&text)?;
    let mut kept = BTreeMap::new();
    for (key, size, limit) in sources.iter().flat_map(sizes) {
        let bound = allowed.get(&key).copied().unwrap_or(limit);
        if size > bound {
            complaints.push(complaint(&key, size, bound));
        }
        if size > limit {
            kept.insert(key, size.min(bound));
        }
    }
    if tighten {
        std::fs::write(&path, render(&text, &kept))?;
    }
    Ok(())
}

fn complaint(key: &str, size: usize, bound: usize) -> Complaint {
    let (kind, place) = key.split_once(' ').unwrap_or(("lines", key));
    let (what, instead) = if kind == "lines" {
        (
            format!("{size} lines, at most {bound}"),
            "split it by what its parts know; nothing over the limit may grow",
        )
    } else {
        (
            format!("{size} bare integers in public signatures, at most {bound}"),
            "use a newtype of crate `types`",
        )
    };
    Complaint { place: place.to_string(), what, instead }
}

/// What is measured of one source: key, size and the rule's limit.
fn sizes(source: &Source) -> Vec<(String, usize, usize)> {
    // Generated code and tables that are data are exempt from lengths.
    if source.is_test_file()
        || source.path.contains("/table/")
        || source.path.ends_with("/table.rs")
    {
        return Vec::new();
    }
    let mut sizes =
        vec![(format!("lines {}", source.path), source.production_lines(), FILE_LINES_MAX)];
    let typed = TYPED.iter().any(|c| source.path.starts_with(&format!("crates/{c}/src/")));
    if typed {
        sizes.push((format!("bare {}", source.path), bare_integers(&source.production_code()), 0));
    }
    sizes
}

/// Public functions with a bare `i64` or `u64` in their signature, constructors to and from the wire aside.
fn bare_integers(code: &str) -> usize {
    let signatures = code.match_indices("pub fn ").map(|(at, _)| {
        let rest = &code[at..];
        &rest[..rest.find(['{', ';']).unwrap_or(rest.len())]
    });
    signatures
        .filter(|s| !s.contains("fn from_") && !s.contains("fn to_") && !s.contains("fn as_"))
        .filter(|s| s.contains("i64") || s.contains("u64"))
        .count()
}

fn parse(text: &str) -> Result<BTreeMap<String, usize>> {
    let mut allowed = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()) {
        let (key, size) = line.rsplit_once(' ').with_context(|| format!("{FILE}: `{line}`"))?;
        allowed.insert(key.to_string(), size.parse().with_context(|| format!("{FILE}: `{line}`"))?);
    }
    Ok(allowed)
}

fn render(old: &str, kept: &BTreeMap<String, usize>) -> String {
    let mut text: String =
        old.lines().filter(|l| l.starts_with('#')).map(|l| format!("{l}\n")).collect();
    for (key, size) in kept {
        text.push_str(&format!("{key} {size}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratchet_line_names_kind_file_and_size() {
        let allowed = parse("# why\nlines crates/a.rs 700\n").unwrap();
        assert_eq!(allowed["lines crates/a.rs"], 700);
        assert_eq!(render("# why\nlines x 1\n", &allowed), "# why\nlines crates/a.rs 700\n");
    }

    #[test]
    fn wire_constructors_may_be_bare() {
        assert_eq!(
            bare_integers("pub fn from_wire(raw: i64) -> Self {}\npub fn end(&self) -> u64 {}"),
            1
        );
        assert_eq!(bare_integers("fn private(raw: i64) {}"), 0);
    }

    #[test]
    fn a_long_file_is_measured_without_its_tests() {
        let body = "fn f() {}\n".repeat(601);
        let source =
            Source::parse("crates/net/src/a.rs", format!("{body}#[cfg(test)]\nmod tests {{\n}}\n"));
        assert_eq!(sizes(&source), [("lines crates/net/src/a.rs".to_string(), 601, 600)]);
    }
}
