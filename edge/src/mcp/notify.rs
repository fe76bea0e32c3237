//! Progress and log messages of a running call, on their way to the client's event stream.
//!
//! Handlers push, `stream` takes. Invariant: pushing never waits and the queue is bounded, so that a
//! client that reads slowly never slows the call; what does not fit is dropped.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Messages kept for a client that does not read. Progress is superseded by later progress anyway.
const QUEUE_MESSAGES: usize = 64;

/// Severity of a log message (RFC 5424), least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

/// Sends notifications of one call; cheap to clone, and does nothing if the client asked for none.
#[derive(Clone, Default)]
pub struct Notifier(Option<Arc<Shared>>);

struct Shared {
    /// Raw JSON of the client's progress token.
    progress_token: Option<Box<str>>,
    level: Option<LogLevel>,
    queue: Mutex<VecDeque<Bytes>>,
    waker: AtomicWaker,
}

impl Notifier {
    /// `progress_token` is raw JSON. Without a token and a level there is nothing to send, ever.
    pub(super) fn new(progress_token: Option<Box<str>>, level: Option<LogLevel>) -> Self {
        if progress_token.is_none() && level.is_none() {
            return Self(None);
        }
        Self(Some(Arc::new(Shared { progress_token, level, queue: Mutex::default(), waker: AtomicWaker::new() })))
    }

    pub(super) fn is_silent(&self) -> bool {
        self.0.is_none()
    }

    /// Whether `progress` reaches anybody; ask before computing it at a cost.
    pub fn wants_progress(&self) -> bool {
        self.0.as_ref().is_some_and(|s| s.progress_token.is_some())
    }

    /// `progress` must grow with each message.
    pub fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        let Some(shared) = &self.0 else { return };
        let Some(token) = &shared.progress_token else {
            return;
        };
        #[derive(Serialize)]
        struct Progress<'a> {
            progress: f64,
            #[serde(skip_serializing_if = "Option::is_none")]
            total: Option<f64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
        }
        let Ok(fields) = serde_json::to_string(&Progress { progress, total, message }) else {
            return;
        };
        // `fields` is an object with at least one member: the token goes in before it.
        shared.push(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},{}}}"#,
            &fields[1..]
        ));
    }

    pub fn log(&self, level: LogLevel, logger: Option<&str>, data: &Value) {
        let Some(shared) = &self.0 else { return };
        if shared.level.is_none_or(|least| level < least) {
            return;
        }
        #[derive(Serialize)]
        struct Message<'a> {
            level: LogLevel,
            #[serde(skip_serializing_if = "Option::is_none")]
            logger: Option<&'a str>,
            data: &'a Value,
        }
        let Ok(params) = serde_json::to_string(&Message { level, logger, data }) else {
            return;
        };
        shared.push(format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{params}}}"#));
    }

    /// The next message; registers for a wake-up when there is none.
    pub(super) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Bytes> {
        let Some(shared) = &self.0 else {
            return Poll::Pending;
        };
        if let Some(message) = shared.pop() {
            return Poll::Ready(message);
        }
        shared.waker.register(context.waker());
        // A message may have come between the look and the registration.
        shared.pop().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Shared {
    fn push(&self, message: String) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < QUEUE_MESSAGES {
            queue.push_back(message.into());
            drop(queue);
            self.waker.wake();
        }
    }

    fn pop(&self) -> Option<Bytes> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("silent", &self.is_silent()).finish_non_exhaustive()
    }
}
