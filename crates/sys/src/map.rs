//! Files mapped into memory for reading, such that a file that is cut while it is mapped ends nobody.
//!
//! The kernel answers a read behind the end of a mapped file, and one that the disk fails, with the signal
//! SIGBUS, which ends a process. Here the signal finds zeros in place of the page instead: who
//! maps a file treats what it reads as a hint. Signals from elsewhere go to whoever had them before.
//!
//! Not for writing, and not for content that must be right.

#![allow(unsafe_code, reason = "a mapping and a signal handler; the arguments stand at the calls")]

use std::fs::File;
use std::io;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
use self::linux::Mapping;

/// A file as it was when it was mapped, or zeros where it is no more.
#[derive(Debug)]
pub struct MappedFile {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    mapping: Mapping,
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    nothing: std::convert::Infallible,
}

impl MappedFile {
    /// Maps the first `len` bytes of a file; `None` if there is nothing to map, too much is mapped already
    /// ([`MappedFile::MOST`]), or the system maps no files. Reading the file is the way then.
    ///
    /// # Errors
    /// The system refuses.
    pub fn map(file: &File, len: usize) -> io::Result<Option<Self>> {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        return Ok(Mapping::new(file, len)?.map(|mapping| Self { mapping }));
        #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
        {
            let _ = (file, len);
            Ok(None)
        }
    }

    /// Files that may be mapped at the same time in this process; the kernel allows 65,530 mappings.
    pub const MOST: usize = 8192;

    /// Bytes that were mapped.
    #[allow(clippy::len_without_is_empty, reason = "nothing empty is mapped")]
    #[inline]
    pub fn len(&self) -> usize {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        return self.mapping.len();
        #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
        match self.nothing {}
    }

    /// Copies what lies at a place; false, and nothing copied, if that is not all mapped.
    #[must_use]
    #[allow(clippy::inline_always, reason = "a search calls it a dozen times for a few bytes each")]
    #[inline(always)]
    pub fn copy_to(&self, at: usize, out: &mut [u8]) -> bool {
        let inside = at.checked_add(out.len()).is_some_and(|end| end <= self.len());
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        if inside {
            self.mapping.copy_to(at, out);
        }
        inside
    }
}

