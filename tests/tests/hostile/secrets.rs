//! Secrets stay where they belong: out of logs, answers, the audit log and
//! readable files. The log of this whole program is taken at its finest level.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use nla_control_plane::{
    crypto::Kek,
    store::{Store, StoreOptions},
};
use nla_domain::{clock::SystemClock, secret::Secret, token::TokenText};
use nla_proto::v1;
use nla_sandbox::{
    sample,
    system::{Edge, idempotency_key, wait_for},
};
use nla_tests::leaks::{Captured, files_below};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use super::bench::{Bench, wanted};

/// The forms in which a secret could lie somewhere.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    use base64::Engine as _;
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{secret:?}").trim_matches(['[', ']']).to_owned();
    let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(secret);
    vec![
        secret.to_vec(),
        hex.to_ascii_uppercase().into_bytes(),
        hex.into_bytes(),
        list.into_bytes(),
        base64.into_bytes(),
    ]
}

fn find(place: &str, content: &[u8], secrets: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, secret) in secrets {
        for (number, form) in forms(secret).iter().enumerate() {
            // Short ones would be found by chance.
            assert!(form.len() >= 12, "{name}");
            if content.windows(form.len()).any(|window| window == form) {
                found.push(format!("{name} (form {number}) in {place}"));
            }
        }
    }
    found
}

