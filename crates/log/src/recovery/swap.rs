//! Finishes a compaction that a crash has interrupted, as Kafka's `LogLoader` does.
//!
//! Its new segments were called `.cleaned` while they were written and `.swap` once they count. So
//! a `.swap` file takes the place of all segments within its range, unless a `.cleaned` file lies
//! before it: then the renaming had not come to its end.

use std::io;
use std::sync::Arc;

use ottla_types::Offset;

use super::{disk, read_failed};
use crate::error::OpenError;
use crate::format::{
    CLEANED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, SNAPSHOT_SUFFIX, SWAP_SUFFIX, TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX, file_name, offset_in_name,
};
use crate::segment::Home;
use crate::storage::{DirEntry, Storage};
use crate::walk::HeaderWalk;
use crate::window::Window;

const SUFFIXES: [&str; 5] =
    [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, SNAPSHOT_SUFFIX];

/// Puts what was compacted in place; true if anything changed.
pub(super) fn finish_swaps<S: Storage>(
    home: &Home<S>,
    entries: &[DirEntry],
) -> Result<bool, OpenError> {
    let of = |suffix: &'static str| {
        let files = entries.iter().filter(|entry| !entry.is_dir);
        files.filter_map(move |entry| {
            let name = entry.name.strip_suffix(suffix)?;
            let offset = SUFFIXES.iter().find_map(|kind| offset_in_name(name, kind))?;
            Some((offset, name, entry))
        })
    };
    let cleaned_from = of(CLEANED_SUFFIX).map(|(offset, ..)| offset).min();
    let (invalid, valid): (Vec<_>, Vec<_>) =
        of(SWAP_SUFFIX).partition(|(offset, ..)| cleaned_from.is_some_and(|from| from <= *offset));
    if invalid.is_empty() && valid.is_empty() {
        return Ok(false);
    }
    let step = |done: io::Result<()>| done.map_err(|error| disk(&home.dir, error));
    for (_, _, entry) in &invalid {
        step(home.storage.remove_file(&entry.path))?;
    }
    // Without the `.cleaned` files, which go next, these would count.
    step(home.storage.sync_dir(&home.dir))?;
    let mut replaced: Option<(Offset, Offset)> = None;
    for &(base, name, entry) in valid.iter().filter(|(_, name, _)| name.ends_with(LOG_SUFFIX)) {
        let end = end_of(home, base, entry, name)?;
        let (from, to) = replaced.unwrap_or((base, end));
        replaced = Some((from.min(base), to.max(end)));
    }
    for (_, _, entry) in
        of("").filter(|(offset, ..)| replaced.is_some_and(|(from, to)| (from..to).contains(offset)))
    {
        step(home.storage.remove_file(&entry.path))?;
    }
    // What they replace must not come back beside them.
    step(home.storage.sync_dir(&home.dir))?;
    for (_, name, entry) in &valid {
        step(home.storage.rename(&entry.path, &home.dir.join(name)))?;
    }
    Ok(true)
}

/// Offset after the last batch of a segment, which was whole when it got its name.
fn end_of<S: Storage>(
    home: &Home<S>,
    base: Offset,
    entry: &DirEntry,
    name: &str,
) -> Result<Offset, OpenError> {
    assert!(name == file_name(base, LOG_SUFFIX), "the name of a segment");
    let file = home.storage.open(&entry.path).map_err(|error| disk(&entry.path, error))?;
    let mut window = Window::default();
    let mut walk = HeaderWalk::new(Arc::new(file), base, 0, entry.len, &mut window);
    let mut end = base;
    while let Some(placed) = walk.next().map_err(|error| read_failed(&home.dir, error))? {
        end = placed.header.next_offset();
    }
    Ok(end)
}
