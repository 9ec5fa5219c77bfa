//! A number that two nodes compare to see whether their images say the same.
//!
//! Not part of Kafka and never written to its files; no protection against a forger.

use std::fmt;

use super::ClusterImage;

/// Hash of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageHash(pub u64);

impl fmt::Display for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

impl ClusterImage {
    /// FNV-1a over the bytes of the snapshot's records. Equal images have equal hashes; the place
    /// in the log is left out.
    pub fn hash(&self) -> ImageHash {
        let mut hash = OFFSET_BASIS;
        self.write_snapshot(|record| {
            // A record of an image was decoded or built in this version, so it can be written.
            let bytes = record.encode().expect("an image holds only what its version carries");
            for byte in bytes.iter() {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
            }
        });
        ImageHash(hash)
    }
}
