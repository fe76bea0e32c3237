//! The sample database `shop`: two tenants, 66,000 rows, personal data. The demo
//! shows it, the tests query it.
//!
//! Invariant: its rows are the same on every machine; only passwords differ. The
//! reader's rights are the least that reading needs.

mod template;
#[cfg(test)]
mod tests;

use std::path::Path;

use nla_domain::secret::Secret;

use crate::postgres::{Options, Postgres, PostgresError, random_password};

/// Name of the database.
pub const DATABASE: &str = "shop";

/// The schemas that hold its tables and views.
pub const SCHEMAS: [&str; 2] = ["shop", "analytics"];

/// A role that cannot log in and owns everything in it.
pub const OWNER: &str = "shop_owner";

/// The login role that may read it and nothing else.
pub const READER: &str = "nla_reader";

/// Tables, rows and rights; a change of it makes prepared copies stale.
const SHOP_SQL: &str = include_str!("shop.sql");

/// The loaded sample and how to log in to it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name of the database.
    pub database: &'static str,
    /// The read-only login role.
    pub reader: &'static str,
    /// Its password.
    pub reader_password: Secret,
}

/// Loads the sample into a server that does not have it, or only sets a new
/// password for the reader where an earlier start loaded it.
///
/// # Errors
/// Whatever the server refuses.
pub async fn load(postgres: &Postgres) -> Result<Sample, PostgresError> {
    let admin = postgres.connect_as_superuser("postgres").await?;
    let loaded = admin
        .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&DATABASE])
        .await
        .map_err(PostgresError::sql("look for the sample database"))?;
    if loaded.is_none() {
        create(postgres, &admin).await?;
    }
    let reader_password = random_password();
    admin
        .batch_execute(&format!("ALTER ROLE {READER} PASSWORD '{}'", reader_password.expose()))
        .await
        .map_err(PostgresError::sql("set the reader's password"))?;
    Ok(Sample { database: DATABASE, reader: READER, reader_password })
}

/// Starts a server that holds the sample, from a copy prepared once for this
/// user of the machine, which saves the time of `initdb` and of loading. For
/// tests; it writes to the user's cache folder.
///
/// # Errors
/// As [`Postgres::start`] and [`load`].
pub async fn start(options: Options) -> Result<(Postgres, Sample), PostgresError> {
    let postgres = match template::seed(&options).await? {
        Some(seed) => Postgres::start(options.seed(seed)).await?,
        None => Postgres::start(options).await?,
    };
    let sample = load(&postgres).await?;
    Ok((postgres, sample))
}

/// [`start`] in a folder of its own below the system's temporary folder; for
/// tests, so without durability. The folder goes with the returned guard, which
/// must be dropped after the server.
///
/// # Errors
/// As [`start`].
pub async fn start_temporary() -> Result<TemporarySample, PostgresError> {
    let place = std::env::temp_dir();
    let folder = tempfile::Builder::new()
        .prefix("nla-pg-")
        .tempdir_in(&place)
        .map_err(PostgresError::file("create a folder in", &place))?;
    let (postgres, sample) = start(Options::new(folder.path()).throw_away()).await?;
    Ok(TemporarySample { postgres, sample, folder })
}

/// A server with the sample whose files are removed when it is dropped. Fields
/// are dropped in this order: the server ends before its folder goes.
#[derive(Debug)]
pub struct TemporarySample {
    /// The server.
    pub postgres: Postgres,
    /// The sample in it.
    pub sample: Sample,
    folder: tempfile::TempDir,
}

impl TemporarySample {
    /// The folder that goes with this value.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

async fn create(postgres: &Postgres, admin: &tokio_postgres::Client) -> Result<(), PostgresError> {
    // One statement each: CREATE DATABASE refuses to run beside others. Roles may
    // be left from a load that was interrupted before the database was made.
    let statements = [
        format!(
            "DO $$ BEGIN
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{OWNER}') THEN
                     CREATE ROLE {OWNER} NOLOGIN;
                 END IF;
                 IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN
                     CREATE ROLE {READER} LOGIN;
                 END IF;
             END $$"
        ),
        // Built under another name and renamed when complete: a database of the
        // sample's name is always a whole one.
        format!("DROP DATABASE IF EXISTS {DATABASE}_loading"),
        format!("CREATE DATABASE {DATABASE}_loading OWNER {OWNER}"),
        // PUBLIC may connect to every database and make temporary tables there.
        format!("REVOKE ALL ON DATABASE {DATABASE}_loading, postgres, template1 FROM PUBLIC"),
        format!("GRANT CONNECT ON DATABASE {DATABASE}_loading TO {READER}"),
    ];
    for statement in &statements {
        admin.batch_execute(statement).await.map_err(PostgresError::sql("create the sample database"))?;
    }
    let loading = postgres.connect_as_superuser(&format!("{DATABASE}_loading")).await?;
    // The owner creates the tables, so that no view runs with a superuser's rights.
    let prelude = format!("REVOKE ALL ON SCHEMA public FROM PUBLIC; SET ROLE {OWNER}");
    for statement in [prelude.as_str(), SHOP_SQL, "RESET ROLE", "VACUUM (ANALYZE)"] {
        loading.batch_execute(statement).await.map_err(PostgresError::sql("load the sample"))?;
    }
    drop(loading);
    // Waits up to 5 s for the session above to be gone.
    admin
        .batch_execute(&format!("ALTER DATABASE {DATABASE}_loading RENAME TO {DATABASE}"))
        .await
        .map_err(PostgresError::sql("name the sample database"))
}
