//! One connection that is logged in: what was sent, what is still to be
//! answered, and what came. `execute` holds it for a call, `pool` between calls.
//! Invariants: every future here may be dropped at any point, after which the
//! session still knows how much of its messages was written and read; a session
//! that is dropped says good-bye if it is between two messages.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::{BufMut, BytesMut};
use postgres_protocol::message::{backend as tag, frontend};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{Reported, Row, WireError, encode, encode::Call, frames::Frames};
use crate::pg::socket::{Peer, Socket};

/// Room for the messages of a login, for a statement of the session's own and
/// for what an idle connection hears.
pub(super) const SMALL_TALK_BYTES: u64 = 256 << 10;
/// A row about the server itself.
const LONGEST_OWN_ROW_BYTES: usize = 64 << 10;
/// What is read of an answer that nobody wants any more. A server that sends
/// more is stopped faster by hanging up.
const SETTLE_BYTES: u64 = 1 << 20;

/// What a cancel request needs.
#[derive(Clone, Copy)]
pub(crate) struct CancelKey {
    pub(super) process_id: i32,
    pub(super) secret: i32,
}

impl fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelKey")
    }
}

impl CancelKey {
    /// The whole request.
    pub(crate) fn request(self) -> BytesMut {
        let mut out = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret, &mut out);
        out
    }
}

/// How a session ended that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The server waits for the next statement, or has hung up.
    Ended,
    /// It still sent rows.
    Talking,
}

/// A connection that is logged in.
pub(crate) struct Session {
    stream: Box<dyn Socket>,
    frames: Frames,
    output: BytesMut,
    /// Bytes of `output` that the stream has taken.
    written: usize,
    flushed: bool,
    /// Times that the server will say that it is ready.
    awaited: u32,
    peer: Peer,
    key: Option<CancelKey>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("awaited", &self.awaited).finish_non_exhaustive()
    }
}

impl Session {
    /// Before the login.
    pub(super) fn new(stream: Box<dyn Socket>, peer: Peer) -> Self {
        let mut frames = Frames::new();
        frames.allow(SMALL_TALK_BYTES, 0);
        Self { stream, frames, output: BytesMut::new(), written: 0, flushed: true, awaited: 0, peer, key: None }
    }

    /// Whom it is connected to.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What cancels its statement; some poolers give none.
    pub(crate) fn key(&self) -> Option<CancelKey> {
        self.key
    }

    pub(super) fn set_key(&mut self, key: CancelKey) {
        self.key = Some(key);
    }

    /// Allows an answer of so many bytes, of which one row may have so many.
    pub(crate) fn allow(&mut self, bytes: u64, longest_row: usize) {
        self.frames.allow(bytes, longest_row);
    }

