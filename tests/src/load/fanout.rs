//! From the revocation of a token to the last of many edges, beside a bare
//! broadcast of the same message to as many clients; how soon all edges are back
//! after a restart of the control plane; and what memory it takes.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use nla_proto::{
    tls::{Identity, Roots, client::ClientTls},
    v1::{
        self, databases_client::DatabasesClient, edge_message::Message as FromEdge, edges_client::EdgesClient,
        tokens_client::TokensClient,
    },
};
use nla_sandbox::system::{analyst, idempotency_key};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};
use tonic::transport::Channel;

use super::{
    enrol::Forwarder,
    figures::{Goal, Sample, milliseconds},
    follower::{Arrived, Follower, What},
    plane::{Broadcast, PATIENCE, Plane},
};

/// An operator may make 10,000 changes in an hour.
const TOKENS_OF_ONE: usize = 2_500;
/// Changes under way at once while the tokens are made.
const AT_ONCE: usize = 32;
/// Runs that are not counted: connections and caches get warm.
const WARM_UP: usize = 5;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Edges that follow
    #[arg(long, default_value_t = 200)]
    edges: usize,
    /// Tokens that there are
    #[arg(long, default_value_t = 10_000)]
    tokens: usize,
    /// Revocations and broadcasts, one after the other
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The control plane's program [default: beside this one]
    #[arg(long)]
    control_plane: Option<PathBuf>,
    /// The broadcast server's program [default: this one]
    #[arg(long)]
    broadcast: Option<PathBuf>,
}

/// Everything that runs.
struct Bench {
    plane: Plane,
    operator: Channel,
    tokens: Vec<String>,
    edges: Vec<Follower>,
    edge_arrivals: mpsc::UnboundedReceiver<Arrived>,
    clients: Vec<Follower>,
    client_arrivals: mpsc::UnboundedReceiver<Arrived>,
    _broadcast: Broadcast,
}

#[derive(Default)]
struct Found {
    revocations: Sample,
    receipts: Sample,
    broadcasts: Sample,
    message_bytes: (usize, usize),
    memory_bytes: (u64, u64),
    connected_after: Duration,
    resumed_after: Duration,
}

