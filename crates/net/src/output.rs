//! Output of one connection: answers queued as parts, written with as few system calls as fit.
//!
//! Bytes go out by vectored writes. In front of a file range they are sent with MSG_MORE, so that
//! a Fetch answer's header and its first records share a packet; the range itself is sent by the
//! kernel without passing through this process, where the platform can.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use ottla_codec::{FileRange, Part, Parts};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Parts that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Output {
    queue: VecDeque<Item>,
}

#[derive(Debug)]
enum Item {
    Size { prefix: [u8; 4], sent: usize },
    Bytes(Bytes),
    File(FileRange),
}

impl Output {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Queues one frame: its size, then its parts. An answer that no size can name is an error.
    pub(crate) fn push_frame(&mut self, parts: Parts) -> io::Result<()> {
        let len: usize = parts.iter().map(Part::len).sum();
        let size = i32::try_from(len)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "answer above 2 GiB"))?;
        self.queue.push_back(Item::Size { prefix: size.to_be_bytes(), sent: 0 });
        self.queue.extend(parts.into_iter().filter(|part| !part.is_empty()).map(
            |part| match part {
                Part::Bytes(bytes) => Item::Bytes(bytes),
                Part::File(range) => Item::File(range),
            },
        ));
        Ok(())
    }

    /// Writes until the queue is empty (`Ready`) or the socket is full (`Pending`). Adds what was
    /// written to `written`.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &TcpStream,
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_io(Interest::WRITABLE, || self.write_once(stream)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => {
                    *written += sent;
                    self.advance(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn write_once(&self, stream: &TcpStream) -> io::Result<usize> {
        if let Some(Item::File(range)) = self.queue.front() {
            return send_file(stream, range);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut used = 0;
        let mut more = false;
        for (slot, item) in slices.iter_mut().zip(&self.queue) {
            *slot = match item {
                Item::Size { prefix, sent } => IoSlice::new(prefix.get(*sent..).unwrap_or(&[])),
                Item::Bytes(bytes) => IoSlice::new(bytes),
                Item::File(_) => {
                    more = true;
                    break;
                }
            };
            used += 1;
        }
        let slices = slices.get(..used).unwrap_or(&[]);
        SockRef::from(stream).send_vectored_with_flags(slices, send_flags(more))
    }

    fn advance(&mut self, mut sent: usize) {
        while let Some(item) = self.queue.front_mut() {
            let left = match item {
                Item::Size { prefix, sent } => prefix.len() - *sent,
                Item::Bytes(bytes) => bytes.len(),
                Item::File(range) => range.len,
            };
            if left <= sent {
                sent -= left;
                self.queue.pop_front();
                continue;
            }
            match item {
                Item::Size { sent: done, .. } => *done += sent,
                Item::Bytes(bytes) => bytes.advance(sent),
                Item::File(range) => {
                    range.position += sent as u64;
                    range.len -= sent;
                }
            }
            return;
        }
        assert!(sent == 0, "more bytes written than were queued");
    }
}

/// Sends from a file without passing through this process, where the platform can.
fn send_file(stream: &TcpStream, range: &FileRange) -> io::Result<usize> {
    match ottla_sys::sendfile(stream, &range.file, range.position, range.len.min(FILE_STEP))? {
        0 if range.len > 0 => Err(truncated()),
        sent => Ok(sent),
    }
}

/// The file is shorter than the promised range: the frame's size is already sent, so the
/// connection cannot go on.
fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "file ended before the promised range")
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn send_flags(more: bool) -> i32 {
    const MSG_NOSIGNAL: i32 = 0x4000;
    const MSG_MORE: i32 = 0x8000;
    if more { MSG_NOSIGNAL | MSG_MORE } else { MSG_NOSIGNAL }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn send_flags(_more: bool) -> i32 {
    0
}

/// Slices of one vectored write.
const SLICES_MAX: usize = 64;
/// Bytes of a file that one call sends, so that one answer does not hold its thread for long.
const FILE_STEP: usize = 1 << 20;
