//! What a process has used, from the kernel's own accounting.

use std::time::Duration;

use anyhow::{Context, Result};

/// Memory and processor time of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub resident: u64,
    /// Highest resident memory so far, in bytes.
    pub resident_max: u64,
    /// Processor time in user and kernel mode, of all threads.
    pub cpu: Duration,
    /// Open file descriptors.
    pub files: usize,
}

impl Usage {
    /// Reads /proc for this process id.
    pub fn of(pid: u32) -> Result<Self> {
        let status = read(pid, "status")?;
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        Ok(Self {
            resident: kib(&status, "VmRSS:").unwrap_or(0) * 1024,
            resident_max: kib(&status, "VmHWM:").unwrap_or(0) * 1024,
            cpu: cpu(&read(pid, "stat")?).context("/proc stat is short")?,
            files,
        })
    }
}

fn read(pid: u32, name: &str) -> Result<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{name}"))
        .with_context(|| format!("/proc/{pid}/{name}"))
}

fn kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find(|l| l.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Fields 14 and 15 of /proc/PID/stat, in ticks; the name before them may hold spaces and brackets.
fn cpu(stat: &str) -> Option<Duration> {
    let after_name = stat.rsplit_once(')')?.1;
    let mut fields = after_name.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    Some(Duration::from_nanos((user + system) * (1_000_000_000 / ticks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_fields() {
        let stat = "1 (a) b) S 2 3 4 5 6 7 8 9 10 11 150 50 0 0";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu(stat), Some(Duration::from_nanos(200 * (1_000_000_000 / ticks))));
    }

    #[test]
    fn our_own_usage_is_readable() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.resident > 0 && usage.resident_max >= usage.resident / 2 && usage.files > 0);
    }
}
