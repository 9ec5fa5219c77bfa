//! What of a log may be compacted, whether it is worth it, and which segments become one.
//!
//! Decides only (Kafka's `LogCleanerManager.cleanableOffsets`, `LogToClean` and
//! `Cleaner.groupSegmentsBySize`).

use std::ops::Range;
use std::time::Duration;

use ottla_types::{Offset, WallTime};

use super::map::ratio;

/// What of a log compaction may work on, and how dirty it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cleanable {
    /// Everything before this has been compacted.
    pub first_dirty: Offset,
    /// The first offset that is not looked at: where a segment begins.
    pub until: Offset,
    /// Bytes of segments that begin before `first_dirty`.
    pub clean_bytes: u64,
    /// Bytes of segments between `first_dirty` and `until`.
    pub dirty_bytes: u64,
    /// By how much a record has waited longer than `max.compaction.lag.ms`.
    pub delay: Duration,
    /// The offset up to which the log was said to be compacted lies outside of it, so that all of
    /// it counts as dirty.
    pub restarts: bool,
}

impl Cleanable {
    /// Dirty part of the log, between 0 and 1.
    pub fn ratio(&self) -> f64 {
        ratio(self.dirty_bytes, self.clean_bytes + self.dirty_bytes)
    }

    /// Whether it is dirty enough, or a record has waited too long.
    pub fn is_due(&self, ratio_min: f64) -> bool {
        (self.delay > Duration::ZERO && self.dirty_bytes > 0) || self.ratio() > ratio_min
    }
}

/// What is known of a sealed segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SegmentFacts {
    pub(crate) base: Offset,
    pub(crate) bytes: u64,
    pub(crate) index_bytes: u64,
    pub(crate) time_index_bytes: u64,
}

/// Where the dirty part of a log begins, and whether that is a new start.
pub(crate) fn first_dirty(
    cleaned_to: Option<Offset>,
    start: Offset,
    end: Offset,
) -> (Offset, bool) {
    match cleaned_to {
        Some(offset) if (start..=end).contains(&offset) => (offset, false),
        Some(_) => (start, true),
        None => (start, false),
    }
}

/// By how much the oldest of these first timestamps is too old; 0 or less tells nothing.
pub(crate) fn delay(
    first_timestamps: impl Iterator<Item = i64>,
    lag_max: Duration,
    now: WallTime,
) -> Duration {
    let oldest = first_timestamps.filter(|&millis| millis > 0).min().unwrap_or(i64::MAX);
    let until = now.minus(lag_max).as_millis();
    Duration::from_millis(u64::try_from(until.saturating_sub(oldest)).unwrap_or(0))
}

/// Range of the sealed segments that hold offsets of `from..to`, of segments with these bases.
pub(crate) fn holding(bases: &[Offset], from: Offset, to: Offset) -> Range<usize> {
    let end = bases.partition_point(|&base| base < to);
    if to <= from {
        return end..end;
    }
    let start = bases.partition_point(|&base| base <= from).saturating_sub(1);
    start.min(end)..end
}

