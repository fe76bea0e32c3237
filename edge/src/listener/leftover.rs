//! What a refused request still has to say. `Connection` wraps the bodies of
//! HTTP/2 requests in it. Invariant: an answer that leaves before its request
//! was read is not followed at once by a reset of the stream: RFC 9113 (8.1)
//! allows one and asks clients to keep the answer, and curl before 8 loses it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Bytes, HttpBody};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::time::timeout;

/// Bytes that are read for politeness; a client with more gets the reset.
const MAX_BYTES: usize = 64 << 10;
/// Time for them.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct ReadToEnd(Option<Incoming>);

impl ReadToEnd {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl HttpBody for ReadToEnd {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for ReadToEnd {
    fn drop(&mut self) {
        let unread = self.0.take().filter(|body| !body.is_end_stream());
        // At the runtime's end there is nobody left to read.
        if let (Some(body), Ok(runtime)) = (unread, tokio::runtime::Handle::try_current()) {
            runtime.spawn(timeout(PATIENCE, async move {
                let mut rest = Limited::new(body, MAX_BYTES);
                while let Some(Ok(_)) = rest.frame().await {}
            }));
        }
    }
}
