//! Sorts the files of a partition's directory, and removes what is left over.

use std::collections::BTreeMap;
use std::io;

use ottla_types::Offset;

use super::disk;
use super::swap::finish_swaps;
use crate::error::OpenError;
use crate::format::{
    CLEANED_SUFFIX, DELETED_SUFFIX, INDEX_SUFFIX, LOG_SUFFIX, OFFSET_ENTRY_LEN, SNAPSHOT_SUFFIX,
    TIME_ENTRY_LEN, TIME_INDEX_SUFFIX, TXN_ENTRY_LEN, TXN_INDEX_SUFFIX, file_name, offset_in_name,
};
use crate::segment::{Home, Segment};
use crate::storage::{DirEntry, Storage};

/// What a directory holds.
pub(super) struct Found<F> {
    pub(super) segments: Vec<Segment<F>>,
    pub(super) unindexed: Vec<Offset>,
    /// First segment whose index of aborted transactions has an impossible length.
    pub(super) untold: Option<Offset>,
    pub(super) snapshots: Vec<Offset>,
    pub(super) removed: usize,
    /// Segments were put in place that a crash had kept from it.
    pub(super) renamed: bool,
}

pub(super) fn sort_files<S: Storage>(home: &Home<S>) -> Result<Found<S::File>, OpenError> {
    let list = || home.storage.list(&home.dir).map_err(|e| disk(&home.dir, e));
    let mut entries = list()?;
    let swapped = finish_swaps(home, &entries)?;
    if swapped {
        entries = list()?;
    }
    let mut files: BTreeMap<&str, BTreeMap<Offset, &DirEntry>> = BTreeMap::new();
    // By name, so that files go in the same order everywhere.
    let mut left_over: BTreeMap<&str, &DirEntry> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !entry.is_dir) {
        let name = entry.name.as_str();
        if [DELETED_SUFFIX, CLEANED_SUFFIX, ".tmp"].iter().any(|end| name.ends_with(end)) {
            left_over.insert(name, entry);
            continue;
        }
        for suffix in
            [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX, SNAPSHOT_SUFFIX]
        {
            if let Some(offset) = offset_in_name(name, suffix) {
                files.entry(suffix).or_default().insert(offset, entry);
            }
        }
    }
    let mut take = |suffix: &str| files.remove(suffix).unwrap_or_default();
    let (logs, indexes, times) = (take(LOG_SUFFIX), take(INDEX_SUFFIX), take(TIME_INDEX_SUFFIX));
    let (txns, snapshots) = (take(TXN_INDEX_SUFFIX), take(SNAPSHOT_SUFFIX));
    // An index without its log belongs to a segment that was being removed.
    for orphans in [&indexes, &times, &txns] {
        for (_, entry) in orphans.iter().filter(|(base, _)| !logs.contains_key(base)) {
            left_over.insert(&entry.name, entry);
        }
    }
    for entry in left_over.values() {
        home.storage.remove_file(&entry.path).map_err(|e| disk(&entry.path, e))?;
    }
    let mut unindexed = Vec::new();
    let mut untold = None;
    let mut segments = Vec::new();
    for (base, log) in &logs {
        let (index, time) = (indexes.get(base), times.get(base));
        let whole = |entry: Option<&&DirEntry>, len: usize| {
            entry.is_some_and(|entry| entry.len % len as u64 == 0)
        };
        if !whole(index, OFFSET_ENTRY_LEN) || !whole(time, TIME_ENTRY_LEN) {
            unindexed.push(*base);
        }
        let txn = txns.get(base);
        if txn.is_some() && !whole(txn, TXN_ENTRY_LEN) {
            untold = untold.or(Some(*base));
        }
        let lens = [index, time, txn].map(|entry| entry.map_or(0, |entry| entry.len));
        segments.push(Segment::existing(*base, log.len, lens, log.modified));
    }
    let snapshots = snapshots.into_keys().collect();
    let removed = left_over.len();
    Ok(Found { segments, unindexed, untold, snapshots, removed, renamed: swapped })
}

/// Removes the files of a segment; the log first, because recovery removes indexes without one.
pub(crate) fn remove_segment<S: Storage>(home: &Home<S>, base: Offset) -> io::Result<()> {
    for suffix in [LOG_SUFFIX, INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX] {
        match home.storage.remove_file(&home.dir.join(file_name(base, suffix))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
