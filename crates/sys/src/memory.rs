//! How much memory this process may use, and what its allocator keeps for nobody.

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

/// How many bytes of memory this process may use: what the machine has, or the least that a control
/// group of Linux leaves it (of version 1 or 2, as containers set them). `None` if nobody tells.
pub fn memory_max() -> Option<u64> {
    least(|path| std::fs::read_to_string(path).ok())
}

fn least(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let total = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().flat_map(|line| {
        // A number, the controllers and the path of the group.
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next().unwrap_or("-"), fields.next().unwrap_or("/"));
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        // The limits of the groups around it hold as well; in a container they may not be visible.
        let around = std::path::Path::new(group).ancestors();
        let files = around.map(|group| {
            let group = group.to_string_lossy();
            format!("{root}{}/{file}", group.trim_end_matches('/'))
        });
        files.filter_map(|path| read(&path)?.trim().parse::<u64>().ok()).collect()
    });
    total.into_iter().chain(limits).min()
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

    #[test]
    fn the_least_limit_holds() {
        let check = |groups: &str, limits: &[(&str, &str)], expected: Option<u64>| {
            let read = |path: &str| match path {
                "/proc/meminfo" => Some("MemTotal:           4096 kB\nMemFree: 1 kB\n".to_owned()),
                "/proc/self/cgroup" => Some(groups.to_owned()),
                _ => limits.iter().find(|(file, _)| *file == path).map(|one| one.1.to_owned()),
            };
            assert_eq!(least(read), expected, "{groups} {limits:?}");
        };
        let all = Some(4096 * 1024);
        check("", &[], all);
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "max\n")], all);
        check("0::/\n", &[("/sys/fs/cgroup/memory.max", "1000\n")], Some(1000));
        let around =
            [("/sys/fs/cgroup/a/b/memory.max", "max\n"), ("/sys/fs/cgroup/a/memory.max", "2000\n")];
        check("0::/a/b\n", &around, Some(2000));
        let old = ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "3000\n");
        check("8:pids:/x\n4:memory:/a\n0::/\n", &[old], Some(3000));
        let unlimited = ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9223372036854771712\n");
        check("4:cpu,memory:/a\n", &[unlimited], all);
        assert_eq!(least(|_| None), None);
        assert!(memory_max().is_none_or(|bytes| bytes > 1 << 20));
    }
}
