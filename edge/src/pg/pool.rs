//! A pool for each token, database and credential generation. The pipeline
//! leases from it; its keeper closes what is idle or no longer allowed.
//! Invariants: a connection is never used for two tokens; making one for a token
//! holds up no other; a pool that is closed hands nothing out any more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, Metrics, PoolError, RecycleError, RecycleResult, TimeoutType, Timeouts},
};
use nla_domain::{
    id::{DatabaseName, TokenId},
    policy::Grant,
    snapshot::Snapshot,
};

use super::{
    connect::{ConnectionSettings, Opened, Target},
    connect_error::{ConnectCause, ConnectError, ConnectStage},
    error::PgError,
    execute::Lease,
};

/// How pools behave.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// How each connection is made.
    pub connection: ConnectionSettings,
    /// How long a call waits for one of its token's connections.
    pub wait_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
}

/// Makes and checks the connections of one pool.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) target: Arc<Target>,
}

impl managed::Manager for Maker {
    type Type = Opened;
    type Error = ConnectError;

    async fn create(&self) -> Result<Opened, ConnectError> {
        self.target.session().await
    }

    /// Only connections that were proven clean come back, so that it is enough
    /// to see whether the server has hung up meanwhile, or is about to.
    async fn recycle(&self, opened: &mut Opened, _: &Metrics) -> RecycleResult<ConnectError> {
        if opened.session.is_quiet().await { Ok(()) } else { Err(RecycleError::message("closed by the server")) }
    }
}

type Pool = managed::Pool<Maker>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    token: TokenId,
    database: DatabaseName,
    generation: u64,
}

/// All pools of this edge.
#[derive(Debug)]
pub struct Pools {
    settings: PoolSettings,
    pools: Mutex<HashMap<Key, Pool>>,
}

impl Pools {
    /// No pools yet.
    pub fn new(settings: PoolSettings) -> Self {
        Self { settings, pools: Mutex::default() }
    }

    /// How connections are made, for a probe outside of any pool.
    pub(crate) fn connection_settings(&self) -> ConnectionSettings {
        self.settings.connection.clone()
    }

    /// A connection of the token's own to the granted database.
    ///
    /// # Errors
    /// [`PgError::Busy`] when the wait was too long, [`PgError::Unavailable`]
    /// when no connection could be made.
    pub async fn lease(&self, token: TokenId, grant: &Grant) -> Result<Lease, PgError> {
        let pool = self.pool(token, grant);
        let timeouts = Timeouts {
            wait: Some(self.settings.wait_timeout),
            // The steps of connecting have this limit too and say which one
            // was late; this one only backs it up.
            create: Some(self.settings.connection.connect_timeout + Duration::from_secs(1)),
            recycle: Some(Duration::from_secs(1)),
        };
        let late = || ConnectError { stage: ConnectStage::Connect, cause: ConnectCause::TimedOut };
        let object = pool.timeout_get(&timeouts).await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => PgError::Busy,
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle) => PgError::Unavailable(late()),
            PoolError::Backend(error) => PgError::Unavailable(error),
            PoolError::Closed => PgError::Replaced,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => PgError::Lost,
        })?;
        Ok(Lease::new(object, Arc::clone(&pool.manager().target)))
    }

    fn pool(&self, token: TokenId, grant: &Grant) -> Pool {
        let key = Key { token, database: grant.database.name.clone(), generation: grant.credential.generation };
        if let Some(pool) = lock(&self.pools).get(&key)
            && fits(pool, grant)
        {
            return pool.clone();
        }
        // Outside of the lock, because reading certificates takes its time. Two
        // that meet here make two targets, and the second is thrown away.
        let target =
            Target::new(Arc::clone(&grant.database), Arc::clone(&grant.credential), self.settings.connection.clone());
        let size = usize::try_from(grant.limits.pool_size.max(1)).unwrap_or(1);
        let pool = Pool::builder(Maker { target: Arc::new(target) })
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with timeouts has a runtime");
        let mut pools = lock(&self.pools);
        match pools.get(&key) {
            Some(other) if fits(other, grant) => other.clone(),
            _ => {
                if let Some(old) = pools.insert(key, pool.clone()) {
                    old.close();
                }
                pool
            }
        }
    }

    /// Closes the pools of tokens, credentials and databases that are no longer
    /// in the snapshot as they were. What runs on them is cancelled elsewhere.
    pub(crate) fn keep_allowed(&self, snapshot: Option<&Snapshot>) {
        let allowed = |key: &Key, pool: &Pool| {
            snapshot.is_some_and(|snapshot| {
                snapshot.tokens.contains_key(&key.token)
                    && snapshot.credentials.get(&key.database) == Some(&pool.manager().target.credential)
                    && snapshot.databases.get(&key.database) == Some(&pool.manager().target.database)
            })
        };
        lock(&self.pools).retain(|key, pool| {
            let keep = allowed(key, pool);
            if !keep {
                pool.close();
            }
            keep
        });
    }

    /// Closes the pools of one token.
    pub(crate) fn close_token(&self, token: TokenId) {
        lock(&self.pools).retain(|key, pool| {
            if key.token == token {
                pool.close();
            }
            key.token != token
        });
    }

    /// Closes connections that nobody has used for a while, and pools without any.
    pub(crate) fn close_idle(&self) {
        let idle = self.settings.idle_timeout;
        lock(&self.pools).retain(|_, pool| {
            // Dropped under the lock: that only closes the socket.
            pool.retain(|_, metrics| metrics.last_used() < idle);
            let status = pool.status();
            status.size > 0 || status.waiting > 0
        });
    }

    /// Closes everything.
    pub(crate) fn close_all(&self) {
        for (_, pool) in lock(&self.pools).drain() {
            pool.close();
        }
    }

    /// Connections that are open, of all pools.
    pub fn open_connections(&self) -> usize {
        lock(&self.pools).values().map(|pool| pool.status().size).sum()
    }
}

/// Whether the pool's connections are what was granted. Generations count anew
/// for a database that was removed and made again, so the credential itself has
/// to be the same.
fn fits(pool: &Pool, grant: &Grant) -> bool {
    let target = &pool.manager().target;
    target.database == grant.database && target.credential == grant.credential
}

/// Nothing under these locks can panic half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
