//! One stream to one edge: its Hello, then a delta or a whole snapshot, then
//! deltas, heartbeats and probes until one side ends it. The order on the
//! stream is the order of revisions, and nothing that an edge does or leaves
//! undone is felt by another session. No stream outlives the certificate with
//! which it was opened, nor an edge that has fallen silent.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use nla_domain::{
    clock::{Timestamp, WallClock},
    error::ErrorKind,
    id::{EdgeId, Revision},
    snapshot::Digest,
};
use nla_proto::{
    convert,
    failure::Failure,
    v1::{self, control_message::Message as ToEdge, edge_message::Message as FromEdge},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Published, Publisher, Registry,
    bucket::Bucket,
    registry::{Connected, Membership},
};
use crate::{authz::EDGE_REPLACED, store::Pause, uses::Uses};

/// Bookmark and sign of life; an edge's staleness bounds are multiples of it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// An edge that opens a stream and says nothing is dropped.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// An edge that takes nothing for so long is gone; it resumes when it is back.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// An edge reports each second. One that says nothing for so long is gone, even
/// if nobody has closed the connection.
const SILENCE: Duration = Duration::from_secs(9);
/// Time to hand a last word to an edge that may not be reading.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// Whole snapshots that one stream may ask for by wrong digests. An edge that
/// still differs then computes digests in another way.
const MAX_RESYNCS: u32 = 3;

/// An edge answers each revision, of which there are hundreds a second at most,
/// and refuses up to a hundred items of one. More is no edge of ours.
const MESSAGES_PER_SECOND: u32 = 1_000;
const MESSAGES_AT_ONCE: u32 = 5_000;
/// Refusals in the log, until a second has passed for each further one.
const TOLD_AT_ONCE: u32 = 100;

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
        self.check_standing()?;
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
        let published = self.context.publisher.subscribe();
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut following = Following {
            session: self,
            member,
            published,
            held: None,
            stamp: None,
            tombstones_ignored: false,
            confirmed: false,
            before: None,
            messages: Bucket::new(MESSAGES_PER_SECOND, MESSAGES_AT_ONCE),
            told_refusals: Bucket::new(1, TOLD_AT_ONCE),
            resyncs: 0,
            draining: None,
            quarantine: None,
            release_due: false,
        };
        following.start(&hello).await?;
        following.follow(&mut inbound, inbox, &mut ticks).await
    }

    /// Whether the edge may be told anything more. The gate has asked the same
    /// when the stream began, which may be long ago.
    fn check_standing(&self) -> Result<(), End> {
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
        Ok(())
    }
}

/// A session after its Hello.
struct Following<'a> {
    session: &'a Session,
    member: Membership,
    published: watch::Receiver<Arc<Published>>,
    /// What the edge holds once it has read all that was sent.
    held: Option<Arc<Published>>,
    /// The newest stamp that came on this stream, and when.
    stamp: Option<(u64, Instant)>,
    /// Whether the log names already that it was not believed.
    tombstones_ignored: bool,
    /// Whether an echo was sent since the edge last got everything.
    confirmed: bool,
    /// What it held until quarantine began or ended: it may still acknowledge it.
    before: Option<Digest>,
    /// Messages that it may still send.
    messages: Bucket,
    /// Of its refusals, those that are still told in the log.
    told_refusals: Bucket,
    resyncs: u32,
    /// What the edge was last told: why it is to drain, if it is.
    draining: Option<String>,
    /// The same of quarantine.
    quarantine: Option<String>,
    /// Quarantine has ended, and the edge is to hear of it after the state.
    release_due: bool,
}

