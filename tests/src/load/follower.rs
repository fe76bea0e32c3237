//! One edge's end of the stream: it follows, acknowledges, comes back after a
//! loss as edges do, and says when what arrived. It keeps no items, because
//! hundreds of them live in one process.

use std::time::{Duration, Instant};

use nla_edge::retry::Backoff;
use nla_proto::{
    tls::client::{self, ClientTls},
    v1::{
        self, control_message::Message as ToEdge, edge_message::Message as FromEdge, edge_sync_client::EdgeSyncClient,
    },
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_stream::wrappers::ReceiverStream;

/// How often edges report.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// A whole snapshot comes in chunks of 1 MiB.
const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// What happened on one follower's stream.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) follower: usize,
    pub(super) what: What,
    pub(super) at: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A stream is there, and on it a state that the follower may decide by.
    Follows,
    /// A token's tombstone, in a message of that many bytes.
    Tombstone { token: String, bytes: usize },
    /// The stream is lost.
    Lost,
}

/// A task that follows; dropping it ends it.
#[derive(Debug)]
pub(super) struct Follower {
    task: JoinHandle<()>,
    /// Messages to the server beside acknowledgements.
    pub(super) out: mpsc::Sender<v1::EdgeMessage>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Debug)]
struct Stream {
    number: usize,
    url: String,
    tls: ClientTls,
    arrivals: mpsc::UnboundedSender<Arrived>,
    orders: mpsc::Receiver<v1::EdgeMessage>,
    held: v1::SnapshotEnd,
    confirmed: bool,
}

impl Follower {
    /// Follows the server at `url` for ever. A server that sends no state is
    /// followed as soon as the stream is there (`stateless`).
    pub(super) fn start(
        number: usize,
        url: &str,
        tls: ClientTls,
        stateless: bool,
        arrivals: mpsc::UnboundedSender<Arrived>,
    ) -> Self {
        let (out, orders) = mpsc::channel(4);
        let held = v1::SnapshotEnd::default();
        let stream = Stream { number, url: url.to_owned(), tls, arrivals, orders, held, confirmed: false };
        Self { task: tokio::spawn(stream.run(stateless)), out }
    }
}

impl Stream {
    async fn run(mut self, stateless: bool) {
        let mut backoff = Backoff::default();
        loop {
            // Whatever ends it, an edge tries again.
            let _ = self.follow(stateless).await;
            if std::mem::take(&mut self.confirmed) {
                self.tell(What::Lost);
                backoff.reset();
            }
            backoff.wait().await;
        }
    }

    fn tell(&self, what: What) {
        // The measurement may be over.
        let _ = self.arrivals.send(Arrived { follower: self.number, what, at: Instant::now() });
    }

    async fn follow(&mut self, stateless: bool) -> anyhow::Result<()> {
        let channel = client::connect(&self.url, &self.tls).await.map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let (out, messages) = mpsc::channel(16);
        let hello = v1::Hello {
            epoch: self.held.epoch.clone(),
            revision: self.held.revision,
            digest: self.held.digest.clone(),
            boot_id: format!("load-{}", self.number),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mcp_url: String::new(),
        };
        send(&out, FromEdge::Hello(hello)).await?;
        let mut rpc = EdgeSyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let mut incoming = rpc.sync(ReceiverStream::new(messages)).await?.into_inner();
        if stateless {
            self.now_confirmed();
        }
        // As edges do; one that is silent is taken for dead.
        let mut reports = interval(REPORT_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = Instant::now();
        loop {
            tokio::select! {
                _ = reports.tick() => {
                    let stamp = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    send(&out, FromEdge::Usage(v1::Usage { stamp, ..Default::default() })).await?;
                }
                message = incoming.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    self.receive(message, &out).await?;
                }
                Some(order) = self.orders.recv() => out.send(order).await?,
            }
        }
    }

    async fn receive(
        &mut self,
        message: v1::ControlMessage,
        out: &mpsc::Sender<v1::EdgeMessage>,
    ) -> anyhow::Result<()> {
        let bytes = prost::Message::encoded_len(&message);
        let (revision, digest) = match message.message {
            Some(ToEdge::SnapshotEnd(end)) => {
                let state = (end.revision, end.digest.clone());
                self.held = end;
                state
            }
            Some(ToEdge::Delta(delta)) => {
                for item in delta.upserts.into_iter().filter(|item| item.kind == i32::from(v1::ItemKind::Tombstone)) {
                    self.tell(What::Tombstone { token: item.id, bytes });
                }
                (self.held.revision, self.held.digest) = (delta.to, delta.digest.clone());
                (delta.to, delta.digest)
            }
            _ => return Ok(()),
        };
        self.now_confirmed();
        send(out, FromEdge::Ack(v1::Ack { revision, digest, calls_cut: 0 })).await
    }

    fn now_confirmed(&mut self) {
        if !std::mem::replace(&mut self.confirmed, true) {
            self.tell(What::Follows);
        }
    }
}

async fn send(out: &mpsc::Sender<v1::EdgeMessage>, message: FromEdge) -> anyhow::Result<()> {
    Ok(out.send(v1::EdgeMessage { message: Some(message) }).await?)
}