const WORD: usize = size_of::<u32>();

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use std::fs::File;
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    use memmap2::{MmapOptions, MmapRaw};

    use super::{MappedFile, WORD};

    /// A mapped file, known to the signal handler.
    #[derive(Debug)]
    pub(super) struct Mapping {
        map: MmapRaw,
        slot: usize,
    }

    impl Mapping {
        pub(super) fn new(file: &File, len: usize) -> io::Result<Option<Self>> {
            if len == 0 {
                return Ok(None);
            }
            handle_bus_errors()?;
            let Some(slot) = claim() else { return Ok(None) };
            let map = match MmapOptions::new().len(len).map_raw_read_only(file) {
                Ok(map) => map,
                Err(error) => {
                    give_back(slot);
                    return Err(error);
                }
            };
            let start = map.as_ptr().addr();
            // Whole pages: a read in the last one, behind the end of the file, is as harmless.
            range(slot).end.store(start + len.next_multiple_of(page_size()), Ordering::Relaxed);
            range(slot).start.store(start, Ordering::Release);
            Ok(Some(Self { map, slot }))
        }

        #[inline]
        pub(super) fn len(&self) -> usize {
            self.map.len()
        }

        /// The caller has compared the place with the length.
        #[allow(
            clippy::inline_always,
            reason = "a search calls it a dozen times for a few bytes each"
        )]
        #[inline(always)]
        #[expect(
            clippy::host_endian_bytes,
            reason = "the bytes stay in the order in which they lie"
        )]
        pub(super) fn copy_to(&self, at: usize, out: &mut [u8]) {
            let mut words = at.next_multiple_of(WORD)..;
            let (before, rest) = out.split_at_mut((words.start - at).min(out.len()));
            let (aligned, after) = rest.as_chunks_mut::<WORD>();
            for (place, at) in before.iter_mut().zip(at..) {
                *place = self.byte(at);
            }
            for place in aligned {
                *place = self.word(words.start).to_ne_bytes();
                words.start += WORD;
            }
            for (place, at) in after.iter_mut().zip(words) {
                *place = self.byte(at);
            }
        }

        #[inline]
        fn byte(&self, at: usize) -> u8 {
            assert!(at < self.map.len(), "a byte of the mapping");
            // SAFETY: as for a word.
            unsafe { self.map.as_ptr().add(at).read_volatile() }
        }

        #[inline]
        fn word(&self, at: usize) -> u32 {
            assert!(
                at + WORD <= self.map.len() && at.is_multiple_of(WORD),
                "a word of the mapping"
            );
            // SAFETY: the word lies inside of the mapping, which lives as long as `self`, and is aligned because the
            // mapping begins with a page. Another process may write to the file meanwhile, so the read is
            // volatile and no reference is made: what is read may be old, new or both, and any bits are
            // a `u32`. If the page is gone, the handler of SIGBUS puts zeros there and the read goes on.
            unsafe { self.map.as_ptr().add(at).cast::<u32>().read_volatile() }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // Before the addresses become somebody else's.
            give_back(self.slot);
        }
    }

    /// Addresses of a mapping; a start of 0 is none.
    struct Range {
        start: AtomicUsize,
        end: AtomicUsize,
    }

    static RANGES: [Range; MappedFile::MOST] =
        [const { Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } };
            MappedFile::MOST];

    fn range(slot: usize) -> &'static Range {
        RANGES.get(slot).expect("a slot is a place in the table")
    }

    /// Slots that are free: those given back, and all from `unused` on.
    struct Free {
        given_back: Vec<usize>,
        unused: usize,
    }

    static FREE: Mutex<Free> = Mutex::new(Free { given_back: Vec::new(), unused: 0 });

    fn claim() -> Option<usize> {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = free.given_back.pop() {
            return Some(slot);
        }
        let slot = free.unused;
        (slot < MappedFile::MOST).then(|| {
            free.unused += 1;
            slot
        })
    }

    fn give_back(slot: usize) {
        range(slot).start.store(0, Ordering::Release);
        FREE.lock().unwrap_or_else(PoisonError::into_inner).given_back.push(slot);
    }

    fn is_mapped(address: usize) -> bool {
        RANGES.iter().any(|range| {
            let start = range.start.load(Ordering::Acquire);
            start != 0 && (start..range.end.load(Ordering::Relaxed)).contains(&address)
        })
    }

    fn page_size() -> usize {
        rustix::param::page_size()
    }

    /// What was done about SIGBUS before.
    static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

    /// Installs the handler, once.
    fn handle_bus_errors() -> io::Result<()> {
        static INSTALLED: Mutex<bool> = Mutex::new(false);
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if *installed {
            return Ok(());
        }
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
            on_bus_error;
        let mut before = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: both pointers are to values of this frame. The first call writes `before` if it succeeds, and
        // it is read only then. The new action is zeroed, which is valid for its fields, and then filled in.
        // The handler calls only what a handler may call, on the alternative stack if the thread has one.
        unsafe {
            if libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()) != 0 {
                return Err(io::Error::last_os_error());
            }
            BEFORE.get_or_init(|| before.assume_init());
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            if libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        *installed = true;
        Ok(())
    }

    extern "C" fn on_bus_error(
        signal: libc::c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::c_void,
    ) {
        // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `info`, and for SIGBUS it has an address.
        let address = unsafe { (*info).si_addr() }.addr();
        if is_mapped(address) && put_zeros(address) {
            return;
        }
        pass_on(signal, info, context);
    }

    /// Puts a page of zeros where a mapped page is gone.
    fn put_zeros(address: usize) -> bool {
        let page = address - address % page_size();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        // SAFETY: the page belongs to a mapping of this module, read by the thread that was interrupted, so it is
        // neither unmapped nor anybody else's; it holds no value that Rust knows of. mmap is a system call without
        // state of its own, and the error number is put back for the code that was interrupted.
        unsafe {
            let errno = *libc::__errno_location();
            let page = ptr::without_provenance_mut(page);
            let done = libc::mmap(page, page_size(), libc::PROT_READ, flags, -1, 0);
            *libc::__errno_location() = errno;
            done != libc::MAP_FAILED
        }
    }

    /// Does what was done before there was this handler.
    fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let before = BEFORE.get();
        let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
        // SAFETY: `handler` is what the kernel said it would call, with the arguments that it would call it with. With
        // no handler the default is restored, and the instruction that failed fails again and ends the process.
        unsafe {
            match (handler, before) {
                (libc::SIG_DFL | libc::SIG_IGN, _) | (_, None) => {
                    libc::signal(signal, libc::SIG_DFL);
                }
                (handler, Some(before)) if before.sa_flags & libc::SA_SIGINFO != 0 => {
                    type Handler =
                        extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                    std::mem::transmute::<libc::sighandler_t, Handler>(handler)(
                        signal, info, context,
                    );
                }
                (handler, Some(_)) => {
                    type Handler = extern "C" fn(libc::c_int);
                    std::mem::transmute::<libc::sighandler_t, Handler>(handler)(signal);
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(name: &str, content: &[u8]) -> (std::path::PathBuf, File) {
        let name = format!("ottla-sys-map-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(content).unwrap();
        (path, file)
    }

    fn at(map: &MappedFile, at: usize) -> Option<[u8; 4]> {
        let mut out = [9; 4];
        map.copy_to(at, &mut out).then_some(out)
    }

    #[test]
    fn what_is_in_the_file_is_read() {
        let content: Vec<u8> = (0..=255).cycle().take(9_999).collect();
        let (path, file) = file("read", &content);
        let map = MappedFile::map(&file, content.len()).unwrap().unwrap();
        assert_eq!(map.len(), content.len());
        for at in [0, 1, 2, 3, 4, 4_095, 9_979, 9_990] {
            for len in 0..24 {
                let mut out = vec![0; len];
                let inside = map.copy_to(at, &mut out);
                assert_eq!(inside, at + len <= content.len(), "{at}, {len}");
                assert!(!inside || content.get(at..at + len) == Some(&out), "{at}, {len}");
            }
        }
        assert!(!map.copy_to(usize::MAX - 3, &mut [0; 4]), "an address that wraps");
        assert!(MappedFile::map(&file, 0).unwrap().is_none());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_cut_leaves_zeros() {
        let (path, file) = file("cut", &[7; 20_000]);
        let map = MappedFile::map(&file, 20_000).unwrap().unwrap();
        file.set_len(5_000).unwrap();
        assert_eq!(at(&map, 4_000), Some([7; 4]));
        assert_eq!(at(&map, 16_384), Some([0; 4]), "this read raised SIGBUS");
        // From several threads at once, each time a page that is gone anew.
        std::thread::scope(|scope| {
            for place in [8_192, 12_288, 8_196, 12_292] {
                let map = &map;
                scope.spawn(move || assert_eq!(at(map, place), Some([0; 4])));
            }
        });
        file.set_len(0).unwrap();
        assert_eq!(at(&map, 0), Some([0; 4]));
        drop(map);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn only_so_many_are_mapped_and_places_are_given_back() {
        let (path, file) = file("many", &[1; 4_096]);
        let all: Vec<_> =
            (0..MappedFile::MOST).map_while(|_| MappedFile::map(&file, 4_096).unwrap()).collect();
        // Other tests of this process may have some.
        assert!(all.len() + 8 > MappedFile::MOST);
        drop(all);
        assert!(MappedFile::map(&file, 4_096).unwrap().is_some());
        std::fs::remove_file(path).unwrap();
    }
}
