//! One stream, from Hello to its end. `SyncClient` runs one after the other.
//! Invariants: the age of the state is refreshed only when the control plane
//! names exactly the revision and digest that this edge decides by, and only to
//! the moment at which the edge asked; a revision is acknowledged when what it
//! ends has been cut.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use nla_domain::{
    credential::Credential,
    id::{DatabaseName, Epoch, Revision, TokenId},
    snapshot::{ItemKey, ItemKind},
};
use nla_proto::{
    convert::{from_timestamp, item_kind, timestamp},
    failure::Failure,
    tls::client,
    v1::{self, ControlMessage, EdgeMessage, control_message, edge_message, edge_sync_client::EdgeSyncClient},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    CutCalls, SyncClient, SyncError,
    stamps::{self, Stamps},
    state::{Applied, Arriving, RefusedItem, State, StateError},
};
use crate::pipeline::TokenUse;

/// A heartbeat is due each second; after this long without any message the
/// stream is taken to be dead.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// An acknowledgement waits this long for the calls that were cut to end. They
/// get no answer in any case; their end only shows in the receipt.
const CUT_PATIENCE: Duration = Duration::from_secs(1);
/// How often use is reported.
const USAGE_EVERY: Duration = Duration::from_secs(1);
/// Tokens in one report. The control plane takes messages of 64 KiB, and this
/// many are 40 KiB with the longest addresses.
const MAX_TOKEN_USES: usize = 500;
/// Outgoing messages that may wait.
const OUTGOING: usize = 64;
/// Refused items that are reported by name; the log counts the others.
const MAX_NACKS: usize = 100;
/// Ids in one message, by the protocol.
const MAX_REVIVED: usize = 4_000;
/// Probes that run at once.
const MAX_PROBES: usize = 4;
/// Longer than any probe's own limits.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);
/// One message: the control plane cuts snapshots into much smaller chunks.
const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// Authorities are kept within this time or refused. Heartbeats go on meanwhile.
const TRUST_TIMEOUT: Duration = Duration::from_secs(20);

/// What is told of one state, once it may be.
type Answer = BoxFuture<'static, Vec<edge_message::Message>>;

