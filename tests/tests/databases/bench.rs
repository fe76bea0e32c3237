//! An edge that knows several databases, a model that asks each of them, and an
//! operator who probes them.

use std::time::Duration;

use nla_domain::secret::Secret;
use nla_proto::v1::{self, databases_client::DatabasesClient};
use nla_sandbox::{
    mcp::McpClient,
    sample,
    system::{Sandbox, analyst, sample_database},
};
use serde_json::{Value, json};
use tokio_postgres::Client;

/// One edge in front of the sample.
pub(crate) struct Bench {
    pub(crate) sandbox: Sandbox,
    /// The superuser, looking from outside.
    pub(crate) admin: Client,
}

/// A database that works or says why not.
pub(crate) struct Case {
    /// The sample's definition with something changed.
    pub(crate) database: v1::Database,
    /// Who logs in.
    pub(crate) login: (String, Secret),
    /// The step and a part of the reason; `None` where it works.
    pub(crate) fails: Option<(&'static str, &'static str)>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        let sandbox = Sandbox::with_edges(1).await.unwrap();
        let admin = sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
        Self { sandbox, admin }
    }

    /// The sample under a name, with a change, for its reader.
    pub(crate) fn case(&self, name: &str, change: impl FnOnce(&mut v1::Database)) -> Case {
        let mut database =
            v1::Database { name: name.into(), ..sample_database(&self.sandbox.sample.postgres).unwrap() };
        change(&mut database);
        let login = &self.sandbox.sample.sample;
        Case { database, login: (login.reader.into(), login.reader_password.clone()), fails: None }
    }

    /// Defines the databases, and gives a client that may use them all.
    pub(crate) async fn define(&self, cases: &[Case]) -> McpClient {
        let admin = &self.sandbox.admin;
        for Case { database, login: (login, password), .. } in cases {
            admin
                .create_database(database.clone())
                .await
                .unwrap_or_else(|error| panic!("{}: {error:?}", database.name));
            admin.set_credential(&database.name, login, password).await.unwrap();
        }
        let names: Vec<&str> = cases.iter().map(|case| case.database.name.as_str()).collect();
        self.client(&names).await
    }

    /// A client with a role of its own that may use these databases.
    pub(crate) async fn client(&self, names: &[&str]) -> McpClient {
        let admin = &self.sandbox.admin;
        let role = format!("role-{}", nla_sandbox::system::idempotency_key().split_at(8).0);
        admin.create_role(analyst(&role, names)).await.unwrap();
        let request = v1::CreateTokenRequest {
            owner: "tests@example.com".into(),
            purpose: "tests".into(),
            roles: vec![role],
            limits: Some(v1::TokenLimits { calls_per_second: 10_000, burst: 10_000, concurrent_calls: 100 }),
            ..Default::default()
        };
        let (_, secret) = admin.create_token(request).await.unwrap();
        self.sandbox.settled().await.unwrap();
        self.sandbox.client(0, &secret).unwrap()
    }

    /// What `nlactl database test` shows of the one edge.
    pub(crate) async fn probe(&self, name: &str) -> v1::ProbeResult {
        let request = v1::TestDatabaseRequest { name: name.into(), edge_id: String::new() };
        let answer = DatabasesClient::new(self.sandbox.admin.channel()).test(request).await.unwrap().into_inner();
        answer.edges.into_iter().next().unwrap().result.unwrap_or_else(|| panic!("{name}: the edge did not answer"))
    }

    /// That the database works, or fails as it says, for model and operator
    /// alike, and that neither is told where and as whom the edge connects.
    pub(crate) async fn check(&self, client: &McpClient, case: &Case) {
        let name = &case.database.name;
        let (result, probe) = tokio::join!(ask(client, name, "SELECT 41 + 1"), self.probe(name));
        let Some((stage, part)) = case.fails else {
            assert_eq!(result["structuredContent"]["rows"], json!([[42]]), "{name}: {result}");
            assert!(probe.ok && probe.error.is_empty(), "{name}: {probe:?}");
            return;
        };
        let error = &result["_meta"]["nla/error"];
        assert_eq!(
            (&result["isError"], &error["code"]),
            (&json!(true), &json!("database_unavailable")),
            "{name}: {result}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(part), "{name}: {message}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("operator")), "{name}: {error}");
        assert_eq!((probe.ok, probe.stage.as_str()), (false, stage), "{name}: {probe:?}");
        assert!(probe.error.contains(part), "{name}: {probe:?}");
        for told in [result.to_string(), format!("{probe:?}")] {
            let Case { database, login: (login, password), .. } = case;
            let secrets = [&database.host, &database.port.to_string(), login, password.expose(), "/tmp", ".pem"];
            for secret in secrets {
                assert!(!told.contains(secret), "{name}: {secret}: {told}");
            }
        }
    }
}

/// The result of a query of one of several databases.
pub(crate) async fn ask(client: &McpClient, database: &str, sql: &str) -> Value {
    let call = client.call("query_database", json!({ "sql": sql, "database": database }));
    let result = tokio::time::timeout(Duration::from_secs(60), call).await;
    result.unwrap_or_else(|_| panic!("no answer: {sql}")).unwrap()
}
