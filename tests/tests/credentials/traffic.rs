//! Callers that never pause, from several tokens on all edges.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nla_sandbox::{mcp::McpClient, system::wait_for};
use serde_json::json;
use tokio::{task::JoinSet, time};

/// Between two calls of one client: below the limit of calls per address.
const PACE: Duration = Duration::from_millis(25);

/// What is asked, and the answer's first value. The second takes long enough to
/// be running whenever something changes.
const QUESTIONS: [(&str, i64); 2] = [
    ("SELECT count(*) FROM shop.tenants", 2),
    ("SELECT count(*) FROM generate_series(1, 300000) n WHERE n % 2 = 0", 150_000),
];

pub(crate) struct Traffic {
    clients: JoinSet<()>,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Traffic {
    pub(crate) fn start(clients: impl IntoIterator<Item = McpClient>) -> Self {
        let mut traffic = Self { clients: JoinSet::new(), seen: Arc::default() };
        for client in clients {
            traffic.clients.spawn(Self::call(client, Arc::clone(&traffic.seen)));
        }
        traffic
    }

    async fn call(client: McpClient, seen: Arc<Seen>) {
        let mut pace = time::interval(PACE);
        pace.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        for (sql, expected) in QUESTIONS.iter().cycle() {
            if seen.stop.load(Ordering::Acquire) {
                return;
            }
            pace.tick().await;
            let call = json!({ "name": "query_database", "arguments": { "sql": sql } });
            match client.request("tools/call", call).await {
                Ok(answer) if answer.body["result"]["structuredContent"]["rows"] == json!([[expected]]) => {
                    seen.answered.fetch_add(1, Ordering::AcqRel);
                }
                Ok(answer) => seen.failures.lock().unwrap().push(format!("{}: {}", answer.status, answer.body)),
                Err(error) => seen.failures.lock().unwrap().push(format!("{error:#}")),
            }
        }
    }

    /// Waits for that many answers more.
    pub(crate) async fn goes_on(&self, calls: u64) {
        let wanted = self.seen.answered.load(Ordering::Acquire) + calls;
        let seen = &self.seen;
        wait_for("answers under traffic", || async { seen.answered.load(Ordering::Acquire) >= wanted }).await.unwrap();
    }

    /// Number of answered calls; none may have failed.
    pub(crate) async fn end(mut self) -> u64 {
        self.seen.stop.store(true, Ordering::Release);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let failures = self.seen.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} calls failed: {:?}",
            failures.len(),
            failures.iter().take(3).collect::<Vec<_>>()
        );
        self.seen.answered.load(Ordering::Acquire)
    }
}