/// Which of the segments, all of which begin before `until`, become one each.
pub(crate) fn groups(
    segments: &[SegmentFacts],
    segment_bytes: u64,
    index_bytes: u64,
    until: Offset,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut first = 0;
    while let Some(head) = segments.get(first) {
        let mut total = *head;
        let mut next = first + 1;
        while let Some(segment) = segments.get(next) {
            let behind = segments.get(next + 1).map_or(until, |behind| behind.base);
            let span = behind.since(head.base).saturating_sub(1);
            let fits = total.bytes + segment.bytes <= segment_bytes
                && total.index_bytes + segment.index_bytes <= index_bytes
                && total.time_index_bytes + segment.time_index_bytes <= index_bytes
                && (segment.bytes == 0 || span <= i32::MAX.unsigned_abs().into());
            if !fits {
                break;
            }
            total.bytes += segment.bytes;
            total.index_bytes += segment.index_bytes;
            total.time_index_bytes += segment.time_index_bytes;
            next += 1;
        }
        groups.push(first..next);
        first = next;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(segments: &[(u64, u64)]) -> Vec<SegmentFacts> {
        let fact = |&(base, bytes): &(u64, u64)| SegmentFacts {
            base: Offset(base),
            bytes,
            index_bytes: bytes / 10,
            time_index_bytes: bytes / 10,
        };
        segments.iter().map(fact).collect()
    }

    #[test]
    fn small_segments_become_one() {
        let check = |segments: &[(u64, u64)], bytes, index, until, expected: &[usize]| {
            let got = groups(&facts(segments), bytes, index, Offset(until));
            let lens: Vec<_> = got.iter().map(Range::len).collect();
            assert_eq!(lens, expected, "{segments:?}");
            let all: Vec<_> = got.into_iter().flatten().collect();
            assert!(all.into_iter().eq(0..segments.len()), "in order");
        };
        let four = [(0, 400), (10, 500), (20, 200), (30, 100)];
        check(&four, 1000, 1000, 40, &[2, 2]);
        check(&four, 10_000, 1000, 40, &[4]);
        check(&four, 10_000, 90, 40, &[2, 2]);
        check(&four, 10, 1000, 40, &[1, 1, 1, 1]);
        check(&[], 10, 10, 40, &[]);
        let far = u64::from(i32::MAX.unsigned_abs());
        check(&[(0, 1), (10, 1)], 10, 10, far + 1, &[2]);
        check(&[(0, 1), (10, 1)], 10, 10, far + 2, &[1, 1]);
        check(&[(0, 1), (10, 0)], 10, 10, far + 2, &[2]);
        check(&[(0, 1), (10, 1), (20, 1)], 10, 10, far + 2, &[2, 1]);
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_is_not_believed() {
        let first = |cleaned: Option<u64>| first_dirty(cleaned.map(Offset), Offset(10), Offset(20));
        assert_eq!(first(None), (Offset(10), false));
        assert_eq!(first(Some(9)), (Offset(10), true));
        assert_eq!(first(Some(10)), (Offset(10), false));
        assert_eq!(first(Some(20)), (Offset(20), false));
        assert_eq!(first(Some(21)), (Offset(10), true));
    }

    #[test]
    fn segments_that_hold_a_range() {
        let bases = [Offset(5), Offset(10), Offset(20)];
        let check = |from, to, expected| {
            assert_eq!(holding(&bases, Offset(from), Offset(to)), expected, "{from}..{to}");
        };
        check(0, 5, 0..0);
        check(0, 6, 0..1);
        check(9, 20, 0..2);
        check(10, 20, 1..2);
        check(25, 30, 2..3);
        check(10, 10, 1..1);
        check(15, 15, 2..2);
    }

    #[test]
    fn what_waits_too_long_is_due() {
        let lag = Duration::from_millis(100);
        let now = WallTime::from_millis(1000);
        assert_eq!(delay([950, -1, 0].into_iter(), lag, now), Duration::ZERO);
        assert_eq!(delay([950, 870].into_iter(), lag, now), Duration::from_millis(30));
        assert_eq!(delay([1].into_iter(), Duration::MAX, now), Duration::ZERO);
        let mut cleanable = Cleanable {
            first_dirty: Offset(0),
            until: Offset(10),
            clean_bytes: 50,
            dirty_bytes: 50,
            delay: Duration::ZERO,
            restarts: false,
        };
        assert!(!cleanable.is_due(0.5), "as dirty as it may be");
        assert!(cleanable.is_due(0.49));
        cleanable.delay = Duration::from_millis(1);
        assert!(cleanable.is_due(1.0));
        cleanable.dirty_bytes = 0;
        assert!(!cleanable.is_due(0.5), "nothing can be done");
        cleanable.clean_bytes = 0;
        assert!(!cleanable.is_due(0.0), "nothing is there");
    }
}