/// The part of a token that is secret, in case only it leaks.
fn secret_part(token: &str) -> String {
    token.split('_').nth(2).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_appear_nowhere() {
    let captured = Captured::default();
    let filter = EnvFilter::new(
        "warn,nla_control_plane=trace,nla_edge=trace,nla_proto=trace,nla_domain=trace,nla_guard=trace,nla_sandbox=trace",
    );
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(captured.clone()).init();
    let mut bench = Bench::start().await;
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    let mut keep = |name: &str, text: &str| secrets.push((name.to_owned(), text.as_bytes().to_vec()));
    let mut answers = Vec::new();
    let admin = bench.sandbox.admin.clone();

    // Tokens: made, used, rotated, revoked, refused.
    let (view, token) = admin.create_token(wanted(&["analyst"])).await.unwrap();
    bench.sandbox.settled().await.unwrap();
    keep("token", token.expose());
    keep("token's secret", &secret_part(token.expose()));
    let client = bench.sandbox.client(0, &token).unwrap();
    client.query("SELECT 1").await.unwrap();
    let rotated = v1::tokens_client::TokensClient::new(admin.channel())
        .rotate(v1::RotateTokenRequest {
            idempotency_key: idempotency_key(),
            id: view.id.clone(),
            ..Default::default()
        })
        .await;
    let successor = rotated.unwrap().into_inner();
    keep("successor", &successor.token_text);
    keep("successor's secret", &secret_part(&successor.token_text));
    admin.revoke_token(&successor.token.unwrap().id).await.unwrap();
    bench.sandbox.settled().await.unwrap();
    // The right id with another secret, and a token that nobody made.
    let stranger = TokenText::generate().unwrap();
    keep("stranger", stranger.expose());
    keep("stranger's secret", &secret_part(stranger.expose()));
    let cut = token.expose()[..token.expose().len() - 1].to_owned();
    keep("cut token", &cut);
    for refused in [stranger.expose(), &successor.token_text, &cut, token.expose()] {
        let client = bench.client.with_token(Some(Secret::new(refused)));
        let answer = client.request("tools/list", json!({})).await.unwrap();
        answers.push(format!("{:?} {}", answer.headers, answer.body));
        assert_eq!(answer.status, 401, "{}", answer.body);
    }

    // Passwords: a wrong one, a new one, and one that a URL holds by mistake.
    let (wrong, new) = ("wrong-password-Zq81", "new-password-Kx52'\"");
    let reader_password = bench.sandbox.sample.sample.reader_password.clone();
    keep("reader's password", reader_password.expose());
    keep("superuser's password", bench.sandbox.sample.postgres.superuser_password().expose());
    keep("wrong password", wrong);
    keep("new password", new);
    admin.set_credential(sample::DATABASE, sample::READER, &Secret::new(wrong)).await.unwrap();
    bench.sandbox.settled().await.unwrap();
    let failed = bench.client.call("query_database", json!({ "sql": "SELECT 1" })).await.unwrap();
    assert_eq!(failed["isError"], true, "{failed}");
    answers.push(failed.to_string());
    let superuser = bench.sandbox.sample.postgres.connect_as_superuser("postgres").await.unwrap();
    let quoted = new.replace('\'', "''");
    superuser.batch_execute(&format!("ALTER ROLE {} PASSWORD '{quoted}'", sample::READER)).await.unwrap();
    admin.set_credential(sample::DATABASE, sample::READER, &Secret::new(new)).await.unwrap();
    bench.sandbox.settled().await.unwrap();
    bench.client.query("SELECT 1").await.unwrap();
    bench.still_good("a new password").await;
    let refused = admin.set_credential("no-such-database", sample::READER, &Secret::new(wrong)).await.unwrap_err();
    answers.push(format!("{refused} {refused:?}"));

    // Join tokens: used, used twice, damaged.
    let join = admin.join_token("edge-2").await.unwrap();
    keep("join token", join.expose());
    let folder = |name: &str| bench.sandbox.folder().join(name);
    let (plane, web) = (&bench.sandbox.control_plane, &bench.sandbox.web);
    let mut edge = Edge::start("edge-2", &folder("edge-2"), plane, web, join.clone()).await.unwrap();
    let again = Edge::start("edge-2", &folder("edge-3"), plane, web, join.clone()).await.unwrap_err();
    answers.push(format!("{again:#} {again:?}"));
    let damaged = join.expose()[..join.expose().len() - 1].to_owned();
    let damaged = Edge::start("edge-4", &folder("edge-4"), plane, web, Secret::new(damaged)).await.unwrap_err();
    answers.push(format!("{damaged:#} {damaged:?}"));
    edge.stop().await.unwrap();

    wait_for("the last event", || async {
        !admin.audit(v1::AuditFilter { rule: "auth.malformed".into(), ..Default::default() }).await.unwrap().is_empty()
    })
    .await
    .unwrap();
    let events = admin.audit(v1::AuditFilter::default()).await.unwrap();
    assert!(events.len() > 10);
    let events: String = events.iter().map(|event| format!("{event:#?}")).collect();
    let listed = v1::tokens_client::TokensClient::new(admin.channel())
        .list(v1::ListTokensRequest { include_ended: true, ..Default::default() })
        .await
        .unwrap();
    answers.push(format!("{listed:?}"));

    // The pepper, read as only the holder of the key can.
    for edge in &mut bench.sandbox.edges {
        edge.stop().await.unwrap();
    }
    bench.sandbox.control_plane.stop().await.unwrap();
    let config = bench.sandbox.control_plane.config_mut().clone();
    let (data, key_file) = (config.data_dir, config.key_file);
    let kek = Kek::load(&key_file, &data).unwrap();
    let store = Store::open(StoreOptions::new(&data, Arc::new(SystemClock)), &kek).unwrap();
    let pepper = store.state().settings.value.peppers.newest().1.expose().to_vec();
    store.close().await;
    secrets.push(("pepper".into(), pepper));

    let mut found = Vec::new();
    let log = captured.text();
    let text = String::from_utf8_lossy(&log);
    assert!(
        text.contains("control plane serves") && text.contains("listening for MCP clients"),
        "nothing was captured"
    );
    found.extend(find("the log", &log, &secrets));
    found.extend(find("the audit log", events.as_bytes(), &secrets));
    found.extend(find("answers", answers.join("\n").as_bytes(), &secrets));

    assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let all = files_below(&bench.sandbox.folder());
    assert!(all.len() > 10, "{all:?}");
    let mut keys = 0;
    for path in &all {
        let content = fs::read(path).unwrap();
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let holds_key = content.windows(11).any(|window| window == b"PRIVATE KEY");
        if holds_key || *path == key_file || path.ends_with("join-token") {
            keys += 1;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
        // Operators put the join token there themselves.
        if !path.ends_with("join-token") {
            found.extend(find(&path.display().to_string(), &content, &secrets));
        }
        if path.starts_with(&data) {
            let plain = ["tests@example.com", sample::READER, "auth.malformed"];
            let clear: Vec<_> =
                plain.iter().filter(|word| content.windows(word.len()).any(|w| w == word.as_bytes())).collect();
            assert!(clear.is_empty(), "{clear:?} in {}", path.display());
        }
    }
    assert!(keys >= 4, "{keys} keys among {all:?}");
    assert!(found.is_empty(), "{found:#?}");
}