impl Following<'_> {
    /// Answers the Hello. An edge of another epoch, of an unknown revision or
    /// with other content gets everything.
    async fn start(&mut self, hello: &v1::Hello) -> Result<(), End> {
        let session = self.session;
        let current = tokio::select! {
            current = session.context.publisher.newest(&mut self.published) => current.ok_or(End::Shutdown)?,
            () = session.context.shutdown.cancelled() => return Err(End::Shutdown),
        };
        // Before the state: an edge that has just started must not be ready for
        // the moment in between.
        self.tell_pauses().await?;
        if self.quarantine.is_some() {
            return self.send_snapshot(current).await;
        }
        let same_life = hello.epoch == current.epoch.0 && hello.revision > 0;
        if same_life && hello.revision <= current.revision.0 {
            let held = Revision(hello.revision);
            let digest = Digest::from_slice(&hello.digest);
            if let Some(delta) = self.session.context.publisher.resume(&current, held, digest) {
                return self.send_delta(delta, current).await;
            }
        } else if same_life {
            tracing::warn!(
                edge = %self.member.id, edge_revision = hello.revision, revision = %current.revision,
                "the edge has seen a later revision than this store holds: was an old copy of the data folder put back?"
            );
        }
        self.send_snapshot(current).await
    }

    async fn follow(
        &mut self,
        inbound: &mut (impl Stream<Item = Result<v1::EdgeMessage, Status>> + Unpin),
        mut inbox: mpsc::Receiver<v1::ControlMessage>,
        ticks: &mut Interval,
    ) -> Result<(), End> {
        let mut heard = Instant::now();
        loop {
            self.confirm_once().await?;
            tokio::select! {
                () = self.session.context.shutdown.cancelled() => return Err(End::Shutdown),
                () = self.member.replaced() => return Err(End::Replaced),
                () = self.session.out.closed() => return Err(End::Gone),
                () = sleep_until(heard + SILENCE) => {
                    // Nothing is read while something is being sent.
                    match inbound.next().now_or_never() {
                        Some(Some(Ok(message))) => {
                            heard = Instant::now();
                            self.receive(message).await?;
                        }
                        Some(_) => return Err(End::Gone),
                        None => return Err(End::Silent),
                    }
                }
                changed = self.published.changed() => {
                    changed.map_err(|_| End::Shutdown)?;
                    self.catch_up().await?;
                }
                _ = ticks.tick() => self.heartbeat().await?,
                Some(command) = inbox.recv() => self.send(command).await?,
                message = inbound.next() => match message {
                    Some(Ok(message)) => {
                        heard = Instant::now();
                        self.receive(message).await?;
                    }
                    Some(Err(_)) | None => return Err(End::Gone),
                },
            }
        }
    }

    /// An edge that has just got its state serves once it is confirmed: that
    /// does not wait for the next tick.
    async fn confirm_once(&mut self) -> Result<(), End> {
        if !self.confirmed && self.held.is_some() && self.stamp.is_some() {
            self.heartbeat().await?;
        }
        Ok(())
    }

    /// Brings the edge from what it holds to the newest state, however many
    /// revisions lie in between.
    async fn catch_up(&mut self) -> Result<(), End> {
        self.tell_pauses().await?;
        let current = Arc::clone(&self.published.borrow_and_update());
        let Some(held) = self.held.clone() else { return self.send_snapshot(current).await };
        if held.revision == current.revision {
            return Ok(());
        }
        let next = self.of_kind(&current);
        match self.session.context.publisher.step(&next, held.revision, Some(&held)) {
            Some(delta) if held.epoch == current.epoch => self.send_delta(delta, next).await,
            _ => self.send_snapshot(current).await,
        }
    }

    /// The state as this edge may have it.
    fn of_kind(&self, state: &Arc<Published>) -> Arc<Published> {
        if self.quarantine.is_some() { state.bare() } else { Arc::clone(state) }
    }

    /// Tells the edge of quarantine and drain when it was told otherwise before.
    /// The end of quarantine it hears after the whole state, so that no call
    /// meets the bare one.
    async fn tell_pauses(&mut self) -> Result<(), End> {
        self.session.check_standing()?;
        let edge = self.session.context.publisher.edge(&self.member.id);
        let reason = |pause: Option<&Pause>| pause.map(|pause| pause.reason.clone());
        let quarantine = reason(edge.as_ref().and_then(|edge| edge.value.quarantine.as_ref()));
        let draining = reason(edge.as_ref().and_then(|edge| edge.value.draining.as_ref()));
        if quarantine.is_some() != self.quarantine.is_some() {
            self.before = self.held.take().map(|held| held.digest);
            self.release_due = quarantine.is_none();
        }
        if quarantine != self.quarantine {
            self.quarantine.clone_from(&quarantine);
            if let Some(reason) = quarantine {
                self.send_message(ToEdge::Quarantine(v1::Quarantine { reason })).await?;
            }
        }
        self.tell_drain(draining).await
    }

    /// Whether the edge is in quarantine and was not told so.
    fn quarantine_begun(&self) -> bool {
        let begun = |edge: &EdgeId| {
            let edge = self.session.context.publisher.edge(edge);
            edge.is_some_and(|edge| edge.value.quarantine.is_some())
        };
        self.quarantine.is_none() && begun(&self.member.id)
    }

    async fn tell_drain(&mut self, draining: Option<String>) -> Result<(), End> {
        if draining != self.draining {
            self.draining.clone_from(&draining);
            let message = match draining {
                Some(reason) => ToEdge::Drain(v1::Drain { reason }),
                None => ToEdge::Resume(v1::Resume {}),
            };
            self.send_message(message).await?;
        }
        Ok(())
    }

    async fn heartbeat(&mut self) -> Result<(), End> {
        self.session.check_standing()?;
        if self.quarantine_begun() {
            // Nothing is confirmed that must not be used any more.
            return self.catch_up().await;
        }
        // Without a stamp nobody could say how long the edge goes on by it: one
        // of an earlier version would count from when it reads the heartbeat.
        let (Some(held), Some((echo, received))) = (&self.held, self.stamp) else { return Ok(()) };
        // Before it is sent, because it counts from then on.
        self.member.echo(held.revision, received);
        let at = Some(convert::timestamp(self.session.context.clock.now()));
        let heartbeat = v1::Heartbeat { at, ..held.heartbeat(echo) };
        self.send_message(ToEdge::Heartbeat(heartbeat)).await?;
        self.confirmed = true;
        Ok(())
    }

    async fn receive(&mut self, message: v1::EdgeMessage) -> Result<(), End> {
        self.member.heard();
        if !self.messages.take(Instant::now()) {
            let failure = Failure::new(ErrorKind::RateLimited, "more messages than an edge has to send");
            return Err(End::Refused(failure));
        }
        match message.message {
            Some(FromEdge::Ack(ack)) => self.acknowledged(&ack).await,
            Some(FromEdge::Nack(nack)) => {
                if self.told_refusals.take(Instant::now()) {
                    tracing::warn!(edge = %self.member.id, revision = nack.revision, kind = nack.kind, "edge refused an item");
                }
                self.member.refuse(nack);
                Ok(())
            }
            Some(FromEdge::Usage(mut usage)) => {
                if usage.stamp != 0 {
                    self.stamp = Some((usage.stamp, Instant::now()));
                }
                self.session.context.uses.report(&self.member.id, std::mem::take(&mut usage.token_uses));
                self.member.use_report(usage);
                Ok(())
            }
            Some(FromEdge::ProbeResult(result)) => {
                self.session.context.registry.probes.answer(&self.member.id, result);
                Ok(())
            }
            Some(FromEdge::TombstonesHeld(held)) => {
                let context = &self.session.context;
                let (edge, now) = (&self.member.id, context.clock.now());
                context.publisher.tombstones_held(edge, held, now, &mut self.tombstones_ignored).await;
                Ok(())
            }
            Some(FromEdge::Hello(_)) => Err(protocol("a second Hello needs a new stream")),
            // A later version's message that this one does not know.
            None => Ok(()),
        }
    }

    async fn acknowledged(&mut self, ack: &v1::Ack) -> Result<(), End> {
        let Some(held) = &self.held else { return Err(protocol("an acknowledgement before anything was sent")) };
        if ack.revision > held.revision.0 {
            return Err(protocol("an acknowledgement of a revision that was not sent"));
        }
        let sent_before = self.before.is_some_and(|before| before.0 == *ack.digest);
        if ack.revision == held.revision.0 && ack.digest != held.digest.0 && !sent_before {
            self.resyncs += 1;
            if self.resyncs > MAX_RESYNCS {
                return Err(protocol("the edge's digest differs after whole snapshots"));
            }
            tracing::warn!(edge = %self.member.id, revision = ack.revision, "the edge's digest differs: sending everything");
            let current = Arc::clone(&self.published.borrow_and_update());
            return self.send_snapshot(current).await;
        }
        self.member.acknowledge(Revision(ack.revision), ack.calls_cut);
        Ok(())
    }

    async fn send_delta(&mut self, delta: v1::Delta, state: Arc<Published>) -> Result<(), End> {
        for item in &delta.upserts {
            self.member.forget_refusal(item.kind, &item.id);
        }
        for key in &delta.removals {
            self.member.forget_refusal(key.kind, &key.id);
        }
        self.send_message(ToEdge::Delta(delta)).await?;
        self.member.tell(state.revision);
        self.held = Some(state);
        Ok(())
    }

    async fn send_snapshot(&mut self, state: Arc<Published>) -> Result<(), End> {
        let session = self.session;
        let _turn = tokio::select! {
            turn = session.context.snapshots.acquire() => turn.map_err(|_| End::Shutdown)?,
            () = session.context.shutdown.cancelled() => return Err(End::Shutdown),
            () = self.member.replaced() => return Err(End::Replaced),
            () = session.out.closed() => return Err(End::Gone),
        };
        self.member.forget_refusals();
        let state = 'whole: loop {
            // The turn may have come late.
            self.tell_pauses().await?;
            let state = self.of_kind(&state);
            for chunk in state.chunks() {
                self.session.check_standing()?;
                if self.quarantine_begun() {
                    // It drops what has come when it hears of it.
                    continue 'whole;
                }
                self.send_message(ToEdge::SnapshotChunk(v1::SnapshotChunk::clone(chunk))).await?;
            }
            break state;
        };
        self.send_message(ToEdge::SnapshotEnd(state.end())).await?;
        self.member.tell(state.revision);
        self.held = Some(state);
        self.confirmed = false;
        if std::mem::take(&mut self.release_due) {
            self.send_message(ToEdge::Release(v1::Release {})).await?;
        }
        Ok(())
    }

    async fn send_message(&self, message: ToEdge) -> Result<(), End> {
        self.send(v1::ControlMessage { message: Some(message) }).await
    }

    async fn send(&self, message: v1::ControlMessage) -> Result<(), End> {
        let member: &Connected = &self.member;
        tokio::select! {
            biased;
            () = self.session.context.shutdown.cancelled() => Err(End::Shutdown),
            () = member.replaced() => Err(End::Replaced),
            sent = timeout(SEND_TIMEOUT, self.session.out.send(Ok(message))) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Slow),
            },
        }
    }
}
