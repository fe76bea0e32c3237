//! A control plane that ends in the middle of a rotation goes on with it when it
//! is back. Each step is held up from outside, so that the end comes within it.
//! `tests/programs` does the same to the real program with `kill -9`.

use nla_proto::v1::RotationStep;
use nla_sandbox::sample;
use serde_json::json;

use super::bench::{Bench, PAIR};

/// Computes for hours.
const ENDLESS: &str = "SELECT count(*) FROM shop.orders a, shop.orders b, shop.orders c, shop.orders d";
/// Lets logins through and no change of a role.
const HOLD_ROLES: &str = "BEGIN; LOCK TABLE pg_catalog.pg_authid IN SHARE MODE";

async fn restarted(bench: &mut Bench) {
    bench.sandbox.control_plane.stop().await.unwrap();
    bench.sandbox.control_plane.resume().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_in_the_middle_of_a_step_changes_nothing() {
    let mut bench = Bench::configured(1).await;
    let token = bench.token().await;
    let at = |bench: &Bench, step: RotationStep| {
        let client = bench.client();
        async move {
            let mut client = client;
            let request = nla_proto::v1::GetRotationRequest { database: sample::DATABASE.into() };
            client.get(request).await.unwrap().into_inner().run.unwrap().step() == step
        }
    };
    // While the server is to take the password, and later while it shuts the old role.
    let holder = bench.sandbox.sample.postgres.connect_as_superuser(sample::DATABASE).await.unwrap();
    for role in PAIR {
        holder.batch_execute(HOLD_ROLES).await.unwrap();
        bench.begin().await.unwrap();
        assert!(at(&bench, RotationStep::Planned).await);
        restarted(&mut bench).await;
        assert!(at(&bench, RotationStep::Planned).await, "it cannot have gone on");
        holder.batch_execute("ROLLBACK").await.unwrap();
        let run = bench.ended().await;
        assert_eq!((run.step(), run.new_role.as_str()), (RotationStep::Done, role), "{run:?}");
        assert_eq!(bench.user(0, &token).await, role);
    }

    // While the old role has sessions.
    let client = bench.sandbox.client(0, &token).unwrap();
    let call = json!({ "name": "query_database", "arguments": { "sql": ENDLESS } });
    let running = tokio::spawn(async move { client.request("tools/call", call).await.map(drop) });
    nla_sandbox::system::wait_for("a long statement", || async { bench.sessions(PAIR[1]).await > 1 }).await.unwrap();
    bench.connected(1).await;
    bench.begin().await.unwrap();
    bench.until("a wait for sessions", |run| run.waiting_for.contains("sessions of")).await;
    restarted(&mut bench).await;
    bench.until("a wait for sessions", |run| run.waiting_for.contains("sessions of")).await;
    holder.batch_execute(HOLD_ROLES).await.unwrap();
    running.abort();
    bench.until("the end of the sessions", |run| run.step() == RotationStep::Drained).await;
    restarted(&mut bench).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    let run = bench.ended().await;
    assert_eq!((run.step(), run.new_role.as_str()), (RotationStep::Done, PAIR[0]), "{run:?}");
    assert_eq!((bench.open(PAIR[0]).await, bench.open(PAIR[1]).await), ((true, true), (false, false)));

    // While an edge is away.
    bench.sandbox.edges[0].stop().await.unwrap();
    bench.connected(0).await;
    bench.begin().await.unwrap();
    bench.until("a wait for an edge", |run| run.waiting_for.contains("an edge that connects")).await;
    restarted(&mut bench).await;
    bench.sandbox.edges[0].resume().await.unwrap();
    let run = bench.ended().await;
    assert_eq!((run.step(), run.new_role.as_str()), (RotationStep::Done, PAIR[1]), "{run:?}");
    assert_eq!(bench.user(0, &token).await, PAIR[1]);
}
