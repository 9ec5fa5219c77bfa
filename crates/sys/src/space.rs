//! Space of a file system.

use std::io;
use std::path::Path;

/// Space of the file system that a path lies on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total: u64,
    /// What this user may still use.
    pub usable: u64,
}

/// Asks for the space of the file system that `path` lies on.
///
/// # Errors
/// The path does not exist, or the system refuses.
pub fn disk_space(path: &Path) -> io::Result<DiskSpace> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(DiskSpace { total: bytes(stat.f_blocks), usable: bytes(stat.f_bavail) })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_current_directory_has_space() {
        let space = super::disk_space(std::path::Path::new(".")).unwrap();
        assert!(space.usable <= space.total && space.total > 0);
    }
}
