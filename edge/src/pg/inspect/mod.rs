//! What this edge knows of each database: the catalog on which the guard's
//! verdicts rest, and what the database role may do beyond reading. The
//! pipeline asks before it judges; its keeper refreshes and forgets.
//! Invariants: one entry for each database and generation of its credential,
//! shared by all tokens; nobody waits for another database's entry; an entry's
//! connection is its own and never a token's.

mod connection;
mod entry;
pub(super) mod look;
pub(super) mod rights;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nla_domain::{database::Database, id::DatabaseName, policy::Grant, snapshot::Snapshot};
use nla_guard::catalog::Catalog;
use tokio::sync::Semaphore;

use self::{connection::Connection, entry::Entry, look::Seen, rights::Finding};
use super::{
    connect::{ConnectionSettings, Target},
    error::PgError,
};
use crate::clock::MonotonicClock;

/// An entry is kept fresh while it was used within this time.
const IN_USE: Duration = Duration::from_secs(3 * 60);
/// Afterwards it is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);
/// Catalogs that are parsed at once.
const PARSED_AT_ONCE: usize = 2;

/// How the inspector looks.
#[derive(Debug, Clone)]
pub struct InspectorSettings {
    /// How its connections are made.
    pub connection: ConnectionSettings,
    /// Between two looks at a database that is in use.
    pub refresh: Duration,
    /// How long a connection is kept that nobody looks over.
    pub idle_timeout: Duration,
    /// Tells the age of facts.
    pub clock: Arc<dyn MonotonicClock>,
}

/// What a look at a database has shown.
#[derive(Debug)]
pub struct Inspected {
    /// For the guard.
    pub catalog: Arc<Catalog>,
    /// Rights of the database role beyond reading.
    pub findings: Vec<Finding>,
    /// Such as `15.18 (Debian ...)`.
    pub server_version: String,
    /// When the look began, by the inspector's clock.
    at: Duration,
}

impl Inspected {
    fn new(seen: Seen, at: Duration) -> Self {
        let Seen { catalog, findings, server_version, .. } = seen;
        Self { catalog, findings, server_version, at }
    }
}

/// What there is to say of a database in the edge's own report.
#[derive(Debug)]
pub struct Report {
    /// The facts in force and their age.
    pub facts: Option<(Arc<Inspected>, Duration)>,
    /// Why the last look failed, if it did.
    pub error: Option<PgError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    database: DatabaseName,
    generation: u64,
}

/// All databases that were asked for.
#[derive(Debug)]
pub struct Inspector {
    settings: InspectorSettings,
    parsing: Arc<Semaphore>,
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
}

impl Inspector {
    /// Knows nothing yet.
    pub fn new(settings: InspectorSettings) -> Self {
        Self { settings, parsing: Arc::new(Semaphore::new(PARSED_AT_ONCE)), entries: Mutex::default() }
    }

    /// What is known of the granted database; the first caller's look is waited
    /// for by all who ask meanwhile.
    ///
    /// # Errors
    /// [`PgError::Unavailable`] or [`PgError::Catalog`] when there are no facts
    /// and the database cannot be looked at.
    pub async fn facts(&self, grant: &Grant) -> Result<Arc<Inspected>, PgError> {
        self.entry(grant).facts().await
    }

    /// What is known after another look, for a statement that names something
    /// which `judged` does not have. `None` when a look is not possible now.
    pub async fn newer_than(&self, grant: &Grant, judged: &Arc<Inspected>) -> Option<Arc<Inspected>> {
        self.entry(grant).newer_than(judged).await
    }

    /// PostgreSQL does not know a name that the facts have, or the reverse: the
    /// next look comes soon.
    pub fn doubt(&self, grant: &Grant) {
        self.entry(grant).doubt();
    }

    /// What a database's report says; `None` when nobody has asked for it.
    pub fn report(&self, database: &DatabaseName, generation: u64) -> Option<Report> {
        let entry = self.entries().get(&Key { database: database.clone(), generation }).cloned()?;
        let (facts, error) = entry.report();
        Some(Report { facts, error })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Arc<Entry>>> {
        // Nothing under this lock panics half way.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, grant: &Grant) -> Arc<Entry> {
        let key = Key { database: grant.database.name.clone(), generation: grant.credential.generation };
        // Generations count anew for a database that was removed and made again.
        let fits = |entry: &&Arc<Entry>| {
            same_place(entry.connection.database(), &grant.database)
                && *entry.connection.credential() == grant.credential
        };
        if let Some(entry) = self.entries().get(&key).filter(fits) {
            return Arc::clone(entry);
        }
        // Outside of the lock, because reading certificates takes its time. Of
        // two that meet here the second is thrown away.
        let settings = &self.settings;
        let target =
            Target::new(Arc::clone(&grant.database), Arc::clone(&grant.credential), settings.connection.clone());
        let (clock, parsing) = (Arc::clone(&settings.clock), Arc::clone(&self.parsing));
        let made = Arc::new(Entry::new(Connection::new(target), settings.refresh, clock, parsing));
        let mut entries = self.entries();
        if let Some(entry) = entries.get(&key).filter(fits) {
            return Arc::clone(entry);
        }
        if let Some(old) = entries.insert(key, Arc::clone(&made)) {
            old.connection.close();
        }
        made
    }

    /// Forgets databases and credentials that are no longer in the snapshot as
    /// they were. A change of limits or policy changes no facts.
    pub(crate) fn keep_allowed(&self, snapshot: Option<&Snapshot>) {
        self.retain(|key, entry| {
            snapshot.is_some_and(|snapshot| {
                snapshot.credentials.get(&key.database) == Some(entry.connection.credential())
                    && snapshot
                        .databases
                        .get(&key.database)
                        .is_some_and(|database| same_place(entry.connection.database(), database))
            })
        });
    }

    /// Refreshes what is in use, hangs up where nobody looks, forgets what
    /// nobody uses. Called every second.
    pub(crate) fn tick(&self) {
        self.retain(|_, entry| entry.unused() <= FORGET_AFTER);
        let entries: Vec<_> = self.entries().values().cloned().collect();
        for entry in entries {
            entry.tick(IN_USE);
            entry.connection.close_idle(self.settings.idle_timeout);
        }
    }

    fn retain(&self, keep: impl Fn(&Key, &Entry) -> bool) {
        self.entries().retain(|key, entry| {
            let keep = keep(key, entry);
            if !keep {
                entry.connection.close();
            }
            keep
        });
    }

    /// Closes everything.
    pub(crate) fn close_all(&self) {
        self.retain(|_, _| false);
    }
}

/// Whether both lead to the same database in the same way.
fn same_place(one: &Database, other: &Database) -> bool {
    std::ptr::eq(one, other)
        || (one.endpoint == other.endpoint
            && one.dbname == other.dbname
            && one.sslmode == other.sslmode
            && one.root_certificate_pem == other.root_certificate_pem)
}