/// Measures and prints; 1 when a goal is missed.
///
/// # Errors
/// When a part does not work, or an answer is not what it should be.
pub async fn run(arguments: Arguments) -> Result<ExitCode> {
    let folder = tempfile::tempdir()?;
    let mut bench = Box::pin(Bench::start(&arguments, folder.path())).await?;
    let mut found = Found::default();
    for run in 0..arguments.runs + WARM_UP {
        let token = bench.tokens.pop().context("there are fewer tokens than runs")?;
        let (revoked, receipt, bytes) = bench.revoke(&token).await?;
        let (broadcast, bare_bytes) = bench.broadcast(run, &token).await?;
        found.message_bytes = (bytes, bare_bytes);
        if run >= WARM_UP {
            found.revocations.add(revoked);
            found.receipts.add(receipt);
            found.broadcasts.add(broadcast);
        }
    }
    found.memory_bytes = (bench.plane.server.memory_bytes("VmHWM")?, bench.plane.server.memory_bytes("VmRSS")?);
    (found.connected_after, found.resumed_after) = bench.restart().await?;
    let goals = found.goals();
    let text = if arguments.json {
        serde_json::to_string_pretty(&found.json(&arguments, &goals))?
    } else {
        found.table(&arguments, &goals)
    };
    std::io::Write::write_all(&mut std::io::stdout(), format!("{text}\n").as_bytes())?;
    Ok(if goals.iter().all(Goal::is_met) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Bench {
    async fn start(arguments: &Arguments, folder: &Path) -> Result<Self> {
        ensure!(arguments.tokens >= arguments.runs + WARM_UP, "there must be more tokens than runs");
        let own = std::env::current_exe()?;
        let program = arguments.control_plane.clone().unwrap_or_else(|| own.with_file_name("nla-control-plane"));
        ensure!(
            program.exists(),
            "{} is missing: cargo build --release --package nla-control-plane",
            program.display()
        );
        let plane = Plane::start(&program, folder).await?;
        let database = v1::Database {
            name: "shop".into(),
            host: "127.0.0.1".into(),
            port: 5432,
            dbname: "shop".into(),
            sslmode: v1::SslMode::Disable.into(),
            ..Default::default()
        };
        let request = v1::CreateDatabaseRequest { idempotency_key: idempotency_key(), database: Some(database) };
        DatabasesClient::new(plane.admin.channel()).create(request).await?;
        plane.admin.create_role(analyst("analyst", &["shop"])).await?;
        let tokens = make_tokens(&plane, arguments.tokens).await?;
        let identities = enrol(&plane, arguments.edges).await?;

        let broadcast = Broadcast::start(arguments.broadcast.as_deref().unwrap_or(&own), folder, "nla.local").await?;
        let (edge_told, edge_arrivals) = mpsc::unbounded_channel();
        let (client_told, client_arrivals) = mpsc::unbounded_channel();
        let (mut edges, mut clients) = (Vec::new(), Vec::new());
        for (number, (identity, roots)) in identities.iter().enumerate() {
            let tls = ClientTls::new(identity, roots)?;
            edges.push(Follower::start(number, &plane.url(), tls, false, edge_told.clone()));
            let tls = ClientTls::new(identity, &broadcast.roots)?;
            clients.push(Follower::start(number, &broadcast.url, tls, true, client_told.clone()));
        }
        let operator = plane.operator("revoker").await?;
        let mut bench =
            Self { plane, operator, tokens, edges, edge_arrivals, clients, client_arrivals, _broadcast: broadcast };
        all(&mut bench.edge_arrivals, bench.edges.len(), |what| *what == What::Follows).await?;
        all(&mut bench.client_arrivals, bench.clients.len(), |what| *what == What::Follows).await?;
        Ok(bench)
    }

    /// Revokes a token. The time to the last edge, the time to the operator's
    /// receipt, and the size of the message.
    async fn revoke(&mut self, token: &str) -> Result<(Duration, Duration, usize)> {
        let request = v1::RevokeTokenRequest {
            idempotency_key: idempotency_key(),
            ids: vec![token.into()],
            reason: "measured".into(),
            ..Default::default()
        };
        let began = Instant::now();
        let mut operator = TokensClient::new(self.operator.clone());
        let (answer, arrived) = tokio::join!(
            async { operator.revoke(request).await.map(|answer| (answer.into_inner(), began.elapsed())) },
            tombstone_everywhere(&mut self.edge_arrivals, self.edges.len(), token),
        );
        let ((answer, receipt), (last, bytes)) = (answer?, arrived?);
        let edges = answer.receipt.context("the answer holds no receipt")?.edges;
        let applied = edges.iter().filter(|edge| edge.state() == v1::edge_receipt::State::Applied).count();
        ensure!(applied == self.edges.len(), "the receipt names {applied} of {} edges", self.edges.len());
        Ok((last.duration_since(began), receipt, bytes))
    }

    /// Has the bare server send the same message. The time to the last client,
    /// and the size of the message.
    async fn broadcast(&mut self, run: usize, token: &str) -> Result<(Duration, usize)> {
        // As many bytes for the revision as in the control plane's message.
        let revision = u64::try_from(10_000 + run)?;
        let nack = v1::Nack { revision, id: token.into(), ..Default::default() };
        let began = Instant::now();
        let trigger = v1::EdgeMessage { message: Some(FromEdge::Nack(nack)) };
        self.clients[run % self.clients.len()].out.send(trigger).await?;
        let (last, bytes) = tombstone_everywhere(&mut self.client_arrivals, self.clients.len(), token).await?;
        Ok((last.duration_since(began), bytes))
    }

    /// Restarts the control plane. The times from the start of the new process
    /// until the first edge and until all edges follow again.
    async fn restart(mut self) -> Result<(Duration, Duration)> {
        let (plane, started) = self.plane.restart().await?;
        let arrivals = all(&mut self.edge_arrivals, self.edges.len(), |what| *what == What::Follows).await?;
        let first = arrivals.iter().map(|arrived| arrived.at).min().context("there are no edges")?;
        let last = arrivals.iter().map(|arrived| arrived.at).max().context("there are no edges")?;
        drop(plane);
        Ok((first.duration_since(started), last.duration_since(started)))
    }
}

/// Waits until it has arrived at that many followers, once each.
async fn all(
    arrivals: &mut mpsc::UnboundedReceiver<Arrived>,
    followers: usize,
    wanted: impl Fn(&What) -> bool,
) -> Result<Vec<Arrived>> {
    let mut found: Vec<Arrived> = Vec::with_capacity(followers);
    let mut who = HashSet::new();
    let read = async {
        while found.len() < followers {
            let arrived = arrivals.recv().await.context("all followers have ended")?;
            if wanted(&arrived.what) {
                ensure!(who.insert(arrived.follower), "follower {} got it twice", arrived.follower);
                found.push(arrived);
            }
        }
        Ok(())
    };
    let outcome = timeout(PATIENCE, read).await;
    outcome.with_context(|| format!("it reached {} of {followers} followers only", found.len()))??;
    Ok(found)
}

async fn tombstone_everywhere(
    arrivals: &mut mpsc::UnboundedReceiver<Arrived>,
    followers: usize,
    token: &str,
) -> Result<(Instant, usize)> {
    let is_it = |what: &What| matches!(what, What::Tombstone { token: id, .. } if id == token);
    let found = all(arrivals, followers, is_it).await?;
    let last = found.into_iter().max_by_key(|arrived| arrived.at).context("there are no followers")?;
    let What::Tombstone { bytes, .. } = last.what else { anyhow::bail!("not a tombstone") };
    Ok((last.at, bytes))
}

async fn make_tokens(plane: &Plane, count: usize) -> Result<Vec<String>> {
    let mut made = Vec::with_capacity(count);
    for (number, first) in (0..count).step_by(TOKENS_OF_ONE).enumerate() {
        let channel = plane.operator(&format!("maker-{number}")).await?;
        let make = |number: usize| {
            let mut tokens = TokensClient::new(channel.clone());
            async move {
                let request = v1::CreateTokenRequest {
                    idempotency_key: idempotency_key(),
                    owner: format!("team-{}@example.com", number % 100),
                    purpose: "load".into(),
                    roles: vec!["analyst".into()],
                    ..Default::default()
                };
                let token = tokens.create(request).await?.into_inner().token.context("no token in the answer")?;
                anyhow::Ok(token.id)
            }
        };
        let numbers = first..count.min(first + TOKENS_OF_ONE);
        let some: Vec<String> = stream::iter(numbers).map(make).buffer_unordered(AT_ONCE).try_collect().await?;
        made.extend(some);
    }
    Ok(made)
}

async fn enrol(plane: &Plane, count: usize) -> Result<Vec<(Identity, Roots)>> {
    let forwarder = Forwarder::start(plane.enrolment).await?;
    let join = |number: usize| {
        let (forwarder, admin) = (&forwarder, plane.admin.channel());
        async move {
            let (idempotency_key, edge_id) = (idempotency_key(), format!("edge-{number}"));
            let request = v1::CreateJoinTokenRequest { idempotency_key, edge_id, ..Default::default() };
            let made = EdgesClient::new(admin).create_join_token(request).await?.into_inner();
            // The forwarder shows another address for each.
            forwarder.join(&made.join_token).await
        }
    };
    stream::iter(0..count).map(join).buffer_unordered(8).try_collect().await
}

impl Found {
    fn goals(&self) -> [Goal; 3] {
        let above = milliseconds(self.revocations.percentile(99)) - milliseconds(self.broadcasts.percentile(99));
        let megabytes = (self.memory_bytes.0 as f64) / 1e6;
        [
            Goal { what: "p99 above the bare broadcast", unit: "ms", found: above, limit: 30.0 },
            Goal { what: "resume of all edges", unit: "s", found: self.resumed_after.as_secs_f64(), limit: 3.0 },
            Goal { what: "peak memory of the control plane", unit: "MB", found: megabytes, limit: 300.0 },
        ]
    }

    fn json(&self, arguments: &Arguments, goals: &[Goal]) -> Value {
        json!({
            "edges": arguments.edges,
            "tokens": arguments.tokens,
            "revoke_to_last_edge": self.revocations.json(),
            "revoke_to_receipt": self.receipts.json(),
            "bare_broadcast_to_last_client": self.broadcasts.json(),
            "message_bytes": { "revocation": self.message_bytes.0, "broadcast": self.message_bytes.1 },
            "first_edge_after_restart_s": self.connected_after.as_secs_f64(),
            "all_edges_after_restart_s": self.resumed_after.as_secs_f64(),
            "memory_bytes": { "peak": self.memory_bytes.0, "at_the_end": self.memory_bytes.1 },
            "goals": goals.iter().map(Goal::json).collect::<Vec<_>>(),
        })
    }

    fn table(&self, arguments: &Arguments, goals: &[Goal]) -> String {
        let header = format!(
            "{} edges, {} tokens, {} runs of each, in turn; messages of {} and {} bytes\n",
            arguments.edges, arguments.tokens, arguments.runs, self.message_bytes.0, self.message_bytes.1
        );
        let mut lines = vec![header];
        lines.push(format!("{:<44} {:>8} {:>8} {:>8} {:>8}", "milliseconds", "p50", "p90", "p99", "max"));
        lines.push(self.revocations.row("revoke to applied on the last edge"));
        lines.push(self.broadcasts.row("bare broadcast to the last client"));
        lines.push(self.receipts.row("revoke to the operator's receipt"));
        lines.push(format!(
            "\nafter a restart: first edge {:.2} s, all edges {:.2} s; memory: peak {:.0} MB, at the end {:.0} MB\n",
            self.connected_after.as_secs_f64(),
            self.resumed_after.as_secs_f64(),
            (self.memory_bytes.0 as f64) / 1e6,
            (self.memory_bytes.1 as f64) / 1e6
        ));
        lines.extend(goals.iter().map(Goal::row));
        lines.join("\n")
    }
}
