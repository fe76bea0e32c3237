//! A server, a snapshot and the tools over them.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::http::{self, request::Parts};
use nla_domain::{
    clock::{SystemClock, Timestamp, WallClock},
    credential::Credential,
    database::{Database, DatabaseLimits, Endpoint, RolePolicy, SslMode},
    id::{Epoch, Revision},
    pepper::Peppers,
    policy::Grant,
    role::{Role, SqlAudit, Tool},
    secret::{Key32, Secret},
    snapshot::{Settings, Snapshot},
    token::{Staleness, Token, TokenLimits, TokenText},
};
use nla_edge::{
    audit::{AuditQueue, QueueLimits},
    clock::{BootClock, MonotonicClock},
    listener::address::ClientAddress,
    mcp::{
        call::{Context, Retry, ToolCall},
        handler::Handler,
        notify::Notifier,
        outcome::{Outcome, ToolResult},
        version::Version,
    },
    pg::{ConnectionSettings, PoolSettings, Pools},
    pipeline::{Pipeline, PipelineConfig},
    snapshot::SnapshotHolder,
    tools::EdgeHandler,
};
use nla_sandbox::postgres::{Options, Postgres};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// Longest wait for something that takes milliseconds.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// More than any test asks for.
pub(crate) const AMPLE: TokenLimits = TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 };

pub(crate) struct Bench {
    pub(crate) postgres: Postgres,
    pub(crate) admin: Client,
    pub(crate) clock: Arc<Jumping>,
    pub(crate) holder: SnapshotHolder,
    pub(crate) audit: AuditQueue,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) handler: Arc<EdgeHandler>,
    pub(crate) token: TokenText,
    #[allow(dead_code, reason = "lives as long as the rest; the suite of the catalog takes the bench apart")]
    pub(crate) folder: tempfile::TempDir,
}

/// The clock of staleness, which can be set forward, as it is after a process
/// was stopped or its machine was suspended.
#[derive(Debug, Default)]
pub(crate) struct Jumping(AtomicU64);