pub(super) struct Session<'a> {
    client: &'a mut SyncClient,
    state: &'a mut State,
    ask_for_all: bool,
    arriving: Arriving,
    confirmed: bool,
    /// Asked to drain on this stream.
    drained: bool,
    stamps: Stamps,
    /// Acknowledgements that wait for calls to end and for the disk, in the
    /// order of revisions and one after the other: so are authorities kept.
    acks: VecDeque<Answer>,
    /// Put into quarantine on this stream.
    quarantined: bool,
    probes: JoinSet<()>,
    probe_slots: Arc<Semaphore>,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a mut SyncClient, state: &'a mut State, ask_for_all: bool) -> Self {
        Self {
            client,
            state,
            ask_for_all,
            arriving: Arriving::default(),
            confirmed: false,
            drained: false,
            stamps: Stamps::default(),
            acks: VecDeque::new(),
            quarantined: false,
            probes: JoinSet::new(),
            probe_slots: Arc::new(Semaphore::new(MAX_PROBES)),
        }
    }

    /// True when the control plane has confirmed the held state on this stream.
    pub(super) fn confirmed(&self) -> bool {
        self.confirmed
    }

    /// Runs until something ends the stream.
    pub(super) async fn run(&mut self) -> SyncError {
        match self.follow().await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, SyncError> {
        self.client.identities.mark_unchanged();
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let mut incoming = self.open(&outgoing, messages).await?;
        // The first report has gone out with the Hello.
        let mut usage = interval_at(Instant::now() + USAGE_EVERY, USAGE_EVERY);
        usage.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_message = Instant::now();
        loop {
            tokio::select! {
                // A deadline and not a duration: the other branches start this
                // one over each second.
                message = timeout_at(last_message + SILENCE, incoming.message()) => {
                    let message = message.map_err(|_| SyncError::Silent)?.map_err(failed)?.ok_or(SyncError::Ended)?;
                    last_message = Instant::now();
                    self.handle(message, &outgoing).await?;
                }
                Some(messages) = next_answer(&mut self.acks) => {
                    for message in messages {
                        send(&outgoing, message).await?;
                    }
                }
                _ = usage.tick() => self.report_usage(&outgoing),
                // The sender lives as long as the edge's identity does.
                Ok(()) = self.client.identities.changed() => return Err(SyncError::NewIdentity),
                Some(_) = self.probes.join_next() => {}
            }
        }
    }

    async fn open(
        &mut self,
        outgoing: &mpsc::Sender<EdgeMessage>,
        messages: mpsc::Receiver<EdgeMessage>,
    ) -> Result<Streaming<ControlMessage>, SyncError> {
        // A channel of its own for each stream, so that each handshake shows
        // the identity that is current by then.
        let channel = client::connect(&self.client.url, &self.client.tls).await.map_err(SyncError::Stream)?;
        let held = self.state.held().filter(|_| !self.ask_for_all);
        let hello = v1::Hello {
            epoch: held.map(|held| held.epoch.0.to_vec()).unwrap_or_default(),
            revision: held.map(|held| held.revision.0).unwrap_or_default(),
            digest: held.map(|held| held.digest.0.to_vec()).unwrap_or_default(),
            boot_id: self.client.introduction.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mcp_url: self.client.introduction.mcp_url.clone(),
        };
        send(outgoing, edge_message::Message::Hello(hello)).await?;
        // At once, so that the state is confirmed as soon as it is there.
        self.report_usage(outgoing);
        let mut rpc = EdgeSyncClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let answer = timeout(SILENCE, rpc.sync(ReceiverStream::new(messages))).await;
        Ok(answer.map_err(|_| SyncError::Silent)?.map_err(failed)?.into_inner())
    }

    async fn handle(&mut self, message: ControlMessage, out: &mpsc::Sender<EdgeMessage>) -> Result<(), SyncError> {
        use control_message::Message;

        // A message that this version does not know is no reason to stop.
        let Some(message) = message.message else { return Ok(()) };
        match message {
            Message::SnapshotChunk(chunk) => self.state.collect(&mut self.arriving, chunk)?,
            Message::SnapshotEnd(end) => {
                let applied = self.state.snapshot_end(std::mem::take(&mut self.arriving), &end)?;
                self.adopt(applied);
            }
            Message::Delta(delta) => {
                let applied = self.state.delta(delta)?;
                self.adopt(applied);
            }
            Message::Heartbeat(beat) => self.heartbeat(&beat)?,
            Message::Drain(drain) => {
                tracing::warn!(
                    reason = drain.reason,
                    "asked to drain: not ready until told otherwise; calls are answered"
                );
                self.drained = true;
                self.client.holder.set_draining(Some(drain.reason));
            }
            Message::Resume(v1::Resume {}) => {
                tracing::info!("asked to take traffic again");
                self.drained = false;
                self.client.holder.set_draining(None);
            }
            Message::Quarantine(quarantine) => self.quarantine(quarantine.reason),
            Message::Release(v1::Release {}) => {
                tracing::info!("released from quarantine");
                self.quarantined = false;
                self.client.holder.set_quarantine(None);
            }
            Message::Revoked(revoked) => return Err(SyncError::Banned(revoked.reason)),
            Message::ProbeRequest(request) => self.probe(request, out),
        }
        Ok(())
    }

    /// Does not wait for the state that follows: what this edge holds is not to
    /// be used for another moment.
    fn quarantine(&mut self, reason: String) {
        tracing::error!(
            reason,
            "put into quarantine: every call is refused, running ones are cancelled, the state is forgotten"
        );
        if !self.quarantined {
            self.quarantined = true;
            self.state.clear();
            // A part that has come already: the rest of it does not follow.
            self.arriving = Arriving::default();
        }
        self.client.holder.set_quarantine(Some(reason));
    }

    fn adopt(&mut self, applied: Applied) {
        let revision = applied.snapshot.revision;
        let ca_bundle_pem = applied.snapshot.settings.ca_bundle_pem.clone();
        self.client.holder.publish(applied.snapshot);
        // At once: what is revoked must not run on while something else is kept.
        let CutCalls { calls, ended } = (self.client.hooks.cut)();
        self.now_confirmed();
        self.ask_for_all = false;
        if !applied.refused.is_empty() {
            tracing::error!(%revision, items = applied.refused.len(), "items cannot be used and keep their last good value");
        }
        let ack = v1::Ack { revision: revision.0, digest: applied.digest.0.to_vec(), calls_cut: calls };
        let mut after = vec![edge_message::Message::Ack(ack)];
        after.extend(revived(self.state.former(), &applied.revived));
        let trust = Arc::clone(&self.client.hooks.trust);
        let patience = Instant::now() + CUT_PATIENCE;
        let mut refused = applied.refused;
        self.acks.push_back(Box::pin(async move {
            // Kept before the state is acknowledged: the control plane goes by
            // that when it lets another authority sign.
            if !ca_bundle_pem.is_empty() {
                let kept = timeout(TRUST_TIMEOUT, trust(ca_bundle_pem)).await;
                let late = || format!("the authorities were not kept within {}s", TRUST_TIMEOUT.as_secs());
                if let Err(reason) = kept.unwrap_or_else(|_| Err(late())) {
                    let key = ItemKey { kind: ItemKind::Settings, id: "".into() };
                    // First: only so many are told.
                    refused.insert(0, RefusedItem { key, reason });
                }
            }
            if timeout_at(patience, ended).await.is_err() {
                tracing::warn!(%revision, calls, "calls of ended tokens are cut and take their time to end");
            }
            let mut messages: Vec<_> = refused.into_iter().take(MAX_NACKS).map(|item| nack(revision, item)).collect();
            messages.append(&mut after);
            messages
        }));
    }

    fn heartbeat(&mut self, beat: &v1::Heartbeat) -> Result<(), SyncError> {
        let ours = self.state.held().map(|held| held.revision.0).unwrap_or_default();
        if self.ask_for_all || self.state.held().is_none() {
            // The whole state is still on its way.
            return Ok(());
        }
        if !self.state.confirms(beat.revision, &beat.digest) {
            return Err(SyncError::Diverged { theirs: beat.revision, ours });
        }
        if let Some(asked) = self.stamps.echoed(beat.echo) {
            self.client.holder.confirm(asked);
        }
        if let Some(at) = &beat.at {
            let at = from_timestamp("at", at).map_err(|_| StateError::Malformed("time"))?;
            self.client.wall.heard(at);
        }
        self.now_confirmed();
        Ok(())
    }

    fn now_confirmed(&mut self) {
        if !self.confirmed {
            self.confirmed = true;
            // One that holds comes before the state; without it, an earlier
            // stream's has ended while this edge was away.
            if !self.drained {
                self.client.holder.set_draining(None);
            }
            if !self.quarantined {
                self.client.holder.set_quarantine(None);
            }
            tracing::info!(revision = self.state.held().map(|held| held.revision.0), "following the control plane");
        }
    }

    fn report_usage(&mut self, out: &mpsc::Sender<EdgeMessage>) {
        let (calls_total, calls_running) = (self.client.hooks.usage)();
        // A full channel loses one report of many; uses of tokens wait for the
        // next one.
        let Ok(place) = out.try_reserve() else { return };
        let token_uses = (self.client.hooks.token_uses)(MAX_TOKEN_USES).into_iter().map(token_use).collect();
        let stamp = stamps::to_wire(self.client.holder.now());
        let usage = v1::Usage {
            calls_total,
            calls_running,
            audit_queue_length: self.client.audit.waiting(),
            token_uses,
            web_certificate_expires_at: (self.client.hooks.web_certificate)().map(timestamp),
            clock_lead_ms: self.client.wall.lead_millis(),
            stamp,
        };
        place.send(EdgeMessage { message: Some(edge_message::Message::Usage(usage)) });
        self.stamps.sent(stamp);
    }

    fn probe(&mut self, request: v1::ProbeRequest, out: &mpsc::Sender<EdgeMessage>) {
        let slot = Arc::clone(&self.probe_slots).try_acquire_owned();
        let probe = Arc::clone(&self.client.hooks.probe);
        let out = out.clone();
        self.probes.spawn(async move {
            let refused = |error: String| v1::ProbeResult { stage: "edge".into(), error, ..Default::default() };
            let candidate = request.candidate.map(Credential::try_from).transpose();
            let result = match (slot, request.database.parse::<DatabaseName>(), candidate) {
                (Err(_), ..) => refused(format!("this edge runs {MAX_PROBES} probes already; try again")),
                (_, Err(error), _) => refused(error.to_string()),
                (.., Err(error)) => refused(error.to_string()),
                (Ok(_slot), Ok(database), Ok(candidate)) => timeout(PROBE_TIMEOUT, probe(database, candidate))
                    .await
                    .unwrap_or_else(|_| refused(format!("no result within {}s", PROBE_TIMEOUT.as_secs()))),
            };
            let result = v1::ProbeResult { probe_id: request.probe_id, ..result };
            // When the stream is gone, so is whoever asked.
            let _ = send(&out, edge_message::Message::ProbeResult(result)).await;
        });
    }
}

