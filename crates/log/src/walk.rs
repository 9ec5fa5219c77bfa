//! Walks over the batches of one segment file: by their headers, or with every byte checked.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ottla_record::format::{HEADER_LEN, OVERHEAD, PREFIX_LEN};
use ottla_record::{Batch, BatchError, BatchHeader, batch_len, check_crc};
use ottla_types::Offset;

use crate::error::ReadError;
use crate::storage::{StorageFile, read_full};
use crate::window::Window;

// Checking reads everything, so few large reads are best.
const CHECK_CHUNK: usize = 256 << 10;

/// A batch in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// First byte in the file.
    pub(crate) position: u64,
    /// Its header.
    pub(crate) header: BatchHeader,
}

impl Placed {
    /// First byte after it.
    pub(crate) fn end(&self) -> u64 {
        self.position + self.header.total_len() as u64
    }
}

/// Reads one header after the other and, unless the window is for more, nothing in between.
#[derive(Debug)]
pub(crate) struct HeaderWalk<'w, F> {
    file: Arc<F>,
    segment: Offset,
    position: u64,
    end: u64,
    window: &'w mut Window,
}

impl<'w, F: StorageFile> HeaderWalk<'w, F> {
    /// Starts with the batch at `position`; batches at or after `end` are not there.
    pub(crate) fn new(
        file: Arc<F>,
        segment: Offset,
        position: u64,
        end: u64,
        window: &'w mut Window,
    ) -> Self {
        Self { file, segment, position, end, window }
    }

    /// The same walk from another batch.
    pub(crate) fn again_from(self, position: u64) -> Self {
        Self { position, ..self }
    }

    /// The next batch, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Placed>, ReadError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let corrupt =
            |source| ReadError::Corrupt { segment: self.segment, position: self.position, source };
        let bytes = self.window.header_at((self.segment, &*self.file), self.position, self.end)?;
        let header = BatchHeader::parse(bytes).map_err(corrupt)?;
        let placed = Placed { position: self.position, header };
        if placed.end() > self.end {
            let remaining = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
            let needed = header.total_len();
            return Err(corrupt(BatchError::Truncated { needed, remaining }));
        }
        self.position = placed.end();
        Ok(Some(placed))
    }
}

/// Reads the whole batch that was found.
pub(crate) fn read_batch<F: StorageFile>(
    file: &F,
    segment: Offset,
    placed: &Placed,
) -> Result<Batch, ReadError> {
    let bytes = read_range(file, placed.position, placed.header.total_len())?;
    Batch::parse_checked(bytes).map_err(|source| ReadError::Corrupt {
        segment,
        position: placed.position,
        source,
    })
}

/// Reads a range of a file; it is shorter only if the file is.
pub(crate) fn read_range<F: StorageFile>(
    file: &F,
    position: u64,
    len: usize,
) -> Result<Bytes, ReadError> {
    let mut bytes = BytesMut::zeroed(len);
    let read = read_full(file, &mut bytes, position)?;
    bytes.truncate(read);
    Ok(bytes.freeze())
}

/// A place in a file where a batch ends, and the next begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundary {
    pub(crate) position: u64,
    /// Offset to go on with.
    pub(crate) next_offset: Offset,
    /// The batch that begins there, if it was looked at.
    pub(crate) batch: Option<Placed>,
}

impl Boundary {
    /// Where `placed` ends.
    pub(crate) fn behind(placed: Placed) -> Self {
        Self { position: placed.end(), next_offset: placed.header.next_offset(), batch: None }
    }

    /// Where `placed` begins.
    pub(crate) fn before(placed: Placed) -> Self {
        let next_offset = placed.header.base_offset;
        Self { position: placed.position, next_offset, batch: Some(placed) }
    }
}

/// Reads every byte of a file and checks every batch, as recovery must.
#[derive(Debug)]
pub(crate) struct CheckedWalk<'a, F> {
    file: &'a F,
    position: u64,
    end: u64,
    next_offset: Offset,
    offset_limit: Offset,
    // The first `filled` bytes were read; `used` of them lie before `position`.
    buffer: Vec<u8>,
    filled: usize,
    used: usize,
    // Bytes of the last batch, which end there.
    batch_len: usize,
    chunk: usize,
}

impl<'a, F: StorageFile> CheckedWalk<'a, F> {
    /// Starts at the first byte of the segment whose base offset is `base`.
    pub(crate) fn new(file: &'a F, base: Offset, len: u64) -> Self {
        let offset_limit = base.plus(i32::MAX.unsigned_abs().into());
        Self {
            file,
            position: 0,
            end: len,
            next_offset: base,
            offset_limit,
            buffer: Vec::new(),
            filled: 0,
            used: 0,
            batch_len: 0,
            chunk: CHECK_CHUNK,
        }
    }

