//! An edge with room for many calls, and the superuser's session that watches
//! what the edge leaves on the server.

use std::time::Duration;

use nla_domain::secret::Secret;
use nla_proto::{convert::duration, v1};
use nla_sandbox::{
    mcp::{Answer, McpClient},
    sample,
    system::{Sandbox, analyst, sample_database, wait_for},
};
use serde_json::{Value, json};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_postgres::Client;

/// Computes for hours.
pub(crate) const ENDLESS: &str = "SELECT count(*) FROM shop.orders a, shop.orders b, shop.orders c, shop.orders d";

/// The edge waits this much longer than the server's own time limit, plus what
/// a crowded machine needs.
pub(crate) const GRACE: Duration = Duration::from_secs(8);

/// Which sessions of `pg_stat_activity` serve calls; those with which the edge
/// looks at the catalog are told apart by their name.
pub(crate) const OURS: &str = "application_name LIKE 'nla/%' AND application_name NOT LIKE '%/catalog'";

static TURN: RwLock<()> = RwLock::const_new(());

/// For tests that measure nothing: they run beside each other.
pub(crate) async fn beside_others() -> RwLockReadGuard<'static, ()> {
    TURN.read().await
}

/// For tests that measure memory or time of this process.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    TURN.write().await
}

/// One edge in front of the sample.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    /// The superuser, looking from outside.
    pub(crate) admin: Client,
}

impl Bench {
    /// No limit of the caller's address is in the way.
    pub(crate) async fn start() -> Self {
        let mut sandbox = Sandbox::with_edges(1).await.unwrap();
        let edge = &mut sandbox.edges[0];
        edge.stop().await.unwrap();
        let limits = &mut edge.config_mut().limits;
        (limits.address_per_second, limits.address_burst) = (100_000, 100_000);
        edge.resume().await.unwrap();
        edge.ready().await.unwrap();
        let admin = sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
        Self { sandbox, admin }
    }

    /// The sample under another name with limits of its own, for the reader.
    pub(crate) async fn database(&self, name: &str, limits: v1::DatabaseLimits) {
        let login = &self.sandbox.sample.sample;
        self.database_as(name, limits, login.reader, &login.reader_password).await;
    }

    /// As [`Bench::database`], for any login. There is a role of the same name.
    pub(crate) async fn database_as(&self, name: &str, limits: v1::DatabaseLimits, login: &str, password: &Secret) {
        let database = v1::Database {
            name: name.into(),
            limits: Some(limits),
            ..sample_database(&self.sandbox.sample.postgres).unwrap()
        };
        let admin = &self.sandbox.admin;
        admin.create_database(database).await.unwrap();
        admin.set_credential(name, login, password).await.unwrap();
        admin.create_role(analyst(name, &[name])).await.unwrap();
    }

    /// A new token with ample limits; its id and a client of the edge.
    pub(crate) async fn token(&self, role: &str) -> (String, McpClient) {
        let request = v1::CreateTokenRequest {
            owner: "tests@example.com".into(),
            purpose: "tests".into(),
            roles: vec![role.into()],
            limits: Some(v1::TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 }),
            ..Default::default()
        };
        let (view, secret) = self.sandbox.admin.create_token(request).await.unwrap();
        self.sandbox.settled().await.unwrap();
        (view.id, self.sandbox.client(0, &secret).unwrap())
    }

    /// One number from the superuser's view.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Sessions of the edge for calls, whatever they do.
    pub(crate) async fn sessions(&self) -> i64 {
        self.count(&format!("SELECT count(*) FROM pg_stat_activity WHERE {OURS}")).await
    }

    /// Statements of the edge that run now.
    pub(crate) async fn running(&self) -> i64 {
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE {OURS} AND state IS DISTINCT FROM 'idle'");
        self.count(&sql).await
    }

    /// Waits until that many statements of the edge run.
    pub(crate) async fn until_running(&self, wanted: i64) {
        wait_for(&format!("{wanted} running statements"), || async { self.running().await == wanted }).await.unwrap();
    }

    /// Process and name of the one session that runs [`ENDLESS`], once it does:
    /// it is active as well while it does what comes before the statement.
    pub(crate) async fn endless(&self) -> (i32, String) {
        let running =
            format!("FROM pg_stat_activity WHERE {OURS} AND state = 'active' AND query LIKE '%shop.orders d%'");
        let count = format!("SELECT count(*) {running}");
        wait_for("the statement", || async { self.count(&count).await == 1 }).await.unwrap();
        let row = self.admin.query_one(&format!("SELECT pid, application_name {running}"), &[]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// All events of calls with one token, newest first.
    pub(crate) async fn events(&self, token: &str) -> Vec<v1::CallEvent> {
        self.sandbox.admin.calls(token).await.unwrap()
    }

    /// The event of one call of a token, once it has arrived.
    pub(crate) async fn event(&self, token: &str, request_id: &str) -> v1::CallEvent {
        let found = std::cell::RefCell::new(None);
        wait_for("the audit event of a call", || async {
            let event = self.events(token).await.into_iter().find(|event| event.request_id == request_id);
            *found.borrow_mut() = event;
            found.borrow().is_some()
        })
        .await
        .unwrap();
        found.into_inner().unwrap()
    }
}

/// Limits of a database that differ from the default.
pub(crate) fn limits(statement_timeout: Duration) -> v1::DatabaseLimits {
    v1::DatabaseLimits { statement_timeout: Some(duration(statement_timeout)), ..Default::default() }
}

/// `query_database` as a whole HTTP answer.
pub(crate) async fn ask(client: &McpClient, sql: &str) -> Answer {
    let call = json!({ "name": "query_database", "arguments": { "sql": sql } });
    let answer = tokio::time::timeout(Duration::from_secs(60), client.request("tools/call", call)).await;
    answer.unwrap_or_else(|_| panic!("no answer: {sql}")).unwrap()
}

/// The result of [`ask`], be it an error or not.
pub(crate) async fn result(client: &McpClient, sql: &str) -> Value {
    let answer = ask(client, sql).await;
    assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
    answer.body["result"].clone()
}

/// The machine-readable form of an error; null where there is none.
pub(crate) fn error(result: &Value) -> &Value {
    &result["_meta"]["nla/error"]
}

/// The id under which the audit log holds the call.
pub(crate) fn request_id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

/// Rows of a statement that must succeed.
pub(crate) async fn rows(client: &McpClient, sql: &str) -> Value {
    let result = result(client, sql).await;
    assert_ne!(result["isError"], json!(true), "{sql}: {result}");
    result["structuredContent"]["rows"].clone()
}
