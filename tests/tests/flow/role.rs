//! A database role that may do more than read, from the operator's credential to
//! the audit log.

use nla_proto::v1;
use nla_sandbox::{
    sample,
    system::{Sandbox, sample_database},
};
use serde_json::json;

use super::calls::{error, event, query, request_id, token};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_superuser_is_refused_recorded_and_reported() {
    let sandbox = Sandbox::with_edges(1).await.unwrap();
    let postgres = &sandbox.sample.postgres;
    sandbox.admin.set_credential(sample::DATABASE, postgres.superuser(), postgres.superuser_password()).await.unwrap();
    let (_, secret) = token(&sandbox, &["analyst"], |_| ()).await;
    let client = sandbox.client(0, &secret).unwrap();
    let answer = query(&client, "SELECT 1").await;
    let refused = error(&answer.body["result"]);
    assert_eq!(refused["code"], "database_role_refused", "{refused}");
    let event = event(&sandbox, &request_id(&answer)).await;
    assert_eq!((event.reason.as_str(), event.rule.as_str()), ("database_role_refused", "database_role.superuser"));
    assert_eq!((event.database.as_str(), event.sql.is_some()), (sample::DATABASE, true), "{event:?}");

    let ready = axum::http::Request::get(format!("https://{}/readyz", sandbox.edges[0].address()));
    let report = client.send(ready.body(Default::default()).unwrap()).await.unwrap();
    assert_eq!((report.status.as_u16(), &report.body["ready"]), (200, &json!(true)), "{report:?}");
    let database = &report.body["databases"][0];
    assert_eq!((&database["name"], &database["state"]), (&json!("shop"), &json!("refused")), "{database}");
    assert!(database["warnings"][0].as_str().unwrap().contains("superuser"), "{database}");
    assert!(database["relations"].as_u64().unwrap() > 5 && database["age_seconds"].is_f64(), "{database}");
    assert!(!report.body.to_string().contains("127.0.0.1"), "{}", report.body);

    // Where the operator has decided so, it is used and reported.
    let database = v1::Database {
        name: "allowed".into(),
        role_policy: v1::RolePolicy::Warn.into(),
        ..sample_database(postgres).unwrap()
    };
    sandbox.admin.create_database(database).await.unwrap();
    sandbox.admin.set_credential("allowed", postgres.superuser(), postgres.superuser_password()).await.unwrap();
    let role = nla_sandbox::system::analyst("trusting", &["allowed"]);
    sandbox.admin.create_role(role).await.unwrap();
    let (_, secret) = token(&sandbox, &["trusting"], |_| ()).await;
    let answer = query(&sandbox.client(0, &secret).unwrap(), "SELECT 1").await;
    assert_eq!(answer.body["result"]["structuredContent"]["rows"], json!([[1]]), "{}", answer.body);
}
