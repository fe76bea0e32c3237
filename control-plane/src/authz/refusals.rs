//! Audit events of refused calls. Each source may cause a few and then one
//! every ten seconds, so that nobody can fill the log by being refused; how
//! many were left out stands in the next event.

use std::{sync::Arc, time::Duration};

use nla_proto::{failure::Failure, tls::peer::Peer, tls::server::ConnectInfo, v1};
use tokio::sync::mpsc;

use crate::allowance::{self, Allowances};

/// Events of one source before the rate applies.
const BURST: u32 = 10;
/// Time in which a source earns one more event.
const REFILL: Duration = Duration::from_secs(10);
/// Events that wait for the store.
const QUEUE: usize = 64;

/// Notes refused calls.
#[derive(Debug, Clone)]
pub(crate) struct Refusals {
    allowances: Arc<Allowances>,
    events: mpsc::Sender<v1::AdminEvent>,
}

impl Refusals {
    /// The receiver's events are to be appended to the audit log.
    pub(crate) fn new() -> (Self, mpsc::Receiver<v1::AdminEvent>) {
        let (events, receiver) = mpsc::channel(QUEUE);
        (Self { allowances: Arc::new(Allowances::new(BURST, REFILL)), events }, receiver)
    }

    /// A call that was refused to whoever holds this connection. Sources that
    /// have no identity are told apart by address.
    pub(crate) fn note(&self, method: &str, connection: &ConnectInfo, failure: &Failure) {
        let address = connection.remote.ip().to_string();
        let actor = match connection.peer.as_ref().map(|certificate| &certificate.peer) {
            Some(Peer::Edge(id)) => format!("edge/{id}"),
            Some(Peer::Operator(name)) => format!("operator/{name}"),
            Some(Peer::ControlPlane) => "control-plane".to_owned(),
            None => "unknown".to_owned(),
        };
        let source =
            if connection.peer.is_some() { actor.clone() } else { allowance::source_of(connection.remote.ip()) };
        let Some(left_out) = self.allowances.take(&source) else { return };
        tracing::warn!(%actor, method, %address, reason = %failure, "call refused");
        let mut reason = failure.message.clone();
        if left_out > 0 {
            reason.push_str(&format!(" ({left_out} more before it were not recorded)"));
        }
        let event = v1::AdminEvent {
            actor,
            action: method.to_owned(),
            client_address: address,
            outcome: v1::Outcome::Refused.into(),
            reason,
            ..Default::default()
        };
        if self.events.try_send(event).is_err() {
            tracing::warn!("a refused call was logged here only: the audit queue is full");
        }
    }
}

#[cfg(test)]
mod tests {
    use nla_domain::error::ErrorKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_cannot_flood_the_log_nor_silence_another() {
        let (refusals, mut events) = Refusals::new();
        let failure = Failure::new(ErrorKind::PermissionDenied, "no");
        let from = |remote: &str| ConnectInfo { remote: remote.parse().unwrap(), peer: None };
        (0..100).for_each(|_| refusals.note("/m", &from("10.0.0.1:1"), &failure));
        refusals.note("/m", &from("10.0.0.2:1"), &failure);
        tokio::time::advance(REFILL).await;
        refusals.note("/m", &from("10.0.0.1:2"), &failure);
        drop(refusals);
        let mut reasons = Vec::new();
        while let Some(event) = events.recv().await {
            reasons.push((event.client_address, event.reason));
        }
        assert_eq!(reasons.len(), BURST as usize + 2);
        assert_eq!(reasons[10], ("10.0.0.2".to_owned(), "no".to_owned()));
        assert_eq!(reasons[11].1, "no (90 more before it were not recorded)");
    }
}
