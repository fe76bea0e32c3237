//! Calls of many tokens on several edges, which are killed, stopped, cut off and
//! started again, like the control plane is, while one token after the other is revoked.
//! Once its receipt is complete, no call of a token is admitted by anybody.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nla_domain::{
    clock::{SystemClock, Timestamp, WallClock as _},
    secret::Secret,
};
use nla_proto::{convert::from_timestamp, v1};
use nla_sandbox::system::wait_for;

use super::fleet::{Fleet, Reply, client, query};

const EDGES: usize = 3;
/// Half of them strict. The last two are kept.
const TOKENS: usize = 8;
const CALLERS: usize = 2;
/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(20);
/// Calls that try an ended token on each edge at once.
const TRIES: usize = 4;
/// In which a receipt is complete, whatever is down.
const RECEIPT: &str = "40s";

/// One call, by the index of its token.
struct Made {
    token: usize,
    began: Instant,
    done: bool,
}

/// Deterministic, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_is_admitted_after_its_tokens_receipt() {
    let seed = SystemClock.now().as_micros().unsigned_abs() | 1;
    println!("seed {seed}");
    let mut fleet = Fleet::start(EDGES).await;
    let mut tokens = Vec::new();
    for n in 0..TOKENS {
        let class = if n % 2 == 0 { v1::Staleness::Strict } else { v1::Staleness::Standard };
        tokens.push(fleet.token(class).await);
    }
    let (made, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let mut callers = Vec::new();
    for caller in 0..CALLERS * EDGES {
        let (port, ca) = (fleet.edges[caller % EDGES].port, fleet.web.ca.clone());
        let secrets: Vec<Secret> = tokens.iter().map(|(_, secret)| secret.clone()).collect();
        let (made, over) = (Arc::clone(&made), Arc::clone(&over));
        callers.push(tokio::spawn(async move {
            let clients: Vec<_> = secrets.iter().map(|secret| client(port, &ca, secret)).collect();
            let mut dice = Dice(seed.wrapping_mul(caller as u64 + 3) | 1);
            while !over.load(Ordering::Relaxed) {
                let token = usize::try_from(dice.below(TOKENS as u64)).unwrap();
                let began = Instant::now();
                let done = query(&clients[token]).await == Reply::Done;
                made.lock().unwrap().push(Made { token, began, done });
                tokio::time::sleep(PAUSE).await;
            }
        }));
    }

    let all_used = || {
        let made = made.lock().unwrap();
        (0..TOKENS).all(|token| made.iter().any(|call| call.token == token && call.done))
    };
    wait_for("a call with each token", || async { all_used() }).await.unwrap();

    let mut dice = Dice(seed);
    let mut ended: HashMap<usize, (Instant, Timestamp)> = HashMap::new();
    for (victim, (id, secret)) in tokens.iter().enumerate().take(TOKENS - 2) {
        // One thing goes wrong before, and one while the revocation is under way.
        println!("  {}", trouble(&mut fleet, &mut dice).await);
        let (code, answer, err) = fleet.nlactl(&["token", "revoke", id, "--yes", "--wait", "0s"]);
        assert!(code == 0 || code == 1, "{code} {answer:#} {err}");
        let revision = answer["receipt"]["revision"].to_string();
        println!("  {}", trouble(&mut fleet, &mut dice).await);
        let strict = if victim % 2 == 0 { vec!["--strict"] } else { vec![] };
        let words = [&["receipt", "show", "--revision", &revision, "--wait", RECEIPT], &strict[..]].concat();
        let (code, answer, err) = fleet.nlactl(&words);
        ended.insert(victim, (Instant::now(), SystemClock.now()));
        assert_eq!(code, 0, "seed {seed}: {answer:#} {err}");
        let states: Vec<_> = answer["edges"].as_array().unwrap().iter().map(|edge| edge["state"].to_string()).collect();
        println!("token {victim}: {}", states.join(" "));
        // The ended token is tried at once, also on those that are stopped or cut off.
        let mut tries = Vec::new();
        for edge in fleet.edges.iter().flat_map(|edge| [edge; TRIES]) {
            let (client, made) = (edge.client(&fleet.web, secret), Arc::clone(&made));
            tries.push(tokio::spawn(async move {
                let began = Instant::now();
                let done = query(&client).await == Reply::Done;
                made.lock().unwrap().push(Made { token: victim, began, done });
            }));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        // Whoever was away goes on, with all that lies in its sockets.
        for edge in &mut fleet.edges {
            edge.link.set_open(true);
            match &edge.running {
                Some(_) => edge.signal("CONT"),
                None => edge.start(),
            }
        }
        for each in tries {
            each.await.unwrap();
        }
    }
    for edge in &fleet.edges {
        edge.ready(&fleet.web).await;
        for (_, secret) in &tokens[TOKENS - 2..] {
            let client = edge.client(&fleet.web, secret);
            wait_for("a kept token", || async { query(&client).await == Reply::Done }).await.unwrap();
        }
    }
    over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    let made = std::mem::take(&mut *made.lock().unwrap());
    for token in 0..TOKENS {
        let done = made.iter().filter(|call| call.token == token && call.done).count();
        assert!(done > 0, "seed {seed}: token {token} was never used");
    }
    for (token, (returned, _)) in &ended {
        let late = made.iter().filter(|call| call.token == *token && call.began > *returned);
        let (all, admitted) = late.fold((0, 0), |(all, done), call| (all + 1, done + usize::from(call.done)));
        assert!(all > 0, "seed {seed}: nobody tried token {token} after its end");
        assert_eq!(admitted, 0, "seed {seed}: of {all} calls after the receipt of token {token}");
    }
    // The same by what the edges have recorded; clients that gave up are in there too.
    let admin = fleet.admin().await;
    for (token, (_, returned)) in &ended {
        let late: Vec<_> = admin
            .calls(&tokens[*token].0)
            .await
            .unwrap()
            .into_iter()
            .filter(|event| {
                let at = from_timestamp("at", event.at.as_ref().unwrap()).unwrap();
                event.outcome() == v1::Outcome::Succeeded && at > *returned
            })
            .collect();
        assert!(late.is_empty(), "seed {seed}: {late:#?}");
    }
    fleet.edges.iter_mut().for_each(|edge| edge.kill());
}

/// Kills, stops, starts or cuts off something, and says what; the control plane
/// is there afterwards.
async fn trouble(fleet: &mut Fleet, dice: &mut Dice) -> String {
    let edge = usize::try_from(dice.below(EDGES as u64)).unwrap();
    let id = fleet.edges[edge].id.clone();
    match dice.below(8) {
        0 => {
            fleet.plane.kill();
            tokio::time::sleep(Duration::from_millis(dice.below(1_500))).await;
            fleet.plane.start();
            "the control plane is killed".to_owned()
        }
        1 if fleet.edges[edge].running.is_some() => {
            fleet.edges[edge].kill();
            format!("{id} is killed")
        }
        2 if fleet.edges[edge].running.is_some() => {
            fleet.edges[edge].kill();
            fleet.edges[edge].start();
            format!("{id} is killed and started")
        }
        3 if fleet.edges[edge].running.is_some() => {
            fleet.edges[edge].signal("STOP");
            format!("{id} is stopped")
        }
        // The one way to an edge that answers and cannot be told.
        4..=6 => {
            fleet.edges[edge].link.set_open(false);
            // Heartbeats get on their way that arrive late.
            tokio::time::sleep(Duration::from_millis(dice.below(600))).await;
            format!("{id} is cut off")
        }
        _ => {
            tokio::time::sleep(Duration::from_millis(dice.below(700))).await;
            "nothing happens".to_owned()
        }
    }
}
