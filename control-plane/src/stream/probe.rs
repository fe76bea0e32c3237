//! Questions to edges that wait for an answer: a probe has an id, and the
//! edge's answer with that id finds the one who waits.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nla_domain::{
    credential::Credential,
    id::{DatabaseName, EdgeId},
};
use nla_proto::v1;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::registry::{Connected, Registry};

/// A login, a TLS handshake and a query to a database that is slow to answer
/// fit; a person does not wait longer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// Probes under way, by edge and id.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    waiting: Mutex<HashMap<(EdgeId, String), oneshot::Sender<v1::ProbeResult>>>,
}

impl Probes {
    /// Hands an answer to the one who waits. An answer that nobody waits for,
    /// or of another edge than the one asked, is dropped.
    pub(super) fn answer(&self, edge: &EdgeId, result: v1::ProbeResult) {
        let key = (edge.clone(), result.probe_id.clone());
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(waiting) = waiting {
            let _ = waiting.send(result);
        }
    }
}

/// Takes the question back when the one who asked goes away.
struct Waiting<'a> {
    probes: &'a Probes,
    key: (EdgeId, String),
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.probes.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Registry {
    /// Asks these edges to try a database; one entry each, without a result
    /// where none came in time.
    pub(crate) async fn probe(&self, edges: Vec<Arc<Connected>>, database: &DatabaseName) -> Vec<v1::EdgeProbe> {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        let asked = edges.iter().map(|edge| async move {
            v1::EdgeProbe {
                edge_id: edge.id.to_string(),
                result: self.probe_one(edge, database, None, || true, deadline).await,
            }
        });
        futures_util::future::join_all(asked).await
    }

    /// Asks one edge to try a database with a credential that it does not hold.
    /// It is not sent when the edge is not `trusted` by then.
    pub(crate) async fn probe_candidate(
        &self,
        edge: &Connected,
        candidate: &Credential,
        trusted: impl Fn() -> bool + Send + Sync,
    ) -> Option<v1::ProbeResult> {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        self.probe_one(edge, &candidate.database, Some(candidate), trusted, deadline).await
    }

    async fn probe_one(
        &self,
        edge: &Connected,
        database: &DatabaseName,
        candidate: Option<&Credential>,
        trusted: impl Fn() -> bool + Send + Sync,
        deadline: Instant,
    ) -> Option<v1::ProbeResult> {
        let probe_id = uuid::Uuid::new_v4().to_string();
        let key = (edge.id.clone(), probe_id.clone());
        let (answer, answered) = oneshot::channel();
        self.probes.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), answer);
        let _waiting = Waiting { probes: &self.probes, key };
        let request = v1::ProbeRequest {
            probe_id,
            database: database.to_string(),
            candidate: candidate.map(v1::CredentialItem::from),
        };
        let message = v1::control_message::Message::ProbeRequest(request);
        let place = timeout_at(deadline, edge.commands.reserve()).await.ok()?.ok()?;
        if !trusted() {
            return None;
        }
        place.send(v1::ControlMessage { message: Some(message) });
        tokio::select! {
            result = timeout_at(deadline, answered) => result.ok()?.ok(),
            () = edge.commands.closed() => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use nla_domain::clock::Timestamp;

    use super::{super::Began, *};

    #[tokio::test(start_paused = true)]
    async fn only_the_asked_edge_can_answer_and_silence_ends() {
        let registry = Registry::new(4, Began::now(Timestamp::from_micros(0), None), []);
        let enter = |id: &str| {
            registry.enter(id.parse().unwrap(), "127.0.0.1:1".parse().unwrap(), &v1::Hello::default()).unwrap()
        };
        let ((e1, mut inbox1), (e2, _inbox2), (e3, inbox3)) = (enter("e1"), enter("e2"), enter("e3"));
        drop(inbox3);
        let database = "shop".parse().unwrap();
        let registry2 = Arc::clone(&registry);
        let edges = tokio::spawn(async move {
            let message = inbox1.recv().await.unwrap().message.unwrap();
            let v1::control_message::Message::ProbeRequest(request) = message else { panic!("{message:?}") };
            assert_eq!(request.database, "shop");
            let result = v1::ProbeResult { probe_id: request.probe_id, ok: true, ..Default::default() };
            registry2.probes.answer(&"e2".parse().unwrap(), v1::ProbeResult { ok: false, ..result.clone() });
            registry2.probes.answer(&"e1".parse().unwrap(), result);
            inbox1
        });
        let started = Instant::now();
        let found = registry.probe(registry.connected(), &database).await;
        assert_eq!(started.elapsed(), PROBE_TIMEOUT, "the silent edge is given up");
        let oks: Vec<Option<bool>> = found.iter().map(|probe| probe.result.as_ref().map(|result| result.ok)).collect();
        assert_eq!(oks, [Some(true), None, None]);
        assert!(registry.probes.waiting.lock().unwrap().is_empty(), "nothing is left behind");
        drop((edges, e1, e2, e3));
    }
}
