//! Server certificates, good and bad, under each sslmode. One server presents
//! one after the other; each case has a database of its own, so none gets a
//! connection that an earlier one has made.

use std::fs;

use nla_proto::v1;
use nla_sandbox::{mcp::McpClient, system::wait_for};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::json;

use super::bench::{Bench, Case, ask};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str, parent: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = parent.is_some();
    let key = KeyPair::generate().unwrap();
    let made = match parent {
        Some(parent) => params.signed_by(&key, &parent.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority { pem: made.pem(), issuer: Issuer::new(params, key) }
}

/// What the server presents: its chain and its key.
struct Presented {
    chain: String,
    key: String,
}

/// A certificate for a server of these names.
fn server(names: &[&str], issuer: Option<&Authority>, change: impl FnOnce(&mut CertificateParams)) -> Presented {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(DnType::CommonName, names[0]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let made = match issuer {
        Some(issuer) => params.signed_by(&key, &issuer.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Presented { chain: made.pem(), key: key.serialize_pem() }
}

/// Lets the server present another certificate to new connections. The files
/// keep owner and mode.
async fn present(bench: &Bench, presented: &Presented) {
    let folder = bench.sandbox.sample.postgres.folder().join("tls");
    fs::write(folder.join("server.pem"), &presented.chain).unwrap();
    fs::write(folder.join("server.key"), &presented.key).unwrap();
    reload(bench).await;
}

async fn reload(bench: &Bench) {
    let loaded = "SELECT pg_conf_load_time()::text";
    let text = async || bench.admin.query_one(loaded, &[]).await.unwrap().get::<_, String>(0);
    let before = text().await;
    bench.admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    // The postmaster reloads before its backends do: then new connections get it.
    wait_for("the new settings", || async { text().await != before }).await.unwrap();
}

const LOOPBACK: [&str; 2] = ["127.0.0.1", "localhost"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_sslmode_says_what_is_wrong() {
    let bench = Bench::start().await;
    let (root, other) = (authority("root", None), authority("other root", None));
    let middle = authority("middle", Some(&root));
    let plain = |_: &mut CertificateParams| ();
    let expired = |params: &mut CertificateParams| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    };
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let is_authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let by_middle = server(&LOOPBACK, Some(&middle), plain);
    let whole = Presented { chain: by_middle.chain.clone() + &middle.pem, key: by_middle.key.clone() };
    let (own, own_late) = (server(&LOOPBACK, None, plain), server(&LOOPBACK, None, expired));
    let own_ca = server(&LOOPBACK, None, is_authority);
    let (own_pem, own_late_pem, own_ca_pem) = (own.chain.clone(), own_late.chain.clone(), own_ca.chain.clone());

    let issuer = Some(("tls", "was not issued by the configured root certificate"));
    let name = Some(("tls", "is for another host name"));
    let late = Some(("tls", "has expired"));
    let not_yet = Some(("tls", "is not valid yet"));
    // What is presented; the configured root; what verify-full, verify-ca and require say.
    let table = [
        ("good", server(&LOOPBACK, Some(&root), plain), &root.pem, [None, None, None]),
        ("other-issuer", server(&LOOPBACK, Some(&other), plain), &root.pem, [issuer, issuer, None]),
        ("other-name", server(&["db.example.com"], Some(&root), plain), &root.pem, [name, None, None]),
        ("expired", server(&LOOPBACK, Some(&root), expired), &root.pem, [late, late, None]),
        ("early", server(&LOOPBACK, Some(&root), early), &root.pem, [not_yet, not_yet, None]),
        ("whole-chain", whole, &root.pem, [None, None, None]),
        ("chain-cut-off", by_middle, &root.pem, [issuer, issuer, None]),
        ("own-root", own, &own_pem, [None, None, None]),
        ("own-root-authority", own_ca, &own_ca_pem, [None, None, None]),
        ("own-root-expired", own_late, &own_late_pem, [late, late, None]),
    ];
    let modes = [v1::SslMode::VerifyFull, v1::SslMode::VerifyCa, v1::SslMode::Require];
    for (what, presented, root, verdicts) in table {
        present(&bench, &presented).await;
        let cases: Vec<Case> = modes
            .iter()
            .zip(verdicts)
            .enumerate()
            .map(|(at, (mode, fails))| Case {
                fails,
                ..bench.case(&format!("{what}-{at}"), |database| {
                    database.sslmode = (*mode).into();
                    database.root_certificate_pem.clone_from(root);
                })
            })
            .collect();
        let client = bench.define(&cases).await;
        for case in &cases {
            bench.check(&client, case).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mended_certificate_is_used_at_once() {
    let bench = Bench::start().await;
    let root = authority("root", None);
    let good = server(&LOOPBACK, Some(&root), |_| ());
    let late = server(&LOOPBACK, Some(&root), |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    });
    let verified = |fails| Case {
        fails,
        ..bench.case("verified", |database| database.root_certificate_pem.clone_from(&root.pem))
    };
    let cases = [verified(Some(("tls", "has expired")))];
    present(&bench, &late).await;
    let client = bench.define(&cases).await;
    bench.check(&client, &cases[0]).await;
    present(&bench, &good).await;
    mended(&bench, &client, "verified").await;

    // Without TLS there is no way around it, and back.
    set_ssl(&bench, "off").await;
    let cases = [
        Case {
            fails: Some(("tls", "does not offer TLS")),
            ..bench.case("needs-tls", |database| database.root_certificate_pem.clone_from(&root.pem))
        },
        bench.case("needs-none", |database| {
            database.sslmode = v1::SslMode::Disable.into();
            database.root_certificate_pem = String::new();
        }),
    ];
    let client = bench.define(&cases).await;
    for case in &cases {
        bench.check(&client, case).await;
    }
    set_ssl(&bench, "on").await;
    mended(&bench, &client, "needs-tls").await;
}

async fn set_ssl(bench: &Bench, value: &str) {
    bench.admin.batch_execute(&format!("ALTER SYSTEM SET ssl = {value}")).await.unwrap();
    reload(bench).await;
}

/// The cause is gone: calls are answered again, and nobody did anything.
async fn mended(bench: &Bench, client: &McpClient, name: &str) {
    wait_for("an answer after the cause is gone", || async {
        ask(client, name, "SELECT 41 + 1").await["structuredContent"]["rows"] == json!([[42]])
    })
    .await
    .unwrap();
    let probe = bench.probe(name).await;
    assert!(probe.ok && probe.tls.contains("TLSv1.3"), "{probe:?}");
}
