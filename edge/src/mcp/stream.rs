//! The event-stream form of an answer: notifications while the call runs, then its response.
//!
//! Made by `serve` when a call notifies before it ends. Invariant: the stream carries only messages of
//! its own request, has no event ids (nothing can be resumed), and always ends with one response.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

use super::encode::{self, Reply};
use super::error::RpcError;
use super::message::Id;
use super::notify::Notifier;
use super::running::Running;
use super::version::Version;

const EVENT: Bytes = Bytes::from_static(b"event: message\ndata: ");
const NEXT_LINE: Bytes = Bytes::from_static(b"\ndata: ");
const END: Bytes = Bytes::from_static(b"\n\n");
/// A comment: proxies see traffic, clients ignore it.
const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// How a call that may speak begins.
#[derive(Debug)]
pub(super) enum Start {
    /// It ended without a notification: a plain JSON answer will do.
    Silent(Result<Reply, RpcError>),
    Speaks,
}

/// The body of a `text/event-stream` answer.
pub(super) struct EventStream {
    /// `None` once the response is queued.
    running: Option<Running<Reply>>,
    notifier: Notifier,
    id: Id,
    version: Version,
    frames: VecDeque<Bytes>,
    keep_alive: Pin<Box<Sleep>>,
    keep_alive_period: Duration,
}

impl EventStream {
    pub(super) fn new(
        running: Running<Reply>,
        notifier: Notifier,
        id: Id,
        version: Version,
        keep_alive_period: Duration,
    ) -> Self {
        Self {
            running: Some(running),
            notifier,
            id,
            version,
            frames: VecDeque::new(),
            keep_alive: Box::pin(sleep(keep_alive_period)),
            keep_alive_period,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Ends when the call has said something, or has ended without a word.
    pub(super) fn poll_start(&mut self, context: &mut Context<'_>) -> Poll<Start> {
        match self.poll_call(context) {
            Some(end) if self.frames.is_empty() => Poll::Ready(Start::Silent(end)),
            Some(end) => {
                self.push_end(end);
                Poll::Ready(Start::Speaks)
            }
            None if self.frames.is_empty() => Poll::Pending,
            None => Poll::Ready(Start::Speaks),
        }
    }

    /// Queues what the call has said; yields its end once.
    fn poll_call(&mut self, context: &mut Context<'_>) -> Option<Result<Reply, RpcError>> {
        let running = self.running.as_mut()?;
        let end = Pin::new(running).poll(context);
        // After the poll, so that what the call said before it ended goes out before its end.
        while let Poll::Ready(message) = self.notifier.poll_next(context) {
            self.push(message);
        }
        match end {
            Poll::Ready(end) => {
                self.running = None;
                Some(end)
            }
            Poll::Pending => None,
        }
    }

    fn push(&mut self, mut message: Bytes) {
        self.frames.push_back(EVENT);
        // JSON may hold line breaks between its tokens, where `data:` lines may break as well.
        while let Some(at) = message.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.frames.push_back(message.split_to(at));
            self.frames.push_back(NEXT_LINE);
            let _line_break = message.split_to(1);
        }
        self.frames.push_back(message);
        self.frames.push_back(END);
    }

    fn push_end(&mut self, end: Result<Reply, RpcError>) {
        let reply = end.unwrap_or_else(|error| encode::error(Some(&self.id), self.version, &error));
        self.push(reply.json.into());
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.frames.is_empty() {
            if let Some(end) = this.poll_call(context) {
                this.push_end(end);
            } else if this.running.is_some()
                && this.frames.is_empty()
                && this.keep_alive.as_mut().poll(context).is_ready()
            {
                this.frames.push_back(KEEP_ALIVE);
            }
            if !this.frames.is_empty() {
                let next = Instant::now() + this.keep_alive_period;
                this.keep_alive.as_mut().reset(next);
            }
        }
        match this.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(frame)))),
            None if this.running.is_none() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.running.is_none() && self.frames.is_empty()
    }
}

impl std::fmt::Debug for EventStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventStream").field("id", &self.id).finish_non_exhaustive()
    }
}
