//! A control plane that is killed in the middle of its work.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use nla_proto::v1::{self, tokens_client::TokensClient};
use nla_sandbox::system::{Admin, wait_for};
use tokio::task::JoinSet;

use nla_tests::programs::plane::Plane;

const ROUNDS: usize = 3;
const WRITERS: usize = 8;
/// Each writer stops by then, killed or not.
const MOST_EACH: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill() {
    let (mut plane, _) = Plane::init();
    plane.start();
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    for round in 0..ROUNDS {
        let admin = Admin::connect(&plane.operator_dir()).await.unwrap();
        if round == 0 {
            admin.create_database(database()).await.unwrap();
            admin.create_role(nla_sandbox::system::analyst("reader", &["shop"])).await.unwrap();
        }
        let (before, failed) = (acknowledged.lock().unwrap().len(), Arc::new(AtomicUsize::new(0)));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (admin, acknowledged, failed) = (admin.clone(), Arc::clone(&acknowledged), Arc::clone(&failed));
            writers.spawn(async move {
                for _ in 0..MOST_EACH {
                    let request = v1::CreateTokenRequest {
                        owner: format!("writer-{writer}"),
                        purpose: "crash".into(),
                        roles: vec!["reader".into()],
                        ..Default::default()
                    };
                    let Ok((view, _)) = admin.create_token(request).await else {
                        failed.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    acknowledged.lock().unwrap().insert(view.id);
                }
            });
        }
        // Killed while all of them write.
        let enough = || async { acknowledged.lock().unwrap().len() >= before + 40 };
        wait_for("the first tokens", enough).await.unwrap();
        plane.kill();
        writers.join_all().await;
        assert_eq!(failed.load(Ordering::Relaxed), WRITERS, "it was killed too late");

        plane.start();
        let admin = Admin::connect(&plane.operator_dir()).await.unwrap();
        let listed = TokensClient::new(admin.channel()).list(v1::ListTokensRequest::default()).await.unwrap();
        let there: BTreeSet<_> = listed.into_inner().tokens.into_iter().map(|token| token.id).collect();
        let acknowledged = acknowledged.lock().unwrap();
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
        // Calls that were under way may have been done or not.
        assert!(there.len() <= acknowledged.len() + (round + 1) * WRITERS);
    }
    assert!(plane.running().is_running());
    plane.stop();
}

fn database() -> v1::Database {
    v1::Database {
        name: "shop".into(),
        host: "db.example.com".into(),
        port: 5432,
        dbname: "shop".into(),
        sslmode: v1::SslMode::Require.into(),
        ..Default::default()
    }
}
