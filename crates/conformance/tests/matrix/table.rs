//! The rows of docs/compatibility.md.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::columns::{COLUMNS, Cell};

// The tests of one process write the same file.
static FILE: Mutex<()> = Mutex::new(());

/// Compares the row of a library with what was seen; `UPDATE_EXPECT=1` writes it.
pub(crate) fn check(library: &str, version: &str, cells: &[Cell]) -> Result<()> {
    let _guard = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let page = std::fs::read_to_string(&path).context("docs/compatibility.md")?;
    let row = row(library, version, cells);
    let begin = format!("| {library} ");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return Ok(std::fs::write(&path, with_row(&page, &begin, &row))?);
    }
    let committed = page.lines().find(|line| line.starts_with(&begin)).unwrap_or_default();
    ensure!(
        committed == row,
        "docs/compatibility.md is stale (UPDATE_EXPECT=1 writes it)\nit says   {committed}\nseen was  {row}"
    );
    Ok(())
}

fn row(library: &str, version: &str, cells: &[Cell]) -> String {
    let words = cells.iter().map(|cell| match cell {
        Cell::Works => "yes".to_string(),
        Cell::Lacks(why) => format!("no: {why}"),
    });
    format!("| {library} | {version} | {} |", words.collect::<Vec<_>>().join(" | "))
}

/// The page with this row in the place of the library's old one, or in its alphabetical place.
fn with_row(page: &str, begin: &str, row: &str) -> String {
    let head = format!("| client | version | {} |", COLUMNS.map(|column| column.0).join(" | "));
    let mut lines: Vec<&str> = page.lines().filter(|line| !line.starts_with(begin)).collect();
    let top = lines.iter().position(|line| line.starts_with("| client ")).unwrap_or(lines.len());
    let rule = format!("|{}", "---|".repeat(COLUMNS.len() + 2));
    let rows = lines.iter().skip(top + 2).take_while(|line| line.starts_with("| "));
    let mut rows: Vec<&str> = rows.copied().chain([row]).collect();
    let end = top + 1 + rows.len();
    rows.sort_by_key(|row| row.to_lowercase());
    let table: Vec<&str> = [head.as_str(), rule.as_str()].into_iter().chain(rows).collect();
    lines.splice(top..end.max(top).min(lines.len()), table);
    lines.join("\n") + "\n"
}
