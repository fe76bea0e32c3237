//! One stream to one edge: its Hello, then a delta or a whole snapshot, then
//! deltas, heartbeats and probes until one side ends it. The order on the
//! stream is the order of revisions, and nothing that an edge does or leaves
//! undone is felt by another session. No stream outlives the certificate with
//! which it was opened, nor an edge that has fallen silent.

mod following;
mod pauses;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use nla_domain::{
    clock::{Timestamp, WallClock},
    error::ErrorKind,
    id::EdgeId,
};
use nla_proto::{
    failure::Failure,
    v1::{self, control_message::Message as ToEdge, edge_message::Message as FromEdge},
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use self::following::Following;
use super::{Publisher, Registry};
use crate::{
    authz::EDGE_REPLACED,
    store::{EdgeRecord, Stored},
    uses::Uses,
};

/// An edge that opens a stream and says nothing is dropped.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Time to hand a last word to an edge that may not be reading.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct SyncContext {
    pub(crate) publisher: Publisher,
    pub(crate) registry: Arc<Registry>,
    /// Caps whole snapshots under way.
    pub(crate) snapshots: Semaphore,
    pub(crate) shutdown: CancellationToken,
    pub(crate) clock: Arc<dyn WallClock>,
    /// When tokens were last used, as edges report it.
    pub(crate) uses: Arc<Uses>,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) context: Arc<SyncContext>,
    pub(crate) edge: EdgeId,
    pub(crate) remote: SocketAddr,
    /// Serial number of the certificate that the edge has shown.
    pub(crate) serial: Vec<u8>,
    /// End of that certificate.
    pub(crate) not_after: Timestamp,
    /// Bounded: what does not fit waits here and coalesces.
    pub(crate) out: mpsc::Sender<Result<v1::ControlMessage, Status>>,
}

/// Why a session ended.
#[derive(Debug)]
enum End {
    /// The edge closed it or cannot be reached.
    Gone,
    /// The edge takes no messages.
    Slow,
    /// The edge says nothing.
    Silent,
    /// Another connection of the same edge took over.
    Replaced,
    /// The edge was banned.
    Revoked,
    /// The certificate of the connection has ended.
    Expired,
    /// It was replaced by another one.
    Superseded,
    /// The control plane stops.
    Shutdown,
    /// The edge breaks the protocol or there is no room for it.
    Refused(Failure),
}

fn protocol(message: &str) -> End {
    End::Refused(Failure::new(ErrorKind::InvalidArgument, message))
}

impl Session {
    /// Serves the stream to its end.
    pub(crate) async fn run(self, inbound: impl Stream<Item = Result<v1::EdgeMessage, Status>> + Unpin) {
        let end = self.serve(inbound).await;
        let last = match &end {
            Err(End::Gone | End::Slow | End::Silent) | Ok(()) => None,
            Err(End::Replaced) => Some(Err(Failure::new(
                ErrorKind::Conflict,
                "another connection of this edge has taken over: does a second edge use the same certificate?",
            )
            .into())),
            Err(End::Revoked) => {
                let message = ToEdge::Revoked(v1::Revoked { reason: "an operator has revoked this edge".to_owned() });
                Some(Ok(v1::ControlMessage { message: Some(message) }))
            }
            Err(End::Expired) => {
                let message = "the certificate with which this stream was opened has expired: \
                               connect again with a renewed one";
                Some(Err(Failure::new(ErrorKind::PermissionDenied, message).into()))
            }
            Err(End::Superseded) => Some(Err(Failure::new(ErrorKind::PermissionDenied, EDGE_REPLACED).into())),
            Err(End::Shutdown) => {
                let failure = Failure::new(ErrorKind::Unavailable, "the control plane is shutting down: connect again");
                Some(Err(failure.into()))
            }
            Err(End::Refused(failure)) => Some(Err(failure.clone().into())),
        };
        if let Some(last) = last {
            let _ = timeout(FAREWELL_TIMEOUT, self.out.send(last)).await;
        }
        tracing::info!(edge = %self.edge, remote = %self.remote, end = ?end.err(), "edge disconnected");
    }

    async fn serve(&self, mut inbound: impl Stream<Item = Result<v1::EdgeMessage, Status>> + Unpin) -> Result<(), End> {
        self.standing()?;
        let hello = tokio::select! {
            first = timeout(HELLO_TIMEOUT, inbound.next()) => first,
            () = self.context.shutdown.cancelled() => return Err(End::Shutdown),
        };
        let hello = match hello {
            Ok(Some(Ok(v1::EdgeMessage { message: Some(FromEdge::Hello(hello)) }))) => hello,
            Ok(Some(Ok(_))) => return Err(protocol("the first message on the stream must be Hello")),
            Ok(Some(Err(_)) | None) => return Err(End::Gone),
            Err(_) => return Err(protocol("no Hello came in time")),
        };
        let entered = self.context.registry.enter(self.edge.clone(), self.remote, &hello);
        let (member, inbox) =
            entered.map_err(|full| End::Refused(Failure::new(ErrorKind::Overloaded, full.to_string())))?;
        tracing::info!(edge = %self.edge, remote = %self.remote, boot = member.boot_id(), revision = hello.revision, "edge connected");
        let mut following = Following::new(self, member);
        following.start(&hello).await?;
        following.follow(&mut inbound, inbox).await
    }

    /// What the store knows of the edge at this moment, if it may be told anything
    /// more. The gate has asked the same when the stream began, which may be long ago.
    fn standing(&self) -> Result<Arc<Stored<EdgeRecord>>, End> {
        let unknown = || Failure::new(ErrorKind::PermissionDenied, "this edge is not enrolled: join again");
        let edge = self.context.publisher.edge(&self.edge).ok_or_else(|| End::Refused(unknown()))?;
        if edge.value.revoked.is_some() {
            return Err(End::Revoked);
        }
        if edge.value.held(&self.serial).is_none() {
            return Err(End::Superseded);
        }
        if self.not_after <= self.context.clock.now() {
            return Err(End::Expired);
        }
        Ok(edge)
    }
}
