//! What this process uses, from Linux's `/proc`.

use std::io;
use std::time::Duration;

/// Resources that this process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessUsage {
    /// CPU time in user and kernel mode since the start.
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Most file descriptors that may be open; `None` is no limit.
    pub open_files_max: Option<u64>,
    /// Bytes that this process caused to be read from disks.
    pub disk_read_bytes: u64,
    /// Bytes that this process caused to be written to disks.
    pub disk_written_bytes: u64,
    /// When this process started, since 1970.
    pub started: Duration,
}

/// Reads what this process uses.
///
/// # Errors
/// There is no `/proc`, as outside Linux.
pub fn process_usage() -> io::Result<ProcessUsage> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let mut usage = parse_stat(&stat).ok_or_else(|| io::Error::other("/proc/self/stat"))?;
    let open = std::fs::read_dir("/proc/self/fd")?.count();
    // The listing itself holds one.
    usage.open_files = u64::try_from(open.saturating_sub(1)).unwrap_or(u64::MAX);
    usage.open_files_max = open_files_max();
    // Some containers keep this one from their processes.
    if let Ok(io) = std::fs::read_to_string("/proc/self/io") {
        usage.disk_read_bytes = line_of(&io, "read_bytes:").unwrap_or_default();
        usage.disk_written_bytes = line_of(&io, "write_bytes:").unwrap_or_default();
    }
    let system = std::fs::read_to_string("/proc/stat")?;
    usage.started += Duration::from_secs(line_of(&system, "btime").unwrap_or_default());
    Ok(usage)
}

/// Files that a process has open, and how many it may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenFiles {
    /// How many are open; `None` if this user may not look.
    pub open: Option<u64>,
    /// How many may be open; `None` is no limit.
    pub max: Option<u64>,
}

/// Looks at the files of any process of this machine.
///
/// # Errors
/// There is no such process, or no `/proc`.
pub fn open_files(pid: u32) -> io::Result<OpenFiles> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let max = line_of_words(&limits, "Max open files");
    let max = max.ok_or_else(|| io::Error::other("its limits have no line for open files"))?;
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let open = entries.ok().and_then(|entries| u64::try_from(entries.count()).ok());
    Ok(OpenFiles { open, max: max.parse().ok() })
}

/// How many files this process may open; `None` is no limit.
pub fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Raises the number of files that this process may open to what the system allows it without
/// asking, as a JVM does. Returns the limit that holds now; `None` is no limit.
///
/// # Errors
/// The system refuses.
pub fn raise_open_files_max() -> io::Result<Option<u64>> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    }
    Ok(maximum)
}

/// The first word after some others at the start of a line.
fn line_of_words<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(words)?.split_ascii_whitespace().next())
}

/// The number after a word at the start of a line.
fn line_of(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok())
}

// Fields are numbered as in proc(5); the name, field 2, may itself hold spaces and brackets.
fn parse_stat(stat: &str) -> Option<ProcessUsage> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)?.checked_add(field(15)?)?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(ProcessUsage {
        cpu: Duration::from_secs(1).mul_f64(per_second(ticks)?),
        resident_bytes: field(24)?.saturating_mul(page),
        virtual_bytes: field(23)?,
        threads: field(20)?,
        // Since the system's start, which is added later.
        started: Duration::from_secs(1).mul_f64(per_second(field(22)?)?),
        ..ProcessUsage::default()
    })
}

fn per_second(ticks: u64) -> Option<f64> {
    let rate =
        u32::try_from(rustix::param::clock_ticks_per_second()).ok().filter(|&rate| rate > 0)?;
    let whole = u32::try_from(ticks / u64::from(rate)).ok()?;
    let rest = u32::try_from(ticks % u64::from(rate)).ok()?;
    Some(f64::from(whole) + f64::from(rest) / f64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let usage = process_usage().unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(usage.threads >= 1);
        assert!(usage.open_files >= 3);
        let age = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().checked_sub(usage.started);
        assert!(age.is_some_and(|age| age < Duration::from_secs(3600)), "{age:?}");
    }

    #[test]
    fn files_of_a_process_are_counted() {
        let own = process_usage().unwrap();
        let files = open_files(std::process::id()).unwrap();
        assert_eq!(files.max, own.open_files_max);
        assert!(files.open.unwrap() >= 3);
        assert!(open_files(u32::MAX).is_err());
        let limits = "Max open files            1024                 524288               files\n";
        assert_eq!(line_of_words(limits, "Max open files"), Some("1024"));
    }

    #[test]
    fn the_limit_on_open_files_is_raised() {
        let raised = raise_open_files_max().unwrap();
        assert_eq!(process_usage().unwrap().open_files_max, raised);
    }

    #[test]
    fn names_with_brackets_do_not_shift_fields() {
        let line = "7 (a) b) (c) S 1 1 1 0 -1 0 0 0 0 0 100 50 0 0 20 0 9 0 5 4096 3 0";
        let usage = parse_stat(line).unwrap();
        assert_eq!(usage.threads, 9);
        assert_eq!(usage.virtual_bytes, 4096);
        assert_eq!(usage.cpu, Duration::from_millis(1500));
        assert_eq!(usage.started, Duration::from_millis(50));
        let io = "rchar: 9\nread_bytes: 4096\ncancelled_write_bytes: 3\nwrite_bytes: 12\n";
        assert_eq!(line_of(io, "read_bytes:"), Some(4096));
        assert_eq!(line_of(io, "write_bytes:"), Some(12));
    }
}
