//! The one connection over which an entry looks at its database: a pool of size
//! 1, apart from those of the tokens. Called by `entry`.
//! Invariant: a connection goes back to the pool only after a look that ended in
//! its ROLLBACK.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool_postgres::{Connect, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use nla_domain::{credential::Credential, database::Database};
use tokio::{sync::Semaphore, task::JoinHandle};
use tokio_postgres::{Client, Config, Error};

use super::{
    super::{
        connect::Target,
        connect_error::{ConnectCause, ConnectError, ConnectStage},
        error::PgError,
        meter::Meter,
    },
    look::{self, Seen},
};

/// Longer than any limit of the steps of connecting, which say which one was late.
const LONGEST_CONNECT: Duration = Duration::from_secs(60);

/// What the pool's own types have no place for. With one connection there is
/// one of each.
#[derive(Debug, Default)]
struct Newest {
    meter: Option<Arc<Meter>>,
    error: Option<ConnectError>,
}

#[derive(Clone)]
struct Opener {
    target: Arc<Target>,
    newest: Arc<Mutex<Newest>>,
}

impl Opener {
    fn newest(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for Opener {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        Box::pin(async {
            match self.target.open(self.target.deadline()).await {
                Ok((client, task, meter)) => {
                    *self.newest() = Newest { meter: Some(meter), error: None };
                    Ok((client, task))
                }
                Err(error) => {
                    *self.newest() = Newest { meter: None, error: Some(error) };
                    Err(some_error())
                }
            }
        })
    }
}

/// The pool wants an error of the driver, which only the driver can make; the
/// real one lies in [`Newest`].
fn some_error() -> Error {
    "port=none".parse::<Config>().expect_err("a port is a number")
}

/// A connection that does not go back to the pool, unless it is taken out.
struct Doubtful(Option<Object>);

impl Drop for Doubtful {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// The pool of one entry.
pub(super) struct Connection {
    opener: Opener,
    pool: Pool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("target", &self.opener.target).finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(target: Target) -> Self {
        let opener = Opener { target: Arc::new(target), newest: Arc::default() };
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(Config::new(), opener.clone(), settings);
        let pool = Pool::builder(manager)
            .max_size(1)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with timeouts has a runtime");
        Self { opener, pool }
    }

    pub(super) fn database(&self) -> &Database {
        &self.opener.target.database
    }

    pub(super) fn credential(&self) -> &Arc<Credential> {
        &self.opener.target.credential
    }

    /// Looks at the database. A connection that has lain idle may have ended
    /// without anybody noticing, so it gets a second chance with a new one.
    pub(super) async fn look(&self, parsing: &Arc<Semaphore>) -> Result<Seen, PgError> {
        let idle = self.pool.status().available > 0;
        match self.look_once(parsing).await {
            Err(PgError::Catalog(error)) if idle && error.is_broken_connection() => self.look_once(parsing).await,
            outcome => outcome,
        }
    }

    async fn look_once(&self, parsing: &Arc<Semaphore>) -> Result<Seen, PgError> {
        let mut doubtful = Doubtful(Some(self.client().await?));
        let meter = self.opener.newest().meter.clone().ok_or(PgError::Lost)?;
        let client = doubtful.0.as_ref().ok_or(PgError::Lost)?;
        let seen = look::look(client, &meter, parsing).await.map_err(PgError::Catalog)?;
        drop(doubtful.0.take());
        Ok(seen)
    }

    async fn client(&self) -> Result<Object, PgError> {
        let limit = Some(LONGEST_CONNECT);
        let timeouts = Timeouts { wait: limit, create: limit, recycle: limit };
        let late = ConnectError { stage: ConnectStage::Connect, cause: ConnectCause::TimedOut };
        self.pool.timeout_get(&timeouts).await.map_err(|error| match error {
            PoolError::Backend(_) => PgError::Unavailable(self.opener.newest().error.take().unwrap_or(late)),
            PoolError::Timeout(_) => PgError::Unavailable(late),
            PoolError::Closed => PgError::Replaced,
            PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => PgError::Lost,
        })
    }

    /// Hangs up if nobody has looked for that long.
    pub(super) fn close_idle(&self, idle: Duration) {
        self.pool.retain(|_, metrics| metrics.last_used() < idle);
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }
}
