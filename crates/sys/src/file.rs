//! Files: locks that Java sees, vectored writes, and sending without a copy.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::{Errno, ReadWriteFlags};
use smallvec::SmallVec;

// Most slices that one call takes (`IOV_MAX` of Linux).
const SLICES_MAX: usize = 1024;

/// Locks a file against every other process, Java's `FileLock` included, and against another
/// opening of it in this process. The lock goes when the file is closed.
///
/// Returns whether the lock was free.
///
/// # Errors
/// Any failure other than "somebody else holds it".
pub fn lock_exclusive(file: &File) -> io::Result<bool> {
    // Java takes a record lock, which does not see this process' own; `flock` does.
    let taken = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive)
        .and_then(|()| rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive));
    match taken {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Writes all `parts`, one after the other, from `position` on, with as few calls as possible.
///
/// # Errors
/// As `pwritev`. Part of the data may have been written.
pub fn write_all_at(file: &File, parts: &[&[u8]], mut position: u64) -> io::Result<()> {
    // Most writes are the head and the body of one batch.
    let mut slices: SmallVec<[IoSlice<'_>; 2]> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let some = rest.get(..rest.len().min(SLICES_MAX)).unwrap_or_default();
        match rustix::io::pwritev(file, some, position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                position += u64::try_from(written).map_err(io::Error::other)?;
                IoSlice::advance_slices(&mut rest, written);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Sends up to `len` bytes of `file`, from `position` on, to `out` (a socket) without copying
/// them through this process. Returns how many were taken; 0 means that the file ended.
///
/// # Errors
/// As `sendfile`; `WouldBlock` if a non-blocking socket is full.
pub fn sendfile(out: impl AsFd, file: &File, position: u64, len: usize) -> io::Result<usize> {
    let mut at = position;
    loop {
        match rustix::fs::sendfile(&out, file, Some(&mut at), len) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Whether the range of the file is likely in the page cache, judged by its first, middle and last
/// byte, so that sending it will not wait for the disk.
///
/// A file system that cannot tell answers `true`: the caller then behaves as if there were no
/// cold reads.
pub fn is_resident(file: &File, position: u64, len: usize) -> bool {
    let Some(last) = u64::try_from(len).ok().and_then(|len| len.checked_sub(1)) else {
        return true;
    };
    [0, last / 2, last].into_iter().all(|at| {
        let mut byte = [0];
        let mut slices = [IoSliceMut::new(&mut byte)];
        match rustix::io::preadv2(file, &mut slices, position + at, ReadWriteFlags::NOWAIT) {
            Ok(_) => true,
            Err(error) => error != Errno::AGAIN,
        }
    })
}

/// Whether this user may write to a path. It asks and does not try: nothing is changed.
pub fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn scratch() -> File {
        // An anonymous file: nothing to name, nothing to clean up.
        File::from(
            rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd"),
        )
    }

    #[test]
    fn parts_are_written_in_order() {
        let mut file = scratch();
        file.write_all(b"..........").unwrap();
        let many = vec![&b"x"[..]; 3000];
        write_all_at(&file, &[b"ab", b"", b"cd"], 2).unwrap();
        write_all_at(&file, &many, 6).unwrap();
        file.rewind().unwrap();
        let mut got = Vec::new();
        file.read_to_end(&mut got).unwrap();
        assert_eq!(&got[..8], b"..abcdxx");
        assert_eq!(got.len(), 3006);
    }

    #[test]
    fn a_range_is_sent() {
        let mut file = scratch();
        file.write_all(b"hello world").unwrap();
        let (out, mut incoming) = UnixStream::pair().unwrap();
        assert_eq!(sendfile(&out, &file, 6, 100).unwrap(), 5);
        assert_eq!(sendfile(&out, &file, 11, 100).unwrap(), 0);
        drop(out);
        let mut got = String::new();
        incoming.read_to_string(&mut got).unwrap();
        assert_eq!(got, "world");
    }

    #[test]
    fn memory_is_resident() {
        let mut file = scratch();
        file.write_all(&[7; 10_000]).unwrap();
        assert!(is_resident(&file, 0, 10_000));
        assert!(is_resident(&file, 0, 0));
    }

    #[test]
    fn whether_a_path_can_be_written_is_asked() {
        assert!(is_writable(&std::env::temp_dir()));
        assert!(!is_writable(Path::new("/nowhere")));
    }

    #[test]
    fn a_lock_excludes_another_opening() {
        let path = std::env::temp_dir().join(format!("ottla-sys-lock-{}", std::process::id()));
        let first = File::create(&path).unwrap();
        let second = File::create(&path).unwrap();
        assert!(lock_exclusive(&first).unwrap());
        assert!(!lock_exclusive(&second).unwrap());
        drop(first);
        assert!(lock_exclusive(&second).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
