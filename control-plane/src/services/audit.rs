//! The audit log for those who may read it.

use std::{sync::Arc, time::Duration};

use nla_domain::error::ErrorKind;
use nla_proto::{failure::Failure, v1};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Context, standing::Standing};
use crate::{authz::Caller, store::AuditQuery};

/// Events read at one time while tailing.
const BATCH: usize = 500;
/// Events that wait for a slow reader.
const QUEUE: usize = 64;
/// A reader that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// The service.
#[derive(Debug)]
pub(super) struct Audit(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::audit_server::Audit for Audit {
    async fn list(&self, request: Request<v1::ListAuditRequest>) -> Result<Response<v1::ListAuditResponse>, Status> {
        let request = request.into_inner();
        let filter = request.filter.unwrap_or_default();
        let page = self.0.store.audit_page(filter, request.page_size, &request.page_token).await?;
        Ok(Response::new(v1::ListAuditResponse { events: page.events, next_page_token: page.next_page_token }))
    }

    type TailStream = ReceiverStream<Result<v1::AuditEvent, Status>>;

    async fn tail(&self, request: Request<v1::TailAuditRequest>) -> Result<Response<Self::TailStream>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let head = self.0.store.audit_head();
        let (out, stream) = mpsc::channel(QUEUE);
        let tail = Tail {
            context: Arc::clone(&self.0),
            standing: Standing::of(&self.0, &caller)?,
            filter: AuditQuery::try_from(request.filter.unwrap_or_default())?,
            after: if request.after_sequence == 0 { *head.borrow() } else { request.after_sequence },
            out,
        };
        self.0.sessions.spawn(tail.run());
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// One reader who follows the log.
struct Tail {
    context: Arc<Context>,
    standing: Standing,
    filter: AuditQuery,
    after: u64,
    out: mpsc::Sender<Result<v1::AuditEvent, Status>>,
}

impl Tail {
    async fn run(mut self) {
        if let Err(failure) = self.follow().await {
            let _ = timeout(Duration::from_secs(1), self.out.send(Err(failure.into()))).await;
        }
    }

    /// Ends without an error when the reader has gone.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut head = self.context.store.audit_head();
        loop {
            loop {
                self.standing.check()?;
                let events = self.context.store.audit_after(self.after, BATCH).await?;
                let Some(last) = events.last() else { break };
                let next = last.sequence;
                for event in events.into_iter().filter(|event| self.filter.matches(event)) {
                    match timeout(SEND_TIMEOUT, self.out.send(Ok(event))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return Ok(()),
                        Err(_) => return Err(Failure::new(ErrorKind::TimedOut, "events were not read in time")),
                    }
                }
                self.after = next;
            }
            tokio::select! {
                changed = head.changed() => if changed.is_err() { return Ok(()) },
                () = self.out.closed() => return Ok(()),
                () = self.context.sync.shutdown.cancelled() => {
                    return Err(Failure::new(ErrorKind::Unavailable, "the control plane is shutting down: connect again"));
                }
            }
        }
    }
}
