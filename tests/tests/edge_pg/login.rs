//! TLS in its four modes, and what a failed connection says.

use std::num::NonZeroU16;

use nla_domain::database::{Database, DatabaseLimits, SslMode};
use nla_edge::pg::PgError;

use super::bench::Bench;

/// Another authority's certificate (self-signed).
fn other_root() -> String {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
        .args(["-subj", "/CN=other", "-keyout"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslmodes_and_failures() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    let good = bench.database(DatabaseLimits::default());
    let root = good.root_certificate_pem.clone();
    let other = Some(other_root());
    // The same server under an address that its certificate does not name.
    let unnamed = "::ffff:127.0.0.1";
    let with = |host: &str, sslmode, root_certificate_pem: &Option<String>| {
        let mut database = good.clone();
        database.endpoint.host = host.into();
        database.sslmode = sslmode;
        database.root_certificate_pem = root_certificate_pem.clone();
        database
    };
    let garbage = Some("not a certificate".to_owned());
    let cases: Vec<(Database, Option<&str>)> = vec![
        (with("127.0.0.1", SslMode::Disable, &None), None),
        (with("127.0.0.1", SslMode::Require, &None), None),
        (with(unnamed, SslMode::Require, &other), None),
        (with("127.0.0.1", SslMode::VerifyCa, &root), None),
        (with(unnamed, SslMode::VerifyCa, &root), None),
        (with("127.0.0.1", SslMode::VerifyCa, &other), Some("was not issued by")),
        (with("127.0.0.1", SslMode::VerifyFull, &root), None),
        (with("localhost", SslMode::VerifyFull, &root), None),
        (with(unnamed, SslMode::VerifyFull, &root), Some("is for another host name")),
        (with("127.0.0.1", SslMode::VerifyFull, &other), Some("was not issued by")),
        (with("127.0.0.1", SslMode::VerifyFull, &garbage), Some("is not a PEM file")),
        (with("127.0.0.1", SslMode::VerifyFull, &None), Some("no root certificate")),
        (with("no-such-host.invalid", SslMode::VerifyFull, &root), Some("cannot be resolved")),
    ];
    for (database, refused) in cases {
        let what = format!("{} {}", database.endpoint.host, database.sslmode);
        let pools = bench.pools();
        let grant = bench.grant(database, bench.credential("reader secret", 1));
        match (pools.lease(bench.token.id(), &grant).await, refused) {
            (Ok(_), None) => {}
            (Err(PgError::Unavailable(error)), Some(part)) => {
                let text = error.to_string();
                assert!(text.contains(part), "{what}: {text}");
                assert!(!text.contains("127.0.0.1") && !text.contains("reader"), "{what}: {text}");
            }
            (result, _) => panic!("{what}: {result:?}, expected {refused:?}"),
        }
    }

    let mut nobody = good.clone();
    nobody.endpoint.port = NonZeroU16::MIN;
    let mut nowhere = good.clone();
    nowhere.dbname = "nowhere".into();
    for (database, part) in [(nobody, "does not accept connections"), (nowhere, "no database of the configured name")] {
        let grant = bench.grant(database, bench.credential("reader secret", 1));
        let error = bench.pools().lease(bench.token.id(), &grant).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    for sql in ["ALTER SYSTEM SET ssl = off", "SELECT pg_reload_conf()"] {
        bench.admin.batch_execute(sql).await.unwrap();
    }
    let began = std::time::Instant::now();
    loop {
        let grant = bench.grant(good.clone(), bench.credential("reader secret", 1));
        let result = bench.pools().lease(bench.token.id(), &grant).await;
        if let Err(error) = result {
            assert!(error.to_string().contains("does not offer TLS"), "{error}");
            break;
        }
        assert!(began.elapsed() < super::bench::SOON);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_reports_steps_and_rights() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    let name = "shop".parse().unwrap();
    let probe = bench.pipeline.probe(&name).await;
    assert!(probe.ok, "{probe:?}");
    assert!(probe.tls.contains("TLSv1.3") && probe.tls.contains("verify-full"), "{probe:?}");
    assert!(probe.warnings.iter().any(|warning| warning.contains("temporary tables")), "{probe:?}");

    bench.admin.batch_execute("ALTER ROLE reader BYPASSRLS; GRANT pg_monitor TO reader").await.unwrap();
    let probe = bench.pipeline.probe(&name).await;
    assert!(probe.warnings.iter().any(|warning| warning.contains("BYPASSRLS")), "{probe:?}");
    assert!(probe.warnings.iter().any(|warning| warning.contains("pg_monitor")), "{probe:?}");

    bench.publish(2, bench.database(DatabaseLimits::default()), bench.credential("wrong", 2), None);
    let probe = bench.pipeline.probe(&name).await;
    assert_eq!((probe.ok, probe.stage.as_str()), (false, "authenticate"), "{probe:?}");
    assert!(!probe.error.contains("wrong") && !probe.error.contains("reader"), "{probe:?}");
    assert!(!bench.pipeline.probe(&"other".parse().unwrap()).await.ok);
}
