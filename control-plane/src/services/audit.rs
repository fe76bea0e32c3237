//! The audit log for those who may read it.

use std::{sync::Arc, time::Duration};

use nla_domain::{error::ErrorKind, id::OperatorName};
use nla_proto::{failure::Failure, v1};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Context;
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
        let (reader, _) = caller.operator()?;
        let request = request.into_inner();
        let head = self.0.store.audit_head();
        let (out, stream) = mpsc::channel(QUEUE);
        let tail = Tail {
            context: Arc::clone(&self.0),
            reader: reader.clone(),
            serial: caller.serial().to_owned(),
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
    reader: OperatorName,
    serial: Vec<u8>,
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
                self.still_allowed()?;
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

    /// A stream may be older than its reader's dismissal, or than the end of
    /// the certificate that it was opened with.
    fn still_allowed(&self) -> Result<(), Failure> {
        let state = self.context.store.state();
        match state.operators.get(&self.reader) {
            Some(operator) if operator.value.revoked.is_none() => {
                let refuse = |message| Err(Failure::new(ErrorKind::PermissionDenied, message));
                match operator.value.held(&self.serial) {
                    None => refuse("this operator's certificate was replaced by another one"),
                    Some(held) if held.not_after <= self.context.clock.now() => {
                        refuse("this operator's certificate has expired")
                    }
                    Some(_) => Ok(()),
                }
            }
            _ => Err(Failure::new(ErrorKind::PermissionDenied, "this operator was revoked")),
        }
    }
}
