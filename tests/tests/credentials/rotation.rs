//! Rotations under load: no call fails, the old role is shut, and no password
//! shows anywhere.

use std::{fs, time::Instant};

use nla_domain::secret::Secret;
use nla_proto::v1::RotationStep;
use nla_tests::leaks::{Captured, files_below};
use tracing_subscriber::EnvFilter;

use super::{
    bench::{Bench, MANAGER, PAIR, other},
    traffic::traffic,
};

/// As many as an ordinary run of the tests has time for; CI sets more.
const ROTATIONS: usize = 5;

fn holds(content: &[u8], secret: &Secret) -> bool {
    content.windows(secret.expose().len()).any(|window| window == secret.expose().as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_and_no_password_shows_while_credentials_rotate() {
    let rotations = std::env::var("NLA_ROTATIONS").map_or(ROTATIONS, |number| number.parse().unwrap());
    let captured = Captured::default();
    let logs = tracing_subscriber::fmt().with_writer(captured.clone()).with_ansi(false);
    logs.with_env_filter(EnvFilter::new("debug,h2=info,hyper_util=info")).init();
    let mut bench = Bench::configured(2).await;
    // The test itself has made roles with passwords in clear, which its driver logs.
    captured.clear();
    let mut passwords = vec![bench.manager_password.clone(), bench.sandbox.sample.sample.reader_password.clone()];
    let tokens = [bench.token().await, bench.token().await, bench.token().await];
    let clients = tokens.iter().flat_map(|token| [0, 1].map(|edge| bench.sandbox.client(edge, token).unwrap()));
    let traffic = traffic(clients.collect::<Vec<_>>());
    traffic.goes_on(20).await;

    let mut said = Vec::new();
    for number in 1..=rotations {
        bench.connected(2).await;
        let began = Instant::now();
        let run = bench.rotate(|_| ()).await;
        said.push(format!("{run:?}"));
        assert_eq!(run.step(), RotationStep::Done, "{run:?}");
        assert!(run.unreached_edges.is_empty() && run.failure.is_empty(), "{run:?}");
        assert_eq!((run.number, run.new_role.as_str()), (number as u64, PAIR[(number - 1) % 2]), "{run:?}");
        let old = other(&run.new_role);
        assert_eq!((bench.open(&run.new_role).await, bench.open(old).await), ((true, true), (false, false)));
        assert_eq!(bench.sessions(old).await, 0, "the old role has sessions");
        println!("rotation {number} took {:.2} s", began.elapsed().as_secs_f64());
        traffic.goes_on(10).await;
        for edge in 0..2 {
            assert_eq!(bench.user(edge, &tokens[0]).await, run.new_role);
        }
        passwords.push(bench.password().await);
    }
    let answered = traffic.end().await.len();
    println!("{answered} calls answered over {rotations} rotations, none failed");
    passwords.sort_by(|a, b| a.expose().cmp(b.expose()));
    let before = passwords.len();
    passwords.dedup();
    assert_eq!(passwords.len(), before, "a password came twice");

    let server_log = fs::read(bench.sandbox.sample.postgres.log_file()).unwrap();
    let shown = String::from_utf8_lossy(&server_log);
    assert!(shown.contains("WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:"), "the server does not log what was asked");
    let logged = captured.text();
    assert!(String::from_utf8_lossy(&logged).contains("a rotation has reached a step"), "nothing was captured");
    let events = bench.sandbox.admin.audit(nla_proto::v1::AuditFilter::default()).await.unwrap();
    let audit = events.iter().map(|event| format!("{event:#?}")).collect::<String>();
    assert!(audit.contains("verified-by-edge") && audit.contains(MANAGER), "the audit log tells no steps");
    let mut places = vec![
        ("PostgreSQL's log".to_owned(), server_log),
        ("the log".to_owned(), logged),
        ("the audit log".to_owned(), audit.into_bytes()),
        ("what was said".to_owned(), said.join("\n").into_bytes()),
    ];
    let all = files_below(&bench.sandbox.folder());
    assert!(all.len() > 10, "{all:?}");
    places.extend(all.into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap())));
    for (place, content) in places {
        let found = passwords.iter().filter(|password| holds(&content, password)).count();
        assert_eq!(found, 0, "passwords in {place}");
    }
}
