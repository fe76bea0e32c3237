//! The reference: a tonic server that sends each message to all streams and does
//! nothing else. It speaks the edges' protocol over TLS, so that the same
//! clients read it; it has no state, no store and no identity to check.
//! `fanout` starts it as a process of its own, like the control plane.

use std::{net::SocketAddr, path::PathBuf, pin::Pin};

use anyhow::Context as _;
use futures_util::{Stream, StreamExt as _};
use nla_proto::{
    tls::{
        Identity,
        server::{ServerTls, incoming},
    },
    v1::{
        self,
        control_message::Message as ToEdge,
        edge_message::Message as FromEdge,
        edge_sync_server::{EdgeSync, EdgeSyncServer},
    },
};
use tokio::{net::TcpListener, sync::broadcast};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// Messages that a slow client may be behind.
const QUEUE: usize = 1_024;

/// How the server is started.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where it listens
    #[arg(long)]
    listen: SocketAddr,
    /// Its chain, PEM
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM
    #[arg(long)]
    key: PathBuf,
}

#[derive(Debug)]
struct Bare {
    all: broadcast::Sender<v1::ControlMessage>,
}

/// What the control plane sends for a revoked token, to the byte.
fn delta(revision: u64, token: &str) -> v1::ControlMessage {
    let tombstone =
        v1::Tombstone { revoked_at: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 999_999_000 }) };
    let delta = v1::Delta {
        from: revision.saturating_sub(1),
        to: revision,
        upserts: vec![v1::Item {
            kind: v1::ItemKind::Tombstone.into(),
            id: token.to_owned(),
            body: prost::Message::encode_to_vec(&tombstone).into(),
        }],
        removals: vec![v1::ItemKeyMessage { kind: v1::ItemKind::Token.into(), id: token.to_owned() }],
        digest: vec![7; 32],
    };
    v1::ControlMessage { message: Some(ToEdge::Delta(delta)) }
}

#[tonic::async_trait]
impl EdgeSync for Bare {
    type SyncStream = Pin<Box<dyn Stream<Item = Result<v1::ControlMessage, Status>> + Send>>;

    async fn sync(&self, request: Request<Streaming<v1::EdgeMessage>>) -> Result<Response<Self::SyncStream>, Status> {
        let (all, mut inbound) = (self.all.clone(), request.into_inner());
        let mut messages = all.subscribe();
        tokio::spawn(async move {
            while let Some(Ok(message)) = inbound.next().await {
                // One that is refused is what there is to broadcast; anything else is read, as a server has to.
                if let Some(FromEdge::Nack(nack)) = message.message {
                    let _ = all.send(delta(nack.revision, &nack.id));
                }
            }
        });
        let outbound = async_stream(move |out| async move {
            while let Ok(message) = messages.recv().await {
                if out.send(Ok(message)).await.is_err() {
                    break;
                }
            }
        });
        Ok(Response::new(Box::pin(outbound)))
    }
}

/// A stream of what `fill` sends.
fn async_stream<T, F>(fill: impl FnOnce(tokio::sync::mpsc::Sender<T>) -> F) -> impl Stream<Item = T>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (out, stream) = tokio::sync::mpsc::channel(4);
    tokio::spawn(fill(out));
    tokio_stream::wrappers::ReceiverStream::new(stream)
}

/// Serves until it is killed.
///
/// # Errors
/// When it cannot listen or its certificate cannot be used.
pub async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let identity = Identity::load(&arguments.certificate, &arguments.key)?;
    let listener = TcpListener::bind(arguments.listen).await.context("cannot listen")?;
    let tls = ServerTls::server_only(&identity)?;
    let bare = Bare { all: broadcast::Sender::new(QUEUE) };
    Server::builder().add_service(EdgeSyncServer::new(bare)).serve_with_incoming(incoming(listener, tls)).await?;
    Ok(())
}
