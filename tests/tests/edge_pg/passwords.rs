//! The ways in which a server may ask for a password.

use nla_domain::database::{DatabaseLimits, SslMode};
use nla_edge::pg::PgError;

use super::bench::{Bench, SOON};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_in_clear_text_needs_tls() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    let hba: String = bench.admin.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
    let rest = std::fs::read_to_string(&hba).unwrap();
    bench
        .admin
        .batch_execute("SET password_encryption = md5; CREATE ROLE older LOGIN PASSWORD 'older secret'")
        .await
        .unwrap();
    let cases = [
        ("scram-sha-256", "reader", "reader secret", SslMode::Disable, None),
        ("scram-sha-256", "reader", "reader secret", SslMode::VerifyFull, None),
        ("scram-sha-256", "reader", "wrong", SslMode::VerifyFull, Some("refused the configured credential")),
        ("scram-sha-256", "reader", "", SslMode::VerifyFull, Some("refused the configured credential")),
        ("password", "reader", "reader secret", SslMode::Disable, Some("clear text, which is sent over TLS only")),
        ("password", "reader", "reader secret", SslMode::VerifyFull, None),
        ("password", "reader", "wrong", SslMode::VerifyFull, Some("refused the configured credential")),
        ("md5", "older", "older secret", SslMode::Disable, None),
        ("md5", "older", "older secret", SslMode::VerifyFull, None),
        ("md5", "older", "wrong", SslMode::VerifyFull, Some("refused the configured credential")),
        ("md5", "reader", "reader secret", SslMode::VerifyFull, None),
        ("trust", "reader", "wrong", SslMode::Disable, None),
        ("reject", "reader", "reader secret", SslMode::Disable, Some("refused the configured credential")),
    ];
    for (method, user, password, sslmode, refused) in cases {
        let line = format!("host all {user} 127.0.0.1/32 {method}\n");
        std::fs::write(&hba, format!("{line}{rest}")).unwrap();
        reload(&bench).await;

        let mut database = bench.database(DatabaseLimits::default());
        database.sslmode = sslmode;
        let mut credential = bench.credential(password, 1);
        credential.username = user.into();
        let what = format!("{method} {password:?} {sslmode}");
        let grant = bench.grant(database.clone(), credential.clone());
        match (bench.pools().lease(bench.token.id(), &grant).await, refused) {
            (Ok(_), None) => {}
            (Err(PgError::Unavailable(error)), Some(part)) => {
                assert!(error.to_string().contains(part), "{what}: {error}");
            }
            (result, _) => panic!("{what}: {result:?}, expected {refused:?}"),
        }
    }
}

/// Returns when new connections are under the new rules.
async fn reload(bench: &Bench) {
    // Before the server is told: it may be done by the time that it answers.
    let before: String = bench.admin.query_one("SELECT clock_timestamp()::text", &[]).await.unwrap().get(0);
    bench.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let began = std::time::Instant::now();
    loop {
        let fresh = bench.postgres.connect_as_superuser("postgres").await.unwrap();
        let loaded = format!("SELECT pg_conf_load_time() >= timestamptz '{before}'");
        if fresh.query_one(&loaded, &[]).await.unwrap().get(0) {
            return;
        }
        assert!(began.elapsed() < SOON, "the server has not read its rules");
    }
}
