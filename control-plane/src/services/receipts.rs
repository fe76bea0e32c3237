//! Receipts: what each edge has made of a revision.

use std::{sync::Arc, time::Duration};

use nla_domain::{error::ErrorKind, id::Revision, token::Staleness};
use nla_proto::{convert, failure::Failure, v1};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Context, tokens::bounded};

/// Longer than any call may take that people wait for; automation asks again.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);

/// The service.
#[derive(Debug)]
pub(super) struct Receipts(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::receipts_server::Receipts for Receipts {
    async fn get(&self, request: Request<v1::GetReceiptRequest>) -> Result<Response<v1::Receipt>, Status> {
        let request = request.into_inner();
        let class = match v1::Staleness::try_from(request.staleness) {
            Ok(v1::Staleness::Unspecified) => Staleness::Standard,
            _ => convert::from_staleness("staleness", request.staleness).map_err(Failure::from)?,
        };
        let wait = bounded("wait", request.wait.as_ref(), Duration::ZERO, Duration::ZERO, MAX_WAIT)?;
        let newest = self.0.store.state().revision;
        if request.revision == 0 || request.revision > newest.0 {
            let message =
                format!("revisions are 1 to {newest}, the newest one: take the one that a change has answered");
            return Err(Failure::new(ErrorKind::InvalidArgument, message).with_field("revision").into());
        }
        let deadline = Instant::now() + wait;
        Ok(Response::new(self.0.sync.receipt(Revision(request.revision), class, deadline).await))
    }
}
