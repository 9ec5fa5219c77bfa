//! Which system calls a running program makes: every thread of it is traced (ptrace), and each call
//! stops it for a moment. So this tells numbers and never times.
//!
//! Tracing one's own child needs no privilege and no tool, in containers too.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Calls by their name, and how often each was made.
pub type SystemCalls = BTreeMap<String, u64>;

/// Counts what the child process `pid` calls while `ask` runs `times` times, after as many to warm up.
///
/// The child must be the only one: this waits for all children.
///
/// # Errors
/// The process cannot be traced, or it ended.
pub fn system_calls(pid: u32, times: u64, mut ask: impl FnMut()) -> Result<SystemCalls> {
    let (counting, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // A thread that traces lets go when it ends.
        let tracer = scope.spawn(|| trace(pid, &counting, &done));
        (0..times).for_each(|_| ask());
        counting.store(true, Ordering::SeqCst);
        (0..times).for_each(|_| ask());
        done.store(true, Ordering::SeqCst);
        // It looks up at the next call.
        while !tracer.is_finished() {
            ask();
        }
        tracer.join().unwrap_or_else(|_| bail!("the tracer panicked"))
    })
}

fn trace(pid: u32, counting: &AtomicBool, done: &AtomicBool) -> Result<SystemCalls> {
    // Threads, and whether each is inside a call.
    let mut threads = BTreeMap::new();
    // New threads may come while the list is read; those of a traced one are traced from their start.
    while attach(pid, &mut threads)? {}
    let mut calls = SystemCalls::new();
    loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL))?;
        if done.load(Ordering::SeqCst) {
            return Ok(calls);
        }
        let (thread, signal) = match status {
            WaitStatus::PtraceSyscall(thread) => {
                let inside = threads.entry(thread).or_insert(false);
                *inside = !*inside;
                if *inside && counting.load(Ordering::SeqCst) {
                    *calls.entry(name(pid, thread)?).or_default() += 1;
                }
                (thread, None)
            }
            WaitStatus::PtraceEvent(thread, ..) => (thread, None),
            WaitStatus::Stopped(thread, signal) => (thread, Some(signal)),
            WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) => {
                threads.remove(&thread);
                if u32::try_from(thread.as_raw()) == Ok(pid) {
                    bail!("the traced process ended");
                }
                continue;
            }
            _ => continue,
        };
        match ptrace::syscall(thread, signal) {
            // It ended meanwhile; that is told by its own event.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error).context("PTRACE_SYSCALL"),
        }
    }
}

/// Attaches to the threads that are not traced yet; true if there were any.
fn attach(pid: u32, threads: &mut BTreeMap<Pid, bool>) -> Result<bool> {
    let mut more = false;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let raw = entry?.file_name().to_string_lossy().parse().context("a thread's number")?;
        let thread = Pid::from_raw(raw);
        let Entry::Vacant(place) = threads.entry(thread) else { continue };
        match ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE) {
            // Stopped once, so that the next stop is at a call.
            Ok(()) => ptrace::interrupt(thread).context("PTRACE_INTERRUPT")?,
            // Ended, or traced already because its maker is.
            Err(Errno::ESRCH | Errno::EPERM) if 0 < raw && more => {}
            Err(error) => return Err(error).context("PTRACE_SEIZE"),
        }
        place.insert(false);
        more = true;
    }
    Ok(more)
}

/// Name, or else the number, of the call that a stopped thread makes.
fn name(pid: u32, thread: Pid) -> Result<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall"))?;
    let number = line.split_whitespace().next().context("an empty line")?;
    let known =
        number.parse::<i64>().ok().and_then(|n| NAMES.iter().find(|(known, _)| *known == n));
    Ok(known.map_or_else(|| format!("call {number}"), |(_, name)| (*name).to_owned()))
}

/// Those that a server is expected to make.
const NAMES: &[(i64, &str)] = &[
    (nix::libc::SYS_read, "read"),
    (nix::libc::SYS_write, "write"),
    (nix::libc::SYS_recvfrom, "recvfrom"),
    (nix::libc::SYS_sendto, "sendto"),
    (nix::libc::SYS_sendmsg, "sendmsg"),
    (nix::libc::SYS_writev, "writev"),
    (nix::libc::SYS_sendfile, "sendfile"),
    (nix::libc::SYS_pread64, "pread64"),
    (nix::libc::SYS_pwritev, "pwritev"),
    (nix::libc::SYS_pwritev2, "pwritev2"),
    (nix::libc::SYS_preadv2, "preadv2"),
    (nix::libc::SYS_futex, "futex"),
    (nix::libc::SYS_epoll_pwait, "epoll_pwait"),
    #[cfg(target_arch = "x86_64")]
    (nix::libc::SYS_epoll_wait, "epoll_wait"),
    (nix::libc::SYS_madvise, "madvise"),
    (nix::libc::SYS_mmap, "mmap"),
    (nix::libc::SYS_munmap, "munmap"),
    (nix::libc::SYS_brk, "brk"),
];