impl Jumping {
    pub(crate) fn ahead(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl MonotonicClock for Jumping {
    fn elapsed(&self) -> Duration {
        BootClock.elapsed() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

impl Bench {
    pub(crate) async fn start(limits: DatabaseLimits) -> Self {
        Self::with(limits, |_| ()).await
    }

    /// With other settings of the pipeline than the defaults.
    pub(crate) async fn with(limits: DatabaseLimits, change: impl FnOnce(&mut PipelineConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let postgres = Postgres::start(Options::new(folder.path().join("pg")).throw_away()).await.unwrap();
        let admin = postgres.connect_as_superuser("postgres").await.unwrap();
        admin
            .batch_execute("CREATE ROLE reader LOGIN PASSWORD 'reader secret'; CREATE SCHEMA app AUTHORIZATION reader;")
            .await
            .unwrap();
        let clock = Arc::new(Jumping::default());
        let holder = SnapshotHolder::new(Arc::<Jumping>::clone(&clock));
        let audit = AuditQueue::new("test".into(), QueueLimits::default(), Arc::new(SystemClock));
        let mut config = PipelineConfig::new("edge-1".parse().unwrap(), Arc::new(SystemClock));
        change(&mut config);
        let pipeline = Pipeline::new(holder.clone(), audit.clone(), config).unwrap();
        let handler = Arc::new(EdgeHandler::new(Arc::clone(&pipeline)));
        let token = TokenText::generate().unwrap();
        let bench = Self { postgres, admin, clock, holder, audit, pipeline, handler, token, folder };
        bench.publish(1, bench.database(limits), bench.credential("reader secret", 1), Some(AMPLE));
        bench
    }

    pub(crate) fn ca_pem(&self) -> String {
        std::fs::read_to_string(self.postgres.ca_file()).unwrap()
    }

    pub(crate) fn database(&self, limits: DatabaseLimits) -> Database {
        Database {
            name: "shop".parse().unwrap(),
            description: "test".into(),
            endpoint: Endpoint { host: "127.0.0.1".into(), port: NonZeroU16::new(self.postgres.port()).unwrap() },
            dbname: "postgres".into(),
            sslmode: SslMode::VerifyFull,
            root_certificate_pem: Some(self.ca_pem()),
            limits,
            role_policy: RolePolicy::default(),
        }
    }

    pub(crate) fn credential(&self, password: &str, generation: u64) -> Credential {
        Credential {
            database: "shop".parse().unwrap(),
            username: "reader".into(),
            password: Secret::new(password),
            generation,
        }
    }

    /// Publishes a state with one database, one role and one token, or without
    /// the token.
    pub(crate) fn publish(
        &self,
        revision: u64,
        database: Database,
        credential: Credential,
        limits: Option<TokenLimits>,
    ) {
        let pepper = Key32::new([7; 32]);
        let role = Role {
            name: "analyst".parse().unwrap(),
            description: String::new(),
            databases: vec!["shop".parse().unwrap()],
            tools: Tool::ALL.to_vec(),
            allow_explain_analyze: true,
            max_rows: None,
            sql_audit: SqlAudit::Full,
            functions: vec![],
            relations: vec![],
            operators: vec![],
            settings: vec![],
        };
        let token = limits.map(|limits| {
            let token = Token {
                id: self.token.id(),
                verifier: self.token.verifier(&pepper),
                pepper_generation: 1,
                owner: "ada".into(),
                roles: vec!["analyst".parse().unwrap()],
                databases: vec![],
                expires_at: Some(now().plus(Duration::from_secs(3_600))),
                allowed_cidrs: vec![],
                staleness: Staleness::Standard,
                limits,
            };
            (self.token.id(), Arc::new(token))
        });
        self.holder.publish(Arc::new(Snapshot {
            epoch: Epoch([1; 16]),
            revision: Revision(revision),
            settings: Arc::new(Settings::new(Peppers::first(pepper))),
            databases: [(database.name.clone(), Arc::new(database))].into(),
            credentials: [("shop".parse().unwrap(), Arc::new(credential))].into(),
            roles: [("analyst".parse().unwrap(), Arc::new(role))].into(),
            tokens: token.into_iter().collect::<HashMap<_, _>>(),
        }));
        self.holder.confirm(self.holder.now());
    }

    pub(crate) fn parts(&self) -> Parts {
        parts(&format!("Bearer {}", self.token.expose()))
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> ToolResult {
        let admitted = self.handler.admit(&self.parts()).await.unwrap();
        let call = tool_call(tool, arguments);
        match self.handler.call_tool(&admitted, call).await {
            Outcome::Done(result) => result,
            other => panic!("{other:?}"),
        }
    }

    /// Rows of a statement that must succeed.
    pub(crate) async fn query(&self, sql: &str) -> Value {
        let result = self.call("query_database", json!({ "sql": sql })).await;
        assert!(!result.is_error, "{sql}: {}", text(&result));
        structured(&result)
    }

    /// The text of a statement that must fail.
    pub(crate) async fn refused(&self, sql: &str) -> String {
        let result = self.call("query_database", json!({ "sql": sql })).await;
        assert!(result.is_error, "{sql}: {}", text(&result));
        text(&result)
    }

    /// Statements of calls that run on the server now.
    pub(crate) async fn running(&self) -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity
             WHERE usename = 'reader' AND state <> 'idle' AND application_name NOT LIKE 'nla-catalog/%'";
        self.admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Waits until so many run.
    pub(crate) async fn until_running(&self, expected: i64) {
        let began = Instant::now();
        while self.running().await != expected {
            assert!(began.elapsed() < SOON, "{} statements run, expected {expected}", self.running().await);
            tokio::task::yield_now().await;
        }
    }

    /// Pools outside of the pipeline, for what the guard would refuse.
    pub(crate) fn pools(&self) -> Pools {
        Pools::new(PoolSettings {
            connection: ConnectionSettings {
                application_name: "nla/test".into(),
                connect_timeout: Duration::from_secs(5),
            },
            wait_timeout: Duration::from_millis(200),
            idle_timeout: Duration::from_secs(60),
        })
    }

    pub(crate) fn grant(&self, database: Database, credential: Credential) -> Grant {
        let snapshot = self.holder.current().unwrap();
        let role = snapshot.roles.values().next().unwrap().clone();
        Grant {
            limits: database.limits,
            database: Arc::new(database),
            credential: Arc::new(credential),
            role,
            allow_explain_analyze: true,
            sql_audit: SqlAudit::Full,
        }
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock.now()
}

pub(crate) fn parts(authorization: &str) -> Parts {
    let mut request = http::Request::builder().method("POST").uri("/mcp").body(()).unwrap();
    if !authorization.is_empty() {
        request.headers_mut().insert("authorization", authorization.parse().unwrap());
    }
    request.extensions_mut().insert(ClientAddress(IpAddr::from([127, 0, 0, 1])));
    request.into_parts().0
}

pub(crate) fn context() -> Context {
    Context {
        request_id: Default::default(),
        version: Version::V2026_07_28,
        client_name: Some("test".into()),
        client_capabilities: Arc::default(),
        traceparent: None,
        cancel: Default::default(),
        deadline: tokio::time::Instant::now() + Duration::from_secs(120),
        notify: Notifier::default(),
    }
}

pub(crate) fn tool_call(tool: &str, arguments: Value) -> ToolCall {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    ToolCall { name: tool.into(), arguments, retry: Retry::default(), context: context() }
}

pub(crate) fn text(result: &ToolResult) -> String {
    result.content.iter().filter_map(|block| block.as_text()).map(|block| block.text.clone()).collect()
}

pub(crate) fn structured(result: &ToolResult) -> Value {
    serde_json::from_slice(result.structured.as_ref().unwrap().as_bytes()).unwrap()
}
