//! Finding batches in a segment: an index says where to look, and the headers there say what it is.

use std::io;
use std::sync::Arc;

use ottla_record::BatchHeader;
use ottla_types::{Offset, Timestamp};

use super::{Home, Segment};
use crate::error::ReadError;
use crate::index::{OffsetEntry, TimeEntry};
use crate::storage::{Storage, StorageFile};
use crate::walk::{Boundary, HeaderWalk, Placed};
use crate::window::Window;

impl<F: StorageFile> Segment<F> {
    /// The first batch whose last offset is `target` or more.
    pub(crate) fn locate<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        target: Offset,
        window: &mut Window,
    ) -> Result<Option<Placed>, ReadError> {
        let hint = self.hint(home, |e| e.offset <= target)?;
        self.search(
            home,
            hint,
            |placed| target < placed.header.base_offset,
            |placed| placed.header.last_offset() >= target,
            window,
        )
    }

    /// The last batch boundary at or before `limit` bytes into the file; `None` if that is where
    /// `start` begins, or before.
    pub(crate) fn boundary<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        start: &Placed,
        limit: u64,
        window: &mut Window,
    ) -> Result<Option<Boundary>, ReadError> {
        let hint = self.hint(home, |e| u64::from(e.position) <= limit)?;
        if hint > start.position
            && let Ok(Some(found)) = self.boundary_from(home, hint, limit, window)
            && found.next_offset >= start.header.next_offset()
        {
            return Ok(Some(found));
        }
        let found = self.boundary_from(home, start.position, limit, window)?;
        Ok(found.filter(|found| found.position > start.position))
    }

    /// Headers of the last batches, of those that begin in the last `bytes` and a few before.
    pub(crate) fn last_headers<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        bytes: u64,
    ) -> Result<Vec<BatchHeader>, ReadError> {
        let from = self.size.saturating_sub(bytes);
        let hint = self.hint(home, |e| u64::from(e.position) <= from)?;
        let mut window = Window::default();
        let mut walk = HeaderWalk::new(self.file(home)?, self.base, hint, self.size, &mut window);
        let mut headers = Vec::new();
        while let Some(placed) = walk.next()? {
            headers.push(placed.header);
        }
        Ok(headers)
    }

    fn boundary_from<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        from: u64,
        limit: u64,
        window: &mut Window,
    ) -> Result<Option<Boundary>, ReadError> {
        let mut walk = HeaderWalk::new(self.file(home)?, self.base, from, self.size, window);
        let mut before: Option<Boundary> = None;
        while let Some(placed) = walk.next()? {
            if placed.end() > limit {
                let mut found = Boundary::before(placed);
                found.next_offset = before.map_or(found.next_offset, |b| b.next_offset);
                return Ok(Some(found));
            }
            before = Some(Boundary::behind(placed));
        }
        Ok(before)
    }

    /// The batch at `position`, which is where one is thought to begin.
    pub(crate) fn batch_at<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        position: u64,
        window: &mut Window,
    ) -> Result<Option<Placed>, ReadError> {
        HeaderWalk::new(self.file(home)?, self.base, position, self.size, window).next()
    }

    /// The first batch with a timestamp of `target` or more that ends at or behind `from`.
    pub(crate) fn locate_timestamp<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        target: Timestamp,
        from: Offset,
    ) -> Result<Option<Placed>, ReadError> {
        let earlier = |e: &TimeEntry| e.timestamp <= target;
        let near = self.time_index.last_where(&*home.storage, &home.dir, earlier)?;
        let near = near.map_or(from, |entry| entry.offset.max(from));
        let hint = self.hint(home, |e| e.offset <= near)?;
        self.search(
            home,
            hint,
            |_| false,
            |placed| placed.header.max_timestamp >= target && placed.header.last_offset() >= from,
            &mut Window::default(),
        )
    }

    /// Where the index says to look: at the last of its entries for which `holds` is true.
    pub(crate) fn hint<S: Storage>(
        &mut self,
        home: &Home<S>,
        holds: impl Fn(&OffsetEntry) -> bool,
    ) -> io::Result<u64> {
        let entry = self.index.last_where(&*home.storage, &home.dir, holds)?;
        Ok(entry.map_or(0, |entry| u64::from(entry.position)).min(self.size))
    }

    // Walks from an index's hint; if the hint turns out wrong, from the first batch.
    fn search<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
        hint: u64,
        passed: impl Fn(&Placed) -> bool,
        found: impl Fn(&Placed) -> bool,
        window: &mut Window,
    ) -> Result<Option<Placed>, ReadError> {
        let file = self.file(home)?;
        let (base, size) = (self.base, self.size);
        let mut walk = HeaderWalk::new(Arc::clone(&file), base, hint, size, window);
        let mut first = true;
        loop {
            match walk.next() {
                Ok(Some(placed)) if first && hint > 0 && passed(&placed) => {}
                Ok(Some(placed)) if found(&placed) => return Ok(Some(placed)),
                Ok(Some(_)) => {
                    first = false;
                    continue;
                }
                Ok(None) | Err(ReadError::Corrupt { .. }) if first && hint > 0 => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(error),
            }
            (walk, first) = (walk.again_from(0), false);
        }
    }

    /// The last batch; headers are read from the last index entry on.
    pub(crate) fn last_batch<S: Storage<File = F>>(
        &mut self,
        home: &Home<S>,
    ) -> Result<Option<Placed>, ReadError> {
        let hint = self.index.last(&*home.storage, &home.dir)?;
        let hint = hint.map_or(0, |entry| u64::from(entry.position));
        let file = self.file(home)?;
        let walk = |from: u64| {
            let mut window = Window::default();
            let file = Arc::clone(&file);
            let mut walk = HeaderWalk::new(file, self.base, from, self.size, &mut window);
            let mut last = None;
            while let Some(placed) = walk.next()? {
                last = Some(placed);
            }
            Ok(last)
        };
        match walk(hint) {
            // Nothing at a hint means that it lies.
            Ok(None) | Err(ReadError::Corrupt { .. }) if hint > 0 => walk(0),
            other => other,
        }
    }
}
