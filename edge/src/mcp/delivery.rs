//! The body of an answer on its way out. `serve` wraps what a call has answered in it.
//!
//! Invariant: a call keeps its room until the last part of its answer was taken, so that a client that
//! asks for large answers and does not read them fills its own limit of calls and not the memory; nothing
//! more of an answer leaves once its caller has lost the right to it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// What a caller occupies while its answer leaves.
#[derive(Clone)]
pub struct Room {
    /// Freed when the last clone is dropped.
    pub held: Arc<dyn Any + Send + Sync>,
    /// Fires when the caller may get nothing more.
    pub ended: CancellationToken,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("ended", &self.ended.is_cancelled()).finish_non_exhaustive()
    }
}

/// The answer was cut because the caller's token has ended.
#[derive(Debug, thiserror::Error)]
#[error("the token was revoked or has expired while its answer was on its way")]
struct Ended;

/// Handed over at once, a whole answer would wait in the connection's own buffer, where nobody counts it.
const PART_BYTES: usize = 64 * 1024;

pub(super) struct Delivery {
    body: Body,
    /// Of the frame that is being handed over.
    rest: Bytes,
    room: Option<Room>,
    /// Wakes a client's connection that waits for more.
    ended: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Delivery {
    pub(super) fn new(body: Body, room: Option<Room>) -> Self {
        // What is answered after the end says that it has ended, and nothing else.
        let still_open = room.as_ref().filter(|room| !room.ended.is_cancelled());
        let ended = still_open.map(|room| Box::pin(room.ended.clone().cancelled_owned()));
        Self { body, rest: Bytes::new(), room, ended }
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.ended.as_mut().is_some_and(|ended| ended.as_mut().poll(context).is_ready()) {
            // The connection is closed, so that half an answer is not taken for a whole one.
            (this.body, this.rest, this.room, this.ended) = (Body::empty(), Bytes::new(), None, None);
            return Poll::Ready(Some(Err(Error::new(Ended))));
        }
        if !this.rest.has_remaining() {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) else {
                this.room = None;
                return Poll::Ready(None);
            };
            match frame?.into_data() {
                Ok(data) => this.rest = data,
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
        let part = this.rest.split_to(this.rest.len().min(PART_BYTES));
        // Not when dropped: by then the client may have sent its next call.
        if this.is_end_stream() {
            this.room = None;
        }
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        !self.rest.has_remaining() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn room() -> (Room, Arc<()>) {
        let held = Arc::new(());
        (Room { held: held.clone(), ended: CancellationToken::new() }, held)
    }

    #[tokio::test]
    async fn nothing_more_leaves_once_the_token_has_ended() {
        let (room, held) = room();
        let ended = room.ended.clone();
        let mut delivery = Delivery::new(Body::from(vec![1; PART_BYTES * 3]), Some(room));
        assert!(delivery.frame().await.unwrap().is_ok());
        ended.cancel();
        assert!(delivery.frame().await.unwrap().is_err(), "not an end: a client would take it for the whole answer");
        assert!(delivery.frame().await.is_none());
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[tokio::test]
    async fn the_answer_that_tells_of_the_end_is_whole() {
        let (room, _held) = room();
        room.ended.cancel();
        let told = Delivery::new(Body::from("the token was revoked"), Some(room)).collect().await.unwrap();
        assert_eq!(told.to_bytes(), "the token was revoked");
    }

    #[tokio::test]
    async fn an_answer_whose_next_part_is_waited_for_is_cut_too() {
        let (room, _held) = room();
        let ended = room.ended.clone();
        let silent = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
        let mut delivery = Delivery::new(Body::from_stream(silent), Some(room));
        let waiting = tokio::spawn(async move { delivery.frame().await.unwrap().is_err() });
        tokio::task::yield_now().await;
        ended.cancel();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn the_room_is_kept_until_the_last_part_is_taken() {
        let (room, held) = room();
        let answer: Vec<u8> = (0..=u8::MAX).cycle().take(PART_BYTES * 2 + 1).collect();
        let mut delivery = Delivery::new(Body::from(answer.clone()), Some(room));
        let mut taken = Vec::new();
        let mut keeps = Vec::new();
        while let Some(frame) = delivery.frame().await {
            taken.extend_from_slice(&frame.unwrap().into_data().unwrap());
            keeps.push(Arc::strong_count(&held) == 2);
            assert_eq!(delivery.size_hint().exact(), u64::try_from(answer.len() - taken.len()).ok());
        }
        assert_eq!(keeps, [true, true, false]);
        assert_eq!(taken, answer);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_frees_its_room_when_dropped() {
        let (room, held) = room();
        let delivery = Delivery::new(Body::from("answer"), Some(room));
        assert_eq!(Arc::strong_count(&held), 2);
        drop(delivery);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
