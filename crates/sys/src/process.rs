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
    usage.open_files_max = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    // Some containers keep this one from their processes.
    if let Ok(io) = std::fs::read_to_string("/proc/self/io") {
        usage.disk_read_bytes = line_of(&io, "read_bytes:").unwrap_or_default();
        usage.disk_written_bytes = line_of(&io, "write_bytes:").unwrap_or_default();
    }
    let system = std::fs::read_to_string("/proc/stat")?;
    usage.started += Duration::from_secs(line_of(&system, "btime").unwrap_or_default());
    Ok(usage)
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
