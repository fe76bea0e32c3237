//! A call in progress: its deadline, its cancellation, and the panic that must not hang a client.
//!
//! Made by `serve`; polled by it or by the event stream. Invariant: a call that is no longer wanted is
//! told so and gets a bounded time to clean up (cancel its query, record the outcome) before it is dropped.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::error::RpcError;

/// Limits under which a call runs.
#[derive(Clone, Debug)]
pub(super) struct Supervision {
    pub(super) request_id: Uuid,
    pub(super) cancel: CancellationToken,
    pub(super) deadline: Instant,
    pub(super) grace: Duration,
    /// Calls whose client has gone finish here; shutdown waits for them.
    pub(super) tasks: TaskTracker,
    /// Before 2026-07-28 a lost connection does not mean that the call is unwanted.
    pub(super) outlives_client: bool,
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, RpcError>> + Send>>;

/// The future of a call. Dropping it before the end means that the client has gone.
pub(super) struct Running<T: Send + 'static> {
    work: Option<Work<T>>,
    supervision: Supervision,
}

impl<T: Send + 'static> Running<T> {
    pub(super) fn new(work: impl Future<Output = T> + Send + 'static, supervision: Supervision) -> Self {
        Self { work: Some(Box::pin(supervised(work, supervision.clone()))), supervision }
    }
}

impl<T: Send + 'static> Future for Running<T> {
    type Output = Result<T, RpcError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            // Polled after its end, which no caller does.
            return Poll::Pending;
        };
        let end = ready!(work.as_mut().poll(context));
        self.work = None;
        Poll::Ready(end)
    }
}

impl<T: Send + 'static> Drop for Running<T> {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let supervision = &self.supervision;
        if supervision.outlives_client {
            supervision.tasks.spawn_on(work, &runtime);
        } else {
            tracing::debug!(request_id = %supervision.request_id, "client has gone, cancelling its call");
            supervision.cancel.cancel();
            let rest = timeout(supervision.grace, work);
            supervision.tasks.spawn_on(rest, &runtime);
        }
    }
}

async fn supervised<T>(work: impl Future<Output = T>, supervision: Supervision) -> Result<T, RpcError> {
    let Supervision { request_id, cancel, deadline, grace, .. } = supervision;
    let mut work = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
    let end = match timeout_at(deadline, work.as_mut()).await {
        Ok(end) => end,
        Err(_) => {
            cancel.cancel();
            match timeout(grace, work).await {
                Ok(end) => end,
                Err(_) => {
                    tracing::warn!(%request_id, "call dropped: it did not end at its deadline");
                    return Err(RpcError::deadline(request_id));
                }
            }
        }
    };
    // The panic hook has printed what and where; the payload may hold a caller's data.
    end.map_err(|_payload| {
        tracing::error!(%request_id, "handler panicked");
        RpcError::internal(request_id)
    })
}
