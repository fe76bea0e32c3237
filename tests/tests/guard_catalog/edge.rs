//! The corpus of `own.sql` through a real edge, as superuser and as the owner of
//! everything in it: what the guard would miss, these two could do.

use nla_domain::secret::Secret;
use nla_proto::v1;
use nla_sandbox::{
    sample,
    system::{Sandbox, analyst, sample_database},
};
use nla_tests::traces::traces;
use serde_json::json;

use super::corpus::{SETUP, cases, touched};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_knows_what_the_database_holds_and_nothing_changes() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let postgres = &sandbox.sample.postgres;
    let admin = postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    let password = Secret::new("the owner's password");
    let prepare = format!(
        "ALTER ROLE {owner} LOGIN PASSWORD '{}'; ALTER DATABASE {database} SET search_path = own, public;
         GRANT CREATE ON DATABASE {database} TO {owner}; SET SESSION AUTHORIZATION {owner}; {SETUP};
         RESET SESSION AUTHORIZATION",
        password.expose().replace('\'', "''"),
        owner = sample::OWNER,
        database = sample::DATABASE,
    );
    admin.batch_execute(&prepare).await.unwrap_or_else(|error| panic!("{error:?}"));

    let mut clients = Vec::new();
    for (name, user, password) in
        [("as-superuser", postgres.superuser(), postgres.superuser_password()), ("as-owner", sample::OWNER, &password)]
    {
        let database = v1::Database {
            name: name.into(),
            // The corpus shows what holds when the role may do everything.
            role_policy: v1::RolePolicy::Warn.into(),
            ..sample_database(postgres).unwrap()
        };
        sandbox.admin.create_database(database).await.unwrap();
        sandbox.admin.set_credential(name, user, password).await.unwrap();
        sandbox.admin.create_role(analyst(name, &[name])).await.unwrap();
        let wanted = v1::CreateTokenRequest {
            owner: "tests@example.com".into(),
            purpose: "the corpus".into(),
            roles: vec![name.into()],
            limits: Some(v1::TokenLimits { calls_per_second: 1_000, burst: 1_000, concurrent_calls: 100 }),
            ..Default::default()
        };
        let (_, token) = sandbox.admin.create_token(wanted).await.unwrap();
        clients.push((name, sandbox.client(0, &token).unwrap()));
    }
    sandbox.settled().await.unwrap();
    for (_, client) in &clients {
        client.query("SELECT 1").await.unwrap();
    }
    let before = (touched(&admin).await, traces(&admin).await.unwrap());

    let mut wrong = Vec::new();
    for (name, client) in &clients {
        for case in cases() {
            let result = client.call("query_database", json!({ "sql": case.sql })).await.unwrap();
            let error = &result["_meta"]["nla/error"];
            let found = error["rule"].as_str();
            if found != case.refuse || (case.refuse.is_none() && result["isError"] == json!(true)) {
                wrong.push(format!("{name}: {}\n    must be {:?}: {error}", case.sql, case.refuse));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
    let after = (touched(&admin).await, traces(&admin).await.unwrap());
    assert_eq!(before, after);
}
