//! The body of an answer on its way out. `serve` wraps what a call has answered in it.
//!
//! Invariant: a call keeps its room until the last part of its answer was taken, so that a client that
//! asks for large answers and does not read them fills its own limit of calls and not the memory.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Error;
use axum::body::Body;
use bytes::{Buf, Bytes};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

/// What a caller occupies of its limits; freed when the last clone is dropped.
pub type Room = Arc<dyn Any + Send + Sync>;

/// Handed over at once, a whole answer would wait in the connection's own buffer, where nobody counts it.
const PART_BYTES: usize = 64 * 1024;

pub(super) struct Delivery {
    body: Body,
    /// Of the frame that is being handed over.
    rest: Bytes,
    room: Option<Room>,
}

impl Delivery {
    pub(super) fn new(body: Body, room: Option<Room>) -> Self {
        Self { body, rest: Bytes::new(), room }
    }
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
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

    #[tokio::test]
    async fn the_room_is_kept_until_the_last_part_is_taken() {
        let room: Room = Arc::new(());
        let answer: Vec<u8> = (0..=u8::MAX).cycle().take(PART_BYTES * 2 + 1).collect();
        let mut delivery = Delivery::new(Body::from(answer.clone()), Some(Arc::clone(&room)));
        let mut taken = Vec::new();
        let mut held = Vec::new();
        while let Some(frame) = delivery.frame().await {
            taken.extend_from_slice(&frame.unwrap().into_data().unwrap());
            held.push(Arc::strong_count(&room) == 2);
            assert_eq!(delivery.size_hint().exact(), u64::try_from(answer.len() - taken.len()).ok());
        }
        assert_eq!(held, [true, true, false]);
        assert_eq!(taken, answer);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_frees_its_room_when_dropped() {
        let room: Room = Arc::new(());
        let delivery = Delivery::new(Body::from("answer"), Some(Arc::clone(&room)));
        assert_eq!(Arc::strong_count(&room), 2);
        drop(delivery);
        assert_eq!(Arc::strong_count(&room), 1);
    }
}
