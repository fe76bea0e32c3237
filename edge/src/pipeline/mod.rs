//! The way of a request, in order. Read this first.
//!
//! ```text
//! Peer -> Caller -> Admitted -> Permit -> Vetted -> CheckedSql -> Lease -> Rows -> Reply -> Recorded
//! peer    caller    admitted    permit    vetted    guarding      pg::pool pg::execute      call
//! ```
//!
//! `mcp` brings requests in through `tools`, which asks for [`Pipeline::admit`]
//! and then for one of the calls below. Each gate lives in the file named under
//! it and returns the value that the next one needs, so that skipping one does
//! not compile. Invariants: a request is registered before it is checked, so
//! that a revocation in between cuts it; an answer leaves only with the proof
//! that it was recorded.

mod admitted;
mod attempts;
mod call;
mod caller;
mod config;
mod databases;
mod failure;
mod guarding;
mod keeper;
mod peer;
mod permit;
mod probe;
mod running;
mod turned_away;
mod uses;
mod vetted;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::request::Parts;
use nla_domain::{database::Database, policy, role::Tool};
use nla_guard::{ParserConfig, ParserError};

use crate::{
    audit::AuditQueue,
    pg::{Cells, Inspector, OwnSql, PgError, Pools, RowSet, Statement},
    snapshot::SnapshotHolder,
};

pub use self::{
    admitted::Admitted,
    call::{Call, Reply},
    config::{DEFAULT_CATALOG_REFRESH, DEFAULT_CONNECT_TIMEOUT, DEFAULT_POOL_IDLE, DEFAULT_POOL_WAIT, PipelineConfig},
    databases::{DatabaseReport, DatabaseState},
    failure::Failure,
    guarding::Ask,
    peer::Peer,
    turned_away::TurnedAway,
    uses::TokenUse,
};
use self::{
    admitted::Limiters, attempts::Attempts, caller::Caller, guarding::Guard, permit::Permit, running::Running,
    vetted::Vetted,
};

/// All gates and what they share.
#[derive(Debug)]
pub struct Pipeline {
    config: PipelineConfig,
    snapshots: SnapshotHolder,
    audit: AuditQueue,
    running: Arc<Running>,
    attempts: Attempts,
    limiters: Limiters,
    guard: Guard,
    inspector: Inspector,
    pools: Pools,
    draining: AtomicBool,
    calls_total: AtomicU64,
}

impl Pipeline {
    /// Starts the parsing threads and the keeper, which cuts what is revoked.
    /// Call it within a runtime.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(snapshots: SnapshotHolder, audit: AuditQueue, config: PipelineConfig) -> Result<Arc<Self>, ParserError> {
        let pipeline = Arc::new(Self {
            guard: Guard::start(ParserConfig::default())?,
            inspector: Inspector::new(config.inspector_settings()),
            pools: Pools::new(config.pool_settings()),
            running: Arc::default(),
            attempts: Attempts::default(),
            limiters: Limiters::default(),
            draining: AtomicBool::new(false),
            calls_total: AtomicU64::new(0),
            config,
            snapshots,
            audit,
        });
        tokio::spawn(keeper::run(Arc::downgrade(&pipeline), pipeline.snapshots.subscribe()));
        Ok(pipeline)
    }

    /// Who is calling, and whether there is room for the call.
    ///
    /// # Errors
    /// [`TurnedAway`] is an HTTP answer.
    pub fn admit(&self, parts: &Parts) -> Result<Admitted, TurnedAway> {
        let turned_away = |why| self.turn_away(why);
        let peer = Peer::of(parts).map_err(turned_away)?;
        self.accepts_calls(peer).map_err(turned_away)?;
        let caller = Caller::authenticate(self, peer, parts).map_err(turned_away)?;
        let admitted = Admitted::new(self, caller).map_err(turned_away)?;
        self.calls_total.fetch_add(1, Ordering::Relaxed);
        Ok(admitted)
    }

    /// A caller's own statement.
    ///
    /// # Errors
    /// [`Failure`], to be recorded and told.
    pub async fn query(&self, call: &mut Call<'_>, ask: Ask<'_>) -> Result<(Arc<Database>, RowSet), Failure> {
        let permit = Permit::decide(call, ask.tool(), ask.database)?;
        ask.note(call, permit.grant(), None);
        let mut vetted = Vetted::of(permit, &self.inspector).await?;
        let checked = self.guard.check(call, &mut vetted, &ask, &self.inspector).await?;
        let permit = vetted.permit();
        let lease =
            self.pools.lease(call.token(), permit.grant()).await.map_err(|error| ask.explain(&error, &checked))?;
        let mut rows = RowSet::new(permit.max_rows(ask.max_rows), permit.grant().limits.max_bytes);
        let limits = permit.limits(call, &rows);
        let executed = lease.run(Statement::Checked(&checked), &limits, &mut rows).await;
        let executed = executed.map_err(|error| {
            if matches!(&error, PgError::Statement(reported) if reported.is_undefined()) {
                self.inspector.doubt(permit.grant());
            }
            ask.explain(&error, &checked)
        })?;
        call.note_rows(&executed, &mut rows);
        Ok((Arc::clone(&permit.grant().database), rows))
    }

    /// A statement of the edge's own about a database's catalog: it passes every
    /// gate but the guard, because its text is constant.
    ///
    /// # Errors
    /// [`Failure`], to be recorded and told.
    pub async fn catalog(
        &self,
        call: &mut Call<'_>,
        database: Option<&str>,
        sql: &OwnSql,
        max_rows: u32,
    ) -> Result<(Arc<Database>, Cells), Failure> {
        let vetted = Vetted::of(Permit::decide(call, Tool::GetSchema, database)?, &self.inspector).await?;
        let permit = vetted.permit();
        let lease =
            self.pools.lease(call.token(), permit.grant()).await.map_err(|error| Failure::of_database(&error))?;
        let mut cells = Cells::default();
        let limits = permit.catalog_limits(call, max_rows);
        let executed = lease.run(Statement::Own(sql), &limits, &mut cells).await;
        let executed = executed.map_err(|error| Failure::of_database(&error))?;
        call.note_catalog(&executed, &mut cells);
        Ok((Arc::clone(&permit.grant().database), cells))
    }

    /// The databases that the caller may use with a tool.
    ///
    /// # Errors
    /// When no role allows the tool.
    pub fn databases(&self, call: &Call<'_>, tool: Tool) -> Result<Vec<Arc<Database>>, Failure> {
        let (snapshot, token) = call.policy();
        if !policy::allows_tool(snapshot, token, tool) {
            return Err(Failure::of_denial(&policy::Denial::Tool(tool)));
        }
        Ok(policy::databases(snapshot, token, tool))
    }

    /// Calls so far and calls that run now.
    pub fn usage(&self) -> (u64, u32) {
        (self.calls_total.load(Ordering::Relaxed), self.running.count())
    }

    /// Tokens that were used since they were last asked for, at most so many;
    /// the others are named the next time.
    pub fn token_uses(&self, most: usize) -> Vec<TokenUse> {
        self.limiters.take_uses(most)
    }

    /// Takes nothing new, waits for what runs, and cancels what still runs at
    /// the deadline. True when nothing had to be cancelled.
    pub async fn drain(&self, deadline: Duration) -> bool {
        self.draining.store(true, Ordering::Release);
        let finished = tokio::time::timeout(deadline, self.running.none()).await.is_ok();
        if !finished {
            self.running.cancel_all();
        }
        self.pools.close_all();
        self.inspector.close_all();
        finished
    }
}
