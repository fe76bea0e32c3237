//! How the tests of this folder call edges, and where they look for what the
//! calls left behind: in the audit log and in PostgreSQL.

use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::{
    mcp::{Answer, McpClient},
    sample,
    system::{Sandbox, wait_for},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// Computes for hours.
pub(crate) const ENDLESS: &str = "SELECT count(*) FROM shop.orders a, shop.orders b, shop.orders c, shop.orders d";

/// More calls than any test makes.
pub(crate) const AMPLE: v1::TokenLimits =
    v1::TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 };

/// A token with ample limits, applied on all edges; `change` narrows it.
pub(crate) async fn token(
    sandbox: &Sandbox,
    roles: &[&str],
    change: impl FnOnce(&mut v1::CreateTokenRequest),
) -> (String, Secret) {
    let mut request = v1::CreateTokenRequest {
        owner: "tests@example.com".into(),
        purpose: "tests".into(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        limits: Some(AMPLE),
        ..Default::default()
    };
    change(&mut request);
    let (view, secret) = sandbox.admin.create_token(request).await.unwrap();
    sandbox.settled().await.unwrap();
    (view.id, secret)
}

/// Another name for the sample database, with limits of its own.
pub(crate) async fn database(sandbox: &Sandbox, name: &str, limits: v1::DatabaseLimits) {
    let database = v1::Database {
        name: name.into(),
        limits: Some(limits),
        ..nla_sandbox::system::sample_database(&sandbox.sample.postgres).unwrap()
    };
    sandbox.admin.create_database(database).await.unwrap();
    let login = &sandbox.sample.sample;
    sandbox.admin.set_credential(name, login.reader, &login.reader_password).await.unwrap();
}

/// `query_database` as a whole HTTP answer.
pub(crate) async fn query(client: &McpClient, sql: &str) -> Answer {
    let call = json!({ "name": "query_database", "arguments": { "sql": sql } });
    client.request("tools/call", call).await.unwrap()
}

/// The id under which the audit log holds the call.
pub(crate) fn request_id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

/// What a model reads.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

/// The machine-readable form of a call that the tool refused.
pub(crate) fn error(result: &Value) -> &Value {
    assert_eq!(result["isError"], json!(true), "{result}");
    &result["_meta"]["nla/error"]
}

/// All events of calls with one token, newest first. Without a token: all calls.
pub(crate) async fn events(sandbox: &Sandbox, token: &str) -> Vec<v1::CallEvent> {
    sandbox.admin.calls(token).await.unwrap()
}

/// The event of one answered call, once the control plane has it. An edge
/// delivers in order: whatever it recorded before has arrived as well.
pub(crate) async fn event(sandbox: &Sandbox, request_id: &str) -> v1::CallEvent {
    let found = std::cell::RefCell::new(None);
    wait_for("the audit event of a call", || async {
        let event = events(sandbox, "").await.into_iter().find(|event| event.request_id == request_id);
        *found.borrow_mut() = event;
        found.borrow().is_some()
    })
    .await
    .unwrap();
    found.into_inner().unwrap()
}

/// A superuser's session, to look at the server from outside.
pub(crate) async fn watch(sandbox: &Sandbox) -> Client {
    sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap()
}

/// The edges' sessions on the server.
pub(crate) async fn sessions(watch: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'nla/%'";
    watch.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until that many statements of the edges run.
pub(crate) async fn until_running(watch: &Client, wanted: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'nla/%' AND state = 'active'";
    wait_for(&format!("{wanted} running statements"), || async {
        watch.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == wanted
    })
    .await
    .unwrap();
}

/// Waits until the edges hold that many sessions.
pub(crate) async fn until_sessions(watch: &Client, wanted: i64) {
    wait_for(&format!("{wanted} sessions"), || async { sessions(watch).await == wanted }).await.unwrap();
}
