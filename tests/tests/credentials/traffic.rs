//! What agents ask while credentials change.

use std::time::Duration;

use nla_sandbox::mcp::McpClient;
use nla_tests::traffic::{Question, Traffic};

/// Between two calls of one client: below the limit of calls per address.
const PACE: Duration = Duration::from_millis(25);

/// The second takes long enough to be running whenever something changes.
const QUESTIONS: &[Question] = &[
    ("SELECT count(*) FROM shop.tenants", 2),
    ("SELECT count(*) FROM generate_series(1, 300000) n WHERE n % 2 = 0", 150_000),
];

pub(crate) fn traffic(clients: impl IntoIterator<Item = McpClient>) -> Traffic {
    Traffic::start(clients, PACE, QUESTIONS)
}
