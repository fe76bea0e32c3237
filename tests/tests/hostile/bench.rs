//! A whole NLA with one edge, and the two questions that every test asks after
//! each piece of bad input: is the next good request answered, and is every
//! good request in the audit log?

use std::time::Duration;

use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::{
    mcp::McpClient,
    system::{Sandbox, wait_for},
};
use serde_json::json;

/// No answer of a test takes longer unless something hangs.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// High enough that no test meets them.
pub(crate) fn no_limits() -> Option<v1::TokenLimits> {
    Some(v1::TokenLimits { calls_per_second: 1_000, burst: 1_000, concurrent_calls: 100 })
}

/// The request for a token of a test.
pub(crate) fn wanted(roles: &[&str]) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest {
        owner: "tests@example.com".into(),
        purpose: "bad input".into(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        limits: no_limits(),
        ..Default::default()
    }
}

pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    /// A client whose connections stay, of a token that makes bad requests too.
    pub(crate) client: McpClient,
    good: Secret,
    good_id: String,
    /// A client of the good token whose connection is as old as the bench.
    kept: McpClient,
    answered: u64,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let mut sandbox = Sandbox::with_edges(1).await.unwrap();
        // One address makes all requests here; its limit has tests of its own.
        sandbox.edges[0].stop().await.unwrap();
        let limits = &mut sandbox.edges[0].config_mut().limits;
        (limits.address_per_second, limits.address_burst) = (100_000, 100_000);
        sandbox.edges[0].resume().await.unwrap();
        sandbox.edges[0].ready().await.unwrap();

        let (_, bad) = sandbox.admin.create_token(wanted(&["analyst"])).await.unwrap();
        let (good_view, good) = sandbox.admin.create_token(wanted(&["analyst"])).await.unwrap();
        sandbox.settled().await.unwrap();
        let client = sandbox.client(0, &bad).unwrap();
        let kept = sandbox.client(0, &good).unwrap();
        Self { client, kept, good, good_id: good_view.id, answered: 0, sandbox }
    }

    /// The next good requests are answered, on an old connection and on a new one.
    pub(crate) async fn still_good(&mut self, after: &str) {
        for client in [self.kept.clone(), self.sandbox.client(0, &self.good).unwrap()] {
            let number = self.answered + 1;
            let answer = tokio::time::timeout(SOON, client.query(&format!("SELECT {number}"))).await;
            let answer = answer.unwrap_or_else(|_| panic!("no answer after {after}"));
            let answer = answer.unwrap_or_else(|error| panic!("after {after}: {error:#}"));
            assert_eq!(answer["rows"], json!([[number]]), "after {after}");
            self.answered = number;
        }
    }

    /// The control plane serves, on an old connection and on a new one.
    pub(crate) async fn still_administered(&mut self, after: &str) {
        let revision = tokio::time::timeout(SOON, self.sandbox.admin.revision()).await;
        let revision = revision.unwrap_or_else(|_| panic!("no answer after {after}"));
        revision.unwrap_or_else(|failure| panic!("after {after}: {failure}"));
        let fresh = nla_sandbox::system::Admin::connect(self.sandbox.control_plane.operator_dir());
        let fresh = tokio::time::timeout(SOON, fresh).await;
        let fresh = fresh.unwrap_or_else(|_| panic!("no connection after {after}"));
        fresh.unwrap_or_else(|error| panic!("after {after}: {error:#}")).revision().await.unwrap();
    }

    /// Every good request is in the audit log, once, in its order.
    pub(crate) async fn nothing_lost(&self) {
        assert!(self.answered > 0);
        let expected: Vec<String> = (1..=self.answered).map(|number| format!("SELECT {number}")).collect();
        wait_for("the audit log's last event", || async { self.recorded().await.len() >= expected.len() })
            .await
            .unwrap();
        assert_eq!(self.recorded().await, expected);
    }

    async fn recorded(&self) -> Vec<String> {
        let filter = v1::AuditFilter { token: self.good_id.clone(), kind: "call".into(), ..Default::default() };
        let events = self.sandbox.admin.audit(filter).await.unwrap();
        let calls = events.into_iter().rev().filter_map(|event| match event.event {
            Some(v1::audit_event::Event::Call(call)) => Some(call),
            _ => None,
        });
        calls
            .map(|call| {
                assert_eq!(call.outcome(), v1::Outcome::Succeeded, "{call:?}");
                call.sql.unwrap_or_default().text
            })
            .collect()
    }

    /// Ends it in order, so that a part that failed meanwhile is told.
    pub(crate) async fn stop(mut self) {
        for edge in &mut self.sandbox.edges {
            edge.stop().await.unwrap();
        }
        self.sandbox.control_plane.stop().await.unwrap();
    }
}
