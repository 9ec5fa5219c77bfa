//! Calls that fail: which one, how often and with what; and where in the sources they were made.

use std::collections::BTreeMap;
use std::io;
use std::panic::Location;
use std::path::Path;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Operation {
    /// [`Storage::open`](super::Storage::open).
    Open,
    /// [`Storage::create`](super::Storage::create).
    Create,
    /// [`Storage::create_dir`](super::Storage::create_dir).
    CreateDir,
    /// [`Storage::list`](super::Storage::list).
    List,
    /// [`Storage::rename`](super::Storage::rename).
    Rename,
    /// [`Storage::remove_file`](super::Storage::remove_file).
    RemoveFile,
    /// [`Storage::remove_dir_all`](super::Storage::remove_dir_all).
    RemoveDir,
    /// [`Storage::sync_dir`](super::Storage::sync_dir).
    SyncDir,
    /// [`Storage::lock`](super::Storage::lock).
    Lock,
    /// [`StorageFile::read_at`](super::StorageFile::read_at).
    Read,
    /// [`StorageFile::write_at`](super::StorageFile::write_at).
    Write,
    /// [`StorageFile::set_len`](super::StorageFile::set_len).
    SetLen,
    /// [`StorageFile::len`](super::StorageFile::len).
    Len,
    /// [`StorageFile::sync`](super::StorageFile::sync).
    Sync,
}

/// A call that fails.
///
/// ```
/// use ottla_log::storage::{Fault, Operation, SimStorage};
///
/// let disk = SimStorage::new();
/// // The third write to a segment takes 7 bytes and finds the disk full, and so does every later one.
/// let fault = Fault::on(Operation::Write).path_ending(".log").nth(3);
/// disk.inject(fault.from_then_on().full().after_bytes(7));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a fault is injected into a disk"]
pub struct Fault {
    operation: Option<Operation>,
    ending: Option<String>,
    before: usize,
    forever: bool,
    full: bool,
    pub(super) bytes: usize,
}

impl Fault {
    /// The next call of this kind fails, once, with an error of the device (`EIO`).
    pub fn on(operation: Operation) -> Self {
        Self { operation: Some(operation), ..Self::any() }
    }

    /// As [`Fault::on`], for the next call of any kind.
    pub fn any() -> Self {
        Self { operation: None, ending: None, before: 0, forever: false, full: false, bytes: 0 }
    }

    /// Not the next call but the `number`-th from now; 1 is the next.
    pub fn nth(self, number: usize) -> Self {
        Self { before: number.saturating_sub(1), ..self }
    }

    /// Only calls for files whose path ends so.
    pub fn path_ending(self, ending: &str) -> Self {
        Self { ending: Some(ending.to_owned()), ..self }
    }

    /// Every later call fails as well.
    pub fn from_then_on(self) -> Self {
        Self { forever: true, ..self }
    }

    /// The disk is full (`ENOSPC`) instead.
    pub fn full(self) -> Self {
        Self { full: true, ..self }
    }

    /// A write that fails has written so many of its bytes.
    pub fn after_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    fn error(&self) -> io::Error {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        io::Error::from_raw_os_error(if self.full { ENOSPC } else { EIO })
    }
}

/// A place in the sources that called the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// Source file, as the compiler was told it.
    pub file: &'static str,
    /// Line in it, from 1.
    pub line: u32,
    /// What was called.
    pub operation: Operation,
}

/// What is to fail, and what has happened.
#[derive(Debug, Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    sites: Option<BTreeMap<Site, bool>>,
    pub(super) syncs: usize,
    pub(super) steps: usize,
    pub(super) power_lost_at_sync: Option<usize>,
    pub(super) power_lost_at_step: Option<usize>,
    pub(super) dead: bool,
}

/// How a call ends that fails.
pub(super) struct Failure {
    pub(super) error: io::Error,
    pub(super) bytes: usize,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
    }

    pub(super) fn record_sites(&mut self) {
        self.sites.get_or_insert_default();
    }

    /// The places that called, and whether a call of theirs was made to fail.
    pub(super) fn sites(&self) -> BTreeMap<Site, bool> {
        self.sites.clone().unwrap_or_default()
    }

    /// Whether a call may go on; the inner error is a planned one.
    #[track_caller]
    pub(super) fn enter(
        &mut self,
        operation: Operation,
        path: &Path,
    ) -> io::Result<Result<(), Failure>> {
        if self.dead {
            return Err(no_power());
        }
        let failure = self.due(operation, path);
        if let Some(sites) = &mut self.sites {
            let caller = Location::caller();
            let site = Site { file: caller.file(), line: caller.line(), operation };
            *sites.entry(site).or_default() |= failure.is_some();
        }
        Ok(failure.map_or(Ok(()), Err))
    }

    fn due(&mut self, operation: Operation, path: &Path) -> Option<Failure> {
        let mut failed = None;
        self.planned.retain_mut(|fault| {
            let meant = fault.operation.is_none_or(|wanted| wanted == operation)
                && fault.ending.as_ref().is_none_or(|end| path.to_string_lossy().ends_with(end));
            if meant && fault.before > 0 {
                fault.before -= 1;
            } else if meant {
                let failure = || Failure { error: fault.error(), bytes: fault.bytes };
                failed.get_or_insert_with(failure);
                return fault.forever;
            }
            true
        });
        failed
    }

    /// Counts a call that changes the disk; an error means that power goes while it is made.
    pub(super) fn step(&mut self, operation: Operation) -> io::Result<()> {
        let is_sync = matches!(operation, Operation::Sync | Operation::SyncDir);
        self.steps += 1;
        self.syncs += usize::from(is_sync);
        if self.power_lost_at_step == Some(self.steps)
            || (is_sync && self.power_lost_at_sync == Some(self.syncs))
        {
            self.dead = true;
            return Err(no_power());
        }
        Ok(())
    }
}

fn no_power() -> io::Error {
    io::Error::other("no power")
}
