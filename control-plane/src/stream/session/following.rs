//! A stream after its Hello: what the edge is brought to, what keeps it going, and
//! what it says. `pauses` has what an operator orders of it.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use nla_domain::{error::ErrorKind, id::Revision, snapshot::Digest};
use nla_proto::{
    convert,
    failure::Failure,
    v1::{self, control_message::Message as ToEdge, edge_message::Message as FromEdge},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::{End, Session, protocol};
use crate::stream::{
    Published,
    bucket::Bucket,
    registry::{Connected, Membership},
};

/// Bookmark and sign of life; an edge's staleness bounds are multiples of it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// An edge that takes nothing for so long is gone; it resumes when it is back.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// An edge reports each second. One that says nothing for so long is gone, even
/// if nobody has closed the connection.
const SILENCE: Duration = Duration::from_secs(9);
/// Whole snapshots that one stream may ask for by wrong digests. An edge that
/// still differs then computes digests in another way.
const MAX_RESYNCS: u32 = 3;

/// An edge answers each revision, of which there are hundreds a second at most,
/// and refuses up to a hundred items of one. More is no edge of ours.
const MESSAGES_PER_SECOND: u32 = 1_000;
const MESSAGES_AT_ONCE: u32 = 5_000;
/// Refusals in the log, until a second has passed for each further one.
const TOLD_AT_ONCE: u32 = 100;

/// A session after its Hello.
pub(super) struct Following<'a> {
    pub(super) session: &'a Session,
    pub(super) member: Membership,
    pub(super) published: watch::Receiver<Arc<Published>>,
    /// What the edge holds once it has read all that was sent.
    pub(super) held: Option<Arc<Published>>,
    /// The newest stamp that came on this stream, and when.
    pub(super) stamp: Option<(u64, Instant)>,
    /// Whether the log names already that it was not believed.
    pub(super) tombstones_ignored: bool,
    /// Whether an echo was sent since the edge last got everything.
    pub(super) confirmed: bool,
    /// What it held until quarantine began or ended: it may still acknowledge it.
    pub(super) before: Option<Digest>,
    /// Messages that it may still send.
    pub(super) messages: Bucket,
    /// Of its refusals, those that are still told in the log.
    pub(super) told_refusals: Bucket,
    pub(super) resyncs: u32,
    /// What the edge was last told: why it is to drain, if it is.
    pub(super) draining: Option<String>,
    /// The same of quarantine.
    pub(super) quarantine: Option<String>,
    /// Quarantine has ended, and the edge is to hear of it after the state.
    pub(super) release_due: bool,
}

impl<'a> Following<'a> {
    /// Before anything was sent.
    pub(super) fn new(session: &'a Session, member: Membership) -> Self {
        Self {
            session,
            member,
            published: session.context.publisher.subscribe(),
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
        }
    }

    /// Answers the Hello. An edge of another epoch, of an unknown revision or
    /// with other content gets everything.
    pub(super) async fn start(&mut self, hello: &v1::Hello) -> Result<(), End> {
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

    pub(super) async fn follow(
        &mut self,
        inbound: &mut (impl Stream<Item = Result<v1::EdgeMessage, Status>> + Unpin),
        mut inbox: mpsc::Receiver<v1::ControlMessage>,
    ) -> Result<(), End> {
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            self.confirm_once().await?;
            tokio::select! {
                () = self.session.context.shutdown.cancelled() => return Err(End::Shutdown),
                () = self.member.replaced() => return Err(End::Replaced),
                () = self.session.out.closed() => return Err(End::Gone),
                () = sleep_until(heard + SILENCE) => {
                    // Nothing is read while something is being sent.
                    let message = inbound.next().now_or_never().ok_or(End::Silent)?;
                    heard = Instant::now();
                    self.take(message).await?;
                }
                changed = self.published.changed() => {
                    changed.map_err(|_| End::Shutdown)?;
                    self.catch_up().await?;
                }
                _ = ticks.tick() => self.heartbeat().await?,
                Some(command) = inbox.recv() => self.send(command).await?,
                message = inbound.next() => {
                    heard = Instant::now();
                    self.take(message).await?;
                }
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

    async fn heartbeat(&mut self) -> Result<(), End> {
        if self.quarantine_begun()? {
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

    async fn take(&mut self, message: Option<Result<v1::EdgeMessage, Status>>) -> Result<(), End> {
        let Some(Ok(message)) = message else { return Err(End::Gone) };
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
                if self.quarantine_begun()? {
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

    pub(super) async fn send_message(&self, message: ToEdge) -> Result<(), End> {
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