    /// Sends a call in one piece.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(crate) async fn send(&mut self, call: Call) -> Result<(), WireError> {
        self.post(call.finish(), 1).await
    }

    /// Writes messages, after which the server says `answers` times that it is
    /// ready.
    pub(super) async fn post(&mut self, messages: BytesMut, answers: u32) -> Result<(), WireError> {
        self.output = messages;
        self.written = 0;
        self.flushed = false;
        self.awaited += answers;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]).await {
                Ok(0) | Err(_) => return Err(WireError::Closed),
                Ok(bytes) => self.written += bytes,
            }
        }
        if !self.flushed {
            self.stream.flush().await.map_err(|_| WireError::Closed)?;
            self.flushed = true;
        }
        Ok(())
    }

    /// The next message that is not a notice, a parameter or a notification.
    ///
    /// # Errors
    /// When the connection has ended, or there is more than was allowed.
    pub(crate) async fn receive(&mut self) -> Result<(u8, &[u8]), WireError> {
        while !self.frames.advance()? {
            self.read().await?;
        }
        let (kind, body) = self.frames.last().ok_or(WireError::Protocol)?;
        if kind == tag::READY_FOR_QUERY_TAG {
            self.awaited = self.awaited.saturating_sub(1);
        }
        Ok((kind, body))
    }

    async fn read(&mut self) -> Result<(), WireError> {
        let (buffer, room) = self.frames.room()?;
        let bytes = self.stream.read_buf(&mut buffer.limit(room)).await.map_err(|_| WireError::Closed)?;
        if bytes == 0 {
            return Err(WireError::Closed);
        }
        self.frames.spend(bytes);
        Ok(())
    }

    /// Runs statements of our own, which may end a transaction.
    ///
    /// # Errors
    /// When the connection has ended; what the server refuses is the inner error.
    pub(crate) async fn simple(&mut self, sql: &str) -> Result<Result<Simple, Reported>, WireError> {
        let message = encode::query(sql).map_err(|_| WireError::Protocol)?;
        self.frames.allow(SMALL_TALK_BYTES, LONGEST_OWN_ROW_BYTES);
        self.post(message, 1).await?;
        let mut simple = Simple::default();
        let mut refused = None;
        loop {
            match self.receive().await? {
                (tag::DATA_ROW_TAG, body) if simple.row.is_empty() => {
                    let text = |value: Option<&[u8]>| value.map(|value| String::from_utf8_lossy(value).into_owned());
                    simple.row = Row::read(body)?.values().map(text).collect();
                }
                (tag::ERROR_RESPONSE_TAG, body) => {
                    let reported = Reported::read(body);
                    if reported.fatal {
                        return Ok(Err(reported));
                    }
                    refused = Some(reported);
                }
                (tag::READY_FOR_QUERY_TAG, body) => {
                    simple.idle = body == b"I";
                    return Ok(refused.map_or(Ok(simple), Err));
                }
                (tag::DATA_ROW_TAG | tag::ROW_DESCRIPTION_TAG | tag::COMMAND_COMPLETE_TAG, _) => {}
                _ => return Err(WireError::Protocol),
            }
        }
    }

    /// True when the server has answered all that it was sent.
    pub(crate) fn is_answered(&self) -> bool {
        self.awaited == 0
    }

    /// Gives back what a large answer took. Call it between two calls.
    pub(crate) fn rest(&mut self) {
        self.frames.release();
        self.output = BytesMut::new();
        self.written = 0;
    }

    /// True while the server has nothing to say to a connection that asks
    /// nothing: looks once and does not wait.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        self.frames.allow(SMALL_TALK_BYTES, 0);
        poll_fn(|context| Poll::Ready(self.poll_quiet(context))).await
    }

    fn poll_quiet(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            // An error here is the farewell of a server that shuts down.
            if !matches!(self.frames.advance(), Ok(false)) {
                return false;
            }
            let Ok((buffer, room)) = self.frames.room() else { return false };
            let mut chunk = [0; 512];
            let mut read = ReadBuf::new(&mut chunk[..room.min(512)]);
            match Pin::new(&mut self.stream).poll_read(context, &mut read) {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    buffer.put_slice(read.filled());
                    let bytes = read.filled().len();
                    self.frames.spend(bytes);
                }
                Poll::Ready(_) => return false,
            }
        }
    }

    /// Reads on, and throws away, until the server waits for the next statement.
    /// May be called again where it was dropped.
    pub(crate) async fn settle(&mut self) -> Settled {
        self.frames.allow(SETTLE_BYTES, 0);
        if self.flush().await.is_err() {
            return Settled::Ended;
        }
        while self.awaited > 0 {
            match self.frames.pass() {
                Ok(Some(tag::READY_FOR_QUERY_TAG)) => self.awaited -= 1,
                Ok(Some(_)) => {}
                Ok(None) => match self.read().await {
                    Ok(()) => {}
                    Err(WireError::TooLarge) => return Settled::Talking,
                    Err(_) => return Settled::Ended,
                },
                Err(_) => return Settled::Ended,
            }
        }
        Settled::Ended
    }
}

/// What a statement of our own gave.
#[derive(Debug, Default)]
pub(crate) struct Simple {
    pub(crate) row: Vec<Option<String>>,
    /// No transaction is open.
    pub(crate) idle: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.written < self.output.len() || !self.flushed {
            return;
        }
        let mut farewell = BytesMut::new();
        frontend::terminate(&mut farewell);
        // Not waited for: the server sees the end of the connection anyway.
        let _ = Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(Waker::noop()), &farewell);
    }
}