/// The first of these answers when it is there. Dropped before, it loses none.
async fn next_answer(acks: &mut VecDeque<Answer>) -> Option<Vec<edge_message::Message>> {
    let messages = acks.front_mut()?.await;
    acks.pop_front();
    Some(messages)
}

fn nack(revision: Revision, item: RefusedItem) -> edge_message::Message {
    tracing::error!(%revision, item = %item.key, reason = item.reason, "refused an item");
    edge_message::Message::Nack(v1::Nack {
        revision: revision.0,
        kind: item_kind(item.key.kind).into(),
        id: item.key.id.into(),
        reason: item.reason,
    })
}

fn token_use(used: TokenUse) -> v1::TokenUse {
    v1::TokenUse {
        token_id: used.token.to_string(),
        last_used_at: Some(timestamp(used.at)),
        client_address: used.address.to_string(),
        calls: used.calls,
    }
}

fn failed(status: tonic::Status) -> SyncError {
    SyncError::Stream(Failure::from_status(&status))
}

/// What a control plane that came back from a backup is to know of revocations
/// since. Repeated with each state until it lists them as revoked.
fn revived(former: Option<Epoch>, revived: &[TokenId]) -> impl Iterator<Item = edge_message::Message> {
    let epoch = former.filter(|_| !revived.is_empty());
    if epoch.is_some() {
        tracing::warn!(
            tokens = revived.len(),
            "the control plane lists tokens as live that were revoked: they stay revoked here, and it is told"
        );
    }
    epoch.into_iter().flat_map(|epoch| {
        revived.chunks(MAX_REVIVED).map(move |ids| {
            let ids = ids.iter().map(ToString::to_string).collect();
            edge_message::Message::TombstonesHeld(v1::TombstonesHeld { epoch: epoch.0.to_vec(), ids })
        })
    })
}

async fn send(out: &mpsc::Sender<EdgeMessage>, message: edge_message::Message) -> Result<(), SyncError> {
    let message = EdgeMessage { message: Some(message) };
    match timeout(SILENCE, out.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(SyncError::Ended),
        Err(_) => Err(SyncError::Stuck),
    }
}
