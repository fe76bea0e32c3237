//! Clients that call without a pause while something happens: no call may fail.
#![expect(clippy::unwrap_used, reason = "what tests share fails like a test")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use nla_sandbox::{mcp::McpClient, system::wait_for};
use serde_json::json;
use tokio::{task::JoinSet, time};

/// A statement, and the one value that it gives.
pub type Question = (&'static str, i64);

/// The least that can be asked.
pub const SELECT_1: &[Question] = &[("SELECT 1", 1)];

/// Clients under way; dropping it ends them.
#[derive(Debug)]
pub struct Traffic {
    clients: JoinSet<()>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    /// Request ids of the answered calls.
    answered: Mutex<Vec<String>>,
    failures: Mutex<Vec<String>>,
}

impl Traffic {
    /// Each client asks the questions in turn, once each `pace`, which keeps it
    /// below the limit of calls per address.
    pub fn start(clients: impl IntoIterator<Item = McpClient>, pace: Duration, questions: &'static [Question]) -> Self {
        let mut traffic = Self { clients: JoinSet::new(), seen: Arc::default() };
        for client in clients {
            traffic.clients.spawn(call(client, pace, questions, Arc::clone(&traffic.seen)));
        }
        traffic
    }

    /// Waits for that many answers more.
    pub async fn goes_on(&self, calls: usize) {
        let answered = || self.seen.answered.lock().unwrap().len();
        let wanted = answered() + calls;
        wait_for("answers under traffic", || async { answered() >= wanted }).await.unwrap();
    }

    /// Request ids of the answered calls; none may have failed.
    pub async fn end(mut self) -> Vec<String> {
        self.seen.stop.store(true, Ordering::Release);
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        let failures = self.seen.failures.lock().unwrap();
        let first: Vec<_> = failures.iter().take(3).collect();
        assert!(failures.is_empty(), "{} calls failed: {first:?}", failures.len());
        self.seen.answered.lock().unwrap().clone()
    }
}

async fn call(client: McpClient, pace: Duration, questions: &'static [Question], seen: Arc<Seen>) {
    let mut pace = time::interval(pace);
    pace.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    for (sql, expected) in questions.iter().cycle() {
        if seen.stop.load(Ordering::Acquire) {
            return;
        }
        pace.tick().await;
        let call = json!({ "name": "query_database", "arguments": { "sql": sql } });
        match client.request("tools/call", call).await {
            Ok(answer) if answer.body["result"]["structuredContent"]["rows"] == json!([[expected]]) => {
                let id = answer.headers["x-request-id"].to_str().unwrap().to_owned();
                seen.answered.lock().unwrap().push(id);
            }
            Ok(answer) => seen.failures.lock().unwrap().push(format!("{}: {}", answer.status, answer.body)),
            Err(error) => seen.failures.lock().unwrap().push(format!("{error:#}")),
        }
    }
}
