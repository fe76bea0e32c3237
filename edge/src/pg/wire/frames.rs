//! Messages out of the bytes that a server sent. [`super::session`] feeds it and
//! takes whole messages.
//! Invariants: it holds at most one message beyond what was read together with
//! it, and no message longer than its kind may be; what nobody reads (notices,
//! parameters, notifications) is not held at all, however long it is.

use bytes::{Buf, BytesMut};
use postgres_protocol::message::backend as tag;

use super::WireError;

/// Room for what is not a row: a description of 1,664 columns with the longest
/// names takes 136 KB.
const LONGEST_BYTES: usize = 256 << 10;
/// An error says enough in its first part; the rest quotes a value.
const LONGEST_ERROR_BYTES: usize = 64 << 10;
/// Read at a time.
const CHUNK_BYTES: usize = 16 << 10;
/// A buffer that has grown beyond this is given back after its call.
const KEPT_BYTES: usize = 64 << 10;
/// The kind and the length, which counts itself but not the kind.
const HEADER_BYTES: usize = 5;

/// What was read and not yet taken.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    /// Bytes at the start of the buffer that the last message took.
    taken: usize,
    /// Bytes to come that nobody wants.
    skip: usize,
    /// Bytes that may yet be read.
    left: u64,
    /// The longest row.
    longest_row: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), taken: 0, skip: 0, left: 0, longest_row: LONGEST_BYTES }
    }

    /// Allows so many bytes from now on, of which one row may have so many.
    pub(super) fn allow(&mut self, bytes: u64, longest_row: usize) {
        self.left = bytes;
        self.longest_row = longest_row;
    }

    /// Forgets the message that was taken last, and the room for a large one.
    pub(super) fn release(&mut self) {
        self.buffer.advance(std::mem::take(&mut self.taken));
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
            self.buffer = BytesMut::new();
        }
    }

    /// Finds the next message that somebody may want, which [`Self::last`] then
    /// gives; false when more must be read.
    ///
    /// # Errors
    /// A length that cannot be, or that is above what was allowed.
    pub(super) fn advance(&mut self) -> Result<bool, WireError> {
        loop {
            let Some((kind, length)) = self.header()? else { return Ok(false) };
            let whole = HEADER_BYTES + length;
            let (held, skipped) = match kind {
                tag::NOTICE_RESPONSE_TAG | tag::PARAMETER_STATUS_TAG | tag::NOTIFICATION_RESPONSE_TAG => (0, whole),
                tag::ERROR_RESPONSE_TAG => {
                    let held = whole.min(LONGEST_ERROR_BYTES);
                    (held, whole - held)
                }
                tag::DATA_ROW_TAG if length > self.longest_row => return Err(WireError::TooLarge),
                tag::DATA_ROW_TAG => (whole, 0),
                _ if length > LONGEST_BYTES => return Err(WireError::Protocol),
                _ => (whole, 0),
            };
            if held == 0 {
                self.skip = skipped;
                continue;
            }
            if self.buffer.len() < held {
                return Ok(false);
            }
            self.taken = held;
            self.skip = skipped;
            return Ok(true);
        }
    }

    /// The message that was found: its kind and body.
    pub(super) fn last(&self) -> Option<(u8, &[u8])> {
        let (kind, rest) = self.buffer.get(..self.taken)?.split_first()?;
        Some((*kind, rest.get(HEADER_BYTES - 1..)?))
    }

    /// The kind of the next message, which is thrown away.
    ///
    /// # Errors
    /// A length that cannot be.
    pub(super) fn pass(&mut self) -> Result<Option<u8>, WireError> {
        let Some((kind, length)) = self.header()? else { return Ok(None) };
        self.skip = HEADER_BYTES + length;
        Ok(Some(kind))
    }

    /// Kind and length of the message at the start of the buffer.
    fn header(&mut self) -> Result<Option<(u8, usize)>, WireError> {
        self.buffer.advance(std::mem::take(&mut self.taken));
        let skipped = self.skip.min(self.buffer.len());
        self.buffer.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 {
            return Ok(None);
        }
        let header = tag::Header::parse(&self.buffer).map_err(|_| WireError::Protocol)?;
        let Some(header) = header else { return Ok(None) };
        let length = usize::try_from(header.len()).ok().and_then(|length| length.checked_sub(4));
        Ok(Some((header.tag(), length.ok_or(WireError::Protocol)?)))
    }

    /// The buffer to read into, and how much at most.
    ///
    /// # Errors
    /// [`WireError::TooLarge`] when all was read that was allowed.
    pub(super) fn room(&mut self) -> Result<(&mut BytesMut, usize), WireError> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        if room == 0 {
            return Err(WireError::TooLarge);
        }
        // Grows by doubling when a message is longer: never by what a header
        // promises.
        self.buffer.reserve(room);
        Ok((&mut self.buffer, room))
    }

    /// So much was read.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}