    /// The same walk, reading about so many bytes at once.
    pub(crate) fn by(self, chunk: usize) -> Self {
        Self { chunk, ..self }
    }

    /// The batch that [`CheckedWalk::next`] has found last.
    pub(crate) fn batch(&self) -> &[u8] {
        self.buffer.get(self.used - self.batch_len..self.used).unwrap_or_default()
    }

    /// Where the next batch begins, and after an error where the damage is.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Offset after the last good batch.
    pub(crate) fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// Header of the next batch, which was checked as a whole; `None` at the end; the inner error
    /// is damage at [`CheckedWalk::position`].
    pub(crate) fn next(&mut self) -> std::io::Result<Option<Result<BatchHeader, BatchError>>> {
        if self.position >= self.end {
            return Ok(None);
        }
        self.fill(PREFIX_LEN)?;
        let len = match batch_len(self.ahead()) {
            Ok(len) => len,
            Err(error) => return Ok(Some(Err(error))),
        };
        if len as u64 > self.end - self.position {
            let remaining = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
            return Ok(Some(Err(BatchError::Truncated { needed: len, remaining })));
        }
        self.fill(len)?;
        let header = match checked_header(self.ahead().get(..len).unwrap_or_default()) {
            Ok(header) => header,
            Err(error) => return Ok(Some(Err(error))),
        };
        if header.base_offset < self.next_offset || header.last_offset() > self.offset_limit {
            return Ok(Some(Err(BatchError::BaseOffset(header.base_offset.to_wire()))));
        }
        self.next_offset = header.next_offset();
        self.position += len as u64;
        self.used += len;
        self.batch_len = len;
        Ok(Some(Ok(header)))
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.used..self.filled).unwrap_or_default()
    }

    // Brings at least `len` bytes into the buffer, or all that the file has.
    fn fill(&mut self, len: usize) -> std::io::Result<()> {
        let have = self.ahead().len();
        if have >= len {
            return Ok(());
        }
        self.buffer.copy_within(self.used..self.filled, 0);
        (self.used, self.batch_len) = (0, 0);
        let from = self.position + have as u64;
        let rest = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX);
        let want = len.saturating_sub(have).max(self.chunk).min(rest);
        // It only grows: bytes that are there need no zeros first.
        if self.buffer.len() < have + want {
            self.buffer.resize(have + want, 0);
        }
        self.filled = have;
        let slot = self.buffer.get_mut(have..have + want).unwrap_or_default();
        self.filled += read_full(self.file, slot, from)?;
        Ok(())
    }
}

// The checksum comes before any field behind it is believed.
fn checked_header(batch: &[u8]) -> Result<BatchHeader, BatchError> {
    check_crc(batch)?;
    BatchHeader::parse(batch)
}

/// Looks for a whole, undamaged batch with an offset of `at_least` or more anywhere behind
/// `from`, byte by byte: if there is one, what lies before it is no torn tail.
pub(crate) fn find_batch_after<F: StorageFile>(
    file: &F,
    from: u64,
    end: u64,
    at_least: Offset,
) -> std::io::Result<Option<u64>> {
    let limit = at_least.0.saturating_add(i32::MAX.unsigned_abs().into());
    let mut start = from;
    while start < end {
        let len = usize::try_from(end - start).unwrap_or(usize::MAX).min(CHECK_CHUNK + HEADER_LEN);
        let mut window = vec![0; len];
        let read = read_full(file, &mut window, start)?;
        window.truncate(read);
        for at in 0..window.len().saturating_sub(HEADER_LEN - 1).min(CHECK_CHUNK) {
            let candidate = window.get(at..).unwrap_or_default();
            let Ok(header) = BatchHeader::parse(candidate) else { continue };
            let offset = header.base_offset.0;
            let position = start + at as u64;
            let fits = position + header.total_len() as u64 <= end;
            if !fits || offset < at_least.0 || offset > limit {
                continue;
            }
            let mut batch = vec![0; header.total_len()];
            let read = read_full(file, &mut batch, position)?;
            if read == batch.len() && checked_header(&batch).is_ok() {
                return Ok(Some(position));
            }
        }
        start += CHECK_CHUNK as u64;
    }
    Ok(None)
}

const _: () = assert!(OVERHEAD < PREFIX_LEN && PREFIX_LEN < HEADER_LEN);
