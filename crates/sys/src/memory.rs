//! Memory that the allocator keeps and nobody uses.

#![allow(unsafe_code, reason = "malloc_trim has no safe wrapper; the argument stands at the call")]

/// Gives the pages that the allocator holds for nobody back to the system, if it can be asked to:
/// glibc keeps what was freed below something that lives, and a load of metadata leaves a lot. It
/// takes milliseconds for each 100 MB; elsewhere it does nothing.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the call takes no pointer, locks each arena itself (malloc_trim(3): MT-Safe), and
    // touches free pages alone.
    let _ = unsafe { libc::malloc_trim(0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn what_was_freed_goes_back() {
        let resident = || crate::process_usage().unwrap().resident_bytes;
        let mut many: Vec<Vec<u8>> = (0..200_000).map(|_| vec![1; 300]).collect();
        let full = resident();
        // The last one lives, so that the heap cannot shrink by itself.
        many.drain(..many.len() - 1);
        release_free_memory();
        assert!(resident() + (30 << 20) < full, "{} of {full}", resident());
        assert_eq!(many.len(), 1);
    }
}
