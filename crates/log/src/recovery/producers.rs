//! Replays producers and their transactions from a snapshot and the batches behind it.

use std::sync::Arc;

use ottla_record::DecompressLimits;
use ottla_types::Offset;

use crate::error::ReadError;
use crate::format::{SNAPSHOT_SUFFIX, file_name};
use crate::partition::read_marker;
use crate::producer::{Producers, decode};
use crate::segment::{Home, Segment};
use crate::storage::Storage;
use crate::walk::{HeaderWalk, read_batch};
use crate::window::Window;

/// What a replay is to find out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay<'a> {
    /// First segment whose index of aborted transactions is made anew, with those of all behind it.
    pub(crate) untold: Option<Offset>,
    /// Segments, in their order, that are known to have no batch of a producer.
    pub(crate) plain: &'a [Offset],
    /// Where the log ends.
    pub(crate) end: Offset,
    pub(crate) limits: &'a DecompressLimits,
}

/// Producers as they are at the end: the newest snapshot that can be read and tells enough, and the
/// batches behind it. Snapshots that cannot be read are forgotten; the next one replaces them.
pub(crate) fn rebuild_producers<S: Storage>(
    home: &Home<S>,
    segments: &mut [Segment<S::File>],
    snapshots: &mut Vec<Offset>,
    replay: Replay<'_>,
) -> Result<Producers, ReadError> {
    // A snapshot before the first segment would have to be told what was deleted since.
    let first = segments.first().map_or(Offset::ZERO, Segment::base);
    snapshots.retain(|at| first <= *at);
    let (mut producers, from) = newest_snapshot(home, snapshots, replay.untold)?;
    if replay.end <= from && replay.untold.is_none() {
        return Ok(producers);
    }
    let first = segments.partition_point(|segment| segment.base() <= from).saturating_sub(1);
    for segment in segments.iter_mut().skip(first) {
        let untold = replay.untold.is_some_and(|untold| untold <= segment.base());
        if untold {
            segment.reset_aborted();
        }
        if replay.plain.binary_search(&segment.base()).is_err() {
            replay_segment(home, segment, from, (&mut producers, untold), replay.limits)?;
        }
        if untold {
            segment.persist_indexes(home)?;
            segment.set_unsynced(true);
        }
    }
    Ok(producers)
}

fn newest_snapshot<S: Storage>(
    home: &Home<S>,
    snapshots: &mut Vec<Offset>,
    at_most: Option<Offset>,
) -> Result<(Producers, Offset), ReadError> {
    let early = |at: &Offset| at_most.is_none_or(|most| *at <= most);
    while let Some(place) = snapshots.iter().rposition(early) {
        let at = snapshots[place];
        let file = home.storage.read_small(&home.dir.join(file_name(at, SNAPSHOT_SUFFIX)))?;
        if let Some(Ok(read)) = file.map(|file| decode(file.into())) {
            return Ok((read, at));
        }
        snapshots.remove(place);
    }
    Ok((Producers::default(), Offset::ZERO))
}

fn replay_segment<S: Storage>(
    home: &Home<S>,
    segment: &mut Segment<S::File>,
    from: Offset,
    (producers, untold): (&mut Producers, bool),
    limits: &DecompressLimits,
) -> Result<(), ReadError> {
    let file = segment.file(home)?;
    let mut window = Window::default();
    let start = segment.locate(home, from.max(segment.base()), &mut window)?;
    let Some(start) = start else { return Ok(()) };
    let (base, size) = (segment.base(), segment.size());
    let mut walk = HeaderWalk::new(Arc::clone(&file), base, start.position, size, &mut window);
    while let Some(placed) = walk.next()? {
        let header = placed.header;
        if header.producer_id.is_none() || header.next_offset() <= from {
            continue;
        }
        if !header.attributes.is_control() {
            producers.note(&header);
            continue;
        }
        let batch = read_batch(&*file, base, &placed)?;
        let Ok(Some(marker)) = read_marker(&batch, limits) else { continue };
        let aborted = producers.note_marker(&header, marker);
        if let Some(aborted) = aborted.filter(|_| untold) {
            segment.note_aborted(aborted);
        }
    }
    Ok(())
}
