//! Bytes that are not what was written: a sector went bad, or a write went astray.

use std::io;
use std::path::Path;

use super::{Random, SimStorage};

/// What becomes of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rot {
    /// One bit is another.
    Flip,
    /// A stretch of up to 64 bytes is zeros.
    Zero,
    /// A stretch of up to 64 bytes is what stands elsewhere in the file.
    Copy,
    /// The content is what it was before the last sync.
    Old,
    /// The end is gone.
    Cut,
}

impl Rot {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Flip, Self::Zero, Self::Copy, Self::Old, Self::Cut];
}

const STRETCH: usize = 64;

impl SimStorage {
    /// Damages a file, its durable content as well; `seed` says where. Returns whether the
    /// content is another now.
    ///
    /// # Errors
    /// There is no such file.
    pub fn rot(&self, path: &Path, rot: Rot, seed: u64) -> io::Result<bool> {
        let mut disk = self.guard();
        let node = disk.find_file(path)?;
        let file = disk.file(node);
        let mut random = Random::new(seed);
        let mut content = file.content.clone();
        let len = content.len();
        let (at, from) = (random.below(len), random.below(len));
        let stretch = random.below(STRETCH).min(len.saturating_sub(at.max(from)));
        match rot {
            Rot::Flip if len > 0 => content[at] ^= 1 << random.below(8),
            Rot::Zero => content[at..at + stretch].fill(0),
            Rot::Copy => content.copy_within(from..from + stretch, at),
            Rot::Old => content.clone_from(&file.old),
            Rot::Cut => content.truncate(at),
            Rot::Flip => {}
        }
        let changed = content != file.content;
        file.durable.clone_from(&content);
        file.content = content;
        file.unsynced.clear();
        Ok(changed)
    }
}
