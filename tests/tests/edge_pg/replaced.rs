//! A database that was removed and made again while nobody looked: its
//! credential is another one of the same generation.

use nla_domain::{credential::Credential, database::DatabaseLimits};
use serde_json::json;

use super::bench::{AMPLE, Bench};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_credential_of_an_old_generation_is_used() {
    let limits = DatabaseLimits::default();
    let bench = Bench::start(limits).await;
    assert_eq!(bench.query("SELECT current_user").await["rows"], json!([["reader"]]));

    bench.admin.batch_execute("CREATE ROLE other LOGIN PASSWORD 'other secret'").await.unwrap();
    let other = Credential { username: "other".into(), ..bench.credential("other secret", 1) };
    bench.publish(2, bench.database(limits), other.clone(), Some(AMPLE));
    assert_eq!(bench.query("SELECT current_user").await["rows"], json!([["other"]]));

    // What the role may do is read anew as well: the earlier one was harmless.
    bench.admin.batch_execute("CREATE ROLE root LOGIN SUPERUSER PASSWORD 'root secret'").await.unwrap();
    let root = Credential { username: "root".into(), ..bench.credential("root secret", 1) };
    bench.publish(3, bench.database(limits), root, Some(AMPLE));
    let refused = bench.refused("SELECT current_user").await;
    assert!(refused.contains("is a superuser"), "{refused}");
    bench.publish(4, bench.database(limits), other, Some(AMPLE));
    assert_eq!(bench.query("SELECT current_user").await["rows"], json!([["other"]]));
}
