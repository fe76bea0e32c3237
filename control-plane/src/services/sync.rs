//! The stream's door: each call becomes a session of its own.

use std::sync::Arc;

use nla_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Context, first_use};
use crate::{authz::Caller, stream::Session};

/// Messages that wait for the network. Few, so that a slow edge is noticed
/// and its deltas coalesce.
const QUEUE: usize = 4;

/// The service.
#[derive(Debug)]
pub(super) struct Sync(pub(super) Arc<Context>);

#[tonic::async_trait]
impl v1::edge_sync_server::EdgeSync for Sync {
    type SyncStream = ReceiverStream<Result<v1::ControlMessage, Status>>;

    async fn sync(&self, request: Request<Streaming<v1::EdgeMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let caller = Caller::of(&request)?;
        let edge = caller.streaming_edge()?.clone();
        first_use::settle(&self.0.store, &caller).await;
        let (out, stream) = mpsc::channel(QUEUE);
        let session = Session {
            context: Arc::clone(&self.0.sync),
            edge,
            remote: caller.remote(),
            serial: caller.serial().to_owned(),
            not_after: caller.not_after(),
            out,
        };
        self.0.sessions.spawn(session.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
