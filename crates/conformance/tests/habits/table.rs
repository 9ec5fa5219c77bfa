//! The table of behaviours in docs/compatibility.md: every test that it names is there.

use std::path::Path;

use anyhow::{Context, Result, ensure};

const PAGE: &str = include_str!("../../../../docs/compatibility.md");
const HEADING: &str = "| behaviour | test |";
const NOT_OFFERED: &str = "not offered yet";

#[test]
fn every_test_in_the_table_is_there() -> Result<()> {
    let (_, table) = PAGE.split_once(HEADING).context("the table")?;
    let rows: Vec<&str> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    ensure!(rows.len() >= 32, "{} rows", rows.len());
    for row in rows {
        let cell = row.split('|').nth(2).context("two columns")?.trim();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        ensure!(!names.is_empty() || cell.starts_with(NOT_OFFERED), "{row}");
        for name in names {
            let (file, test) = name.rsplit_once("::").with_context(|| row.to_string())?;
            let source = source(file).with_context(|| row.to_string())?;
            ensure!(source.contains(&format!("fn {test}()")), "{file} has no test {test}: {row}");
        }
    }
    Ok(())
}

/// `groups` is a file of this crate's tests, `habits::records` one in a folder.
fn source(file: &str) -> Result<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let path = tests.join(file.replace("::", "/"));
    let alone = path.with_extension("rs");
    let path = if alone.exists() { alone } else { path.join("main.rs") };
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}
