//! Which leader epoch began at which offset (KIP-101), and its file.

use std::fmt::Write as _;

use ottla_types::{LeaderEpoch, Offset};

/// Where an epoch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// Largest epoch in the log that is not larger than the one asked for.
    pub epoch: LeaderEpoch,
    /// Offset after its last record.
    pub end_offset: Offset,
}

/// First offset of every epoch in a log, in ascending order of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
    changed: Changed,
}

/// How the file differs from the entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Changed {
    #[default]
    No,
    /// It lacks entries, all of which begin here or later.
    From(Offset),
    Yes,
}

impl LeaderEpochs {
    /// Reads the text of a `leader-epoch-checkpoint`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines = crate::checkpoint::counted_lines(text)?;
        let mut epochs = Self::default();
        for line in lines {
            let entry = line.split_once(' ').and_then(|(epoch, offset)| {
                let epoch = LeaderEpoch::from_wire(epoch.parse().ok()?)?;
                Some((epoch, Offset::from_wire(offset.trim().parse().ok()?)?))
            });
            let (epoch, start) = entry.ok_or_else(|| format!("malformed line {line:?}"))?;
            epochs.assign(epoch, start);
        }
        epochs.changed = Changed::No;
        Ok(epochs)
    }

    /// The text of a `leader-epoch-checkpoint`.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            let _ = writeln!(text, "{epoch} {start}");
        }
        text
    }

    /// Notes that `epoch` begins at `start`; entries that contradict it go, as in Kafka. An older
    /// epoch than the last one, or one that is known, changes nothing.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.latest().is_some_and(|latest| epoch <= latest) {
            return;
        }
        self.truncate_from_end(start);
        // Most partitions have one epoch, and there are many partitions.
        self.entries.reserve_exact(1);
        self.entries.push((epoch, start));
        if self.changed == Changed::No {
            self.changed = Changed::From(start);
        }
        assert!(
            self.entries.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0 && a.1 < b.1)),
            "epochs and their offsets ascend"
        );
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.0)
    }

    /// Epoch of the record at `offset`.
    pub(crate) fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.1 <= offset);
        self.entries.get(after.checked_sub(1)?).map(|entry| entry.0)
    }

    /// Where the largest epoch up to `wanted` ends, as OffsetForLeaderEpoch answers it.
    pub(crate) fn end_of(&self, wanted: LeaderEpoch, log_end: Offset) -> Option<EpochEnd> {
        if self.latest()? == wanted {
            return Some(EpochEnd { epoch: wanted, end_offset: log_end });
        }
        let higher = self.entries.partition_point(|entry| entry.0 <= wanted);
        let end_offset = self.entries.get(higher)?.1;
        let floor = higher.checked_sub(1).and_then(|at| self.entries.get(at));
        // Kafka: asked for an epoch older than all that are kept, the answer names that epoch.
        Some(EpochEnd { epoch: floor.map_or(wanted, |entry| entry.0), end_offset })
    }

    /// Forgets epochs that begin at or behind `end`.
    pub(crate) fn truncate_from_end(&mut self, end: Offset) {
        let keep = self.entries.partition_point(|entry| entry.1 < end);
        if let Some(&(_, first)) = self.entries.get(keep) {
            // Entries that the file never had are not missed there.
            if !matches!(self.changed, Changed::From(start) if start <= first) {
                self.changed = Changed::Yes;
            }
        }
        self.entries.truncate(keep);
    }

    /// Forgets what lies before `start`; the epoch at `start` then begins there.
    pub(crate) fn truncate_from_start(&mut self, start: Offset) {
        let after = self.entries.partition_point(|entry| entry.1 <= start);
        let Some(at) = after.checked_sub(1) else { return };
        if at > 0 {
            self.changed = Changed::Yes;
        }
        self.entries.drain(..at);
        if let Some(first) = self.entries.first_mut()
            && first.1 != start
        {
            first.1 = start;
            self.changed = Changed::Yes;
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        if !self.entries.is_empty() {
            self.changed = Changed::Yes;
        }
        self.entries.clear();
    }

    /// Whether the file is not what [`LeaderEpochs::render`] says.
    pub(crate) fn is_changed(&self) -> bool {
        self.changed != Changed::No
    }

    /// Whether the file is wrong about records before `end`. An epoch without records is written
    /// with its first one: a leader that starts again has a later one anyway.
    pub(crate) fn is_changed_before(&self, end: Offset) -> bool {
        match self.changed {
            Changed::No => false,
            Changed::From(start) => start < end,
            Changed::Yes => true,
        }
    }

    /// Notes that the file is being, or must be, written.
    pub(crate) fn set_changed(&mut self, changed: bool) {
        self.changed = if changed { Changed::Yes } else { Changed::No };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(pairs: &[(u32, u64)]) -> LeaderEpochs {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in pairs {
            epochs.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        epochs
    }

    #[test]
    fn ends_are_kafkas() {
        let epochs = epochs(&[(2, 10), (4, 20), (5, 30)]);
        let end = |epoch| {
            epochs.end_of(LeaderEpoch(epoch), Offset(35)).map(|e| (e.epoch.0, e.end_offset.0))
        };
        let got: Vec<_> = (0..8).map(end).collect();
        let expected = [
            Some((0, 10)),
            Some((1, 10)),
            Some((2, 20)),
            Some((2, 20)),
            Some((4, 30)),
            Some((5, 35)),
            None,
            None,
        ];
        assert_eq!(got, expected);
        assert_eq!(LeaderEpochs::default().end_of(LeaderEpoch(0), Offset(3)), None);
    }

    #[test]
    fn contradictions_go_and_repeats_do_nothing() {
        let mut log = epochs(&[(1, 0), (2, 10), (3, 20)]);
        log.assign(LeaderEpoch(3), Offset(25));
        assert_eq!(log.entries, epochs(&[(1, 0), (2, 10), (3, 20)]).entries);
        log.assign(LeaderEpoch(4), Offset(10));
        assert_eq!(log.render(), "0\n2\n1 0\n4 10\n");
        assert_eq!(log.epoch_at(Offset(9)), Some(LeaderEpoch(1)));
        assert_eq!(log.epoch_at(Offset(10)), Some(LeaderEpoch(4)));
    }

    #[test]
    fn truncation_keeps_the_epoch_that_spans_the_start() {
        let mut log = epochs(&[(1, 0), (2, 10), (3, 20)]);
        log.truncate_from_start(Offset(15));
        assert_eq!(log.render(), "0\n2\n2 15\n3 20\n");
        log.truncate_from_end(Offset(20));
        assert_eq!(log.render(), "0\n1\n2 15\n");
    }

    #[test]
    fn an_epoch_without_records_needs_no_file() {
        let mut log = epochs(&[(1, 0), (2, 10)]);
        log.set_changed(false);
        assert!(!log.is_changed());
        log.assign(LeaderEpoch(3), Offset(20));
        log.assign(LeaderEpoch(4), Offset(20));
        assert!(log.is_changed() && !log.is_changed_before(Offset(20)));
        assert!(log.is_changed_before(Offset(21)));
        log.truncate_from_end(Offset(10));
        assert!(log.is_changed_before(Offset(0)), "the file has an epoch that is gone");
    }

    #[test]
    fn the_file_comes_back() {
        let log = epochs(&[(1, 0), (7, 100)]);
        let read = LeaderEpochs::parse(&log.render()).unwrap();
        assert_eq!(read.entries, log.entries);
        for bad in ["1\n0\n", "0\n2\n1 0\n", "0\n1\nx 0\n", "0\n1\n1 -1\n"] {
            assert!(LeaderEpochs::parse(bad).is_err(), "{bad:?}");
        }
    }
}
