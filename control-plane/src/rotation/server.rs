//! What a rotation asks of a database's server, as the manager.
//! Invariant: a statement holds a SCRAM verifier and never the password, so that
//! the server's log shows none whatever it is told to log.

use nla_domain::database::Database;
use postgres_protocol::password::scram_sha_256;

use crate::{
    postgres::{Connection, ServerError, connect},
    store::{Login, RotationRecord},
};

/// Between two looks whether a session that was ended is gone.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
/// Ended sessions are gone in milliseconds.
const MOST_LOOKS: u32 = 50;

/// A double-quoted identifier (PostgreSQL manual, 4.1.1).
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Lets the role in with that password.
pub(super) async fn set_password(database: &Database, manager: &Login, login: &Login) -> Result<(), ServerError> {
    let password = login.password.clone();
    let verifier = tokio::task::spawn_blocking(move || scram_sha_256(password.expose().as_bytes()));
    let verifier = verifier.await.map_err(|_| ServerError::new("the verifier could not be computed"))?;
    let role = identifier(&login.username);
    let sql = format!("ALTER ROLE {role} WITH LOGIN PASSWORD '{verifier}'");
    connect(database, manager).await?.run(&sql).await
}

/// Logs in, so that the password is proven.
pub(crate) async fn verify(database: &Database, login: &Login) -> Result<(), ServerError> {
    connect(database, login).await?.run("SELECT 1").await
}

/// Sessions of a role on that server, in any database.
pub(super) async fn sessions(connection: &Connection, role: &str) -> Result<i64, ServerError> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = $1::text::name";
    let rows = connection.rows(sql, &[&role]).await?;
    let count = rows.first().map(|row| row.try_get(0));
    count.and_then(Result::ok).ok_or_else(|| ServerError::new("its server did not count the sessions"))
}

/// Shuts a role and ends its sessions.
pub(super) async fn shut(database: &Database, manager: &Login, role: &str) -> Result<(), ServerError> {
    let connection = connect(database, manager).await?;
    connection.run(&format!("ALTER ROLE {} WITH NOLOGIN PASSWORD NULL", identifier(role))).await?;
    let end = "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
               WHERE usename = $1::text::name";
    for _ in 0..MOST_LOOKS {
        if sessions(&connection, role).await? == 0 {
            return Ok(());
        }
        connection.rows(end, &[&role]).await?;
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(ServerError::new(format!("sessions of {role} do not end")))
}

/// What the pair needs, and whether the manager may do what it has to.
const PAIR: &str = "SELECT pg_catalog.current_setting('server_version_num')::int, \
    (SELECT rolcreaterole OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user), \
    (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = ANY ($1)), \
    (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = ANY ($1) AND (rolsuper OR rolcreaterole OR rolreplication)), \
    (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = ANY ($1) AND pg_catalog.pg_has_role(oid, 'MEMBER WITH ADMIN OPTION')), \
    (SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = ANY ($1) \
        AND (pg_catalog.pg_has_role(oid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))";

/// Whether a pair can take turns: both roles are there and harmless, and the
/// manager may set their passwords and end their sessions.
///
/// # Errors
/// [`ServerError`] says what is missing.
pub(crate) async fn check_pair(database: &Database, record: &RotationRecord) -> Result<(), ServerError> {
    let connection = connect(database, &record.manager).await?;
    let rows = connection.rows(PAIR, &[&record.roles.as_slice()]).await?;
    let malformed = |_| ServerError::new("its server answered something else than was asked");
    let row = rows.first().ok_or_else(|| ServerError::new("its server answered nothing"))?;
    let number = |at: usize| row.try_get::<_, i64>(at).map_err(malformed);
    let version: i32 = row.try_get(0).map_err(malformed)?;
    let creates: bool = row.try_get(1).map_err(malformed)?;
    let [a, b] = &record.roles;
    let manager = &record.manager.username;
    let script = "`nlactl credential rotation-sql` prints the statements that mend it";
    let refuse = |what: String| Err(ServerError::new(format!("{what}; {script}")));
    if number(2)? != 2 {
        return refuse(format!("its server does not have both roles {a} and {b}"));
    }
    if number(3)? != 0 {
        return refuse(format!("{a} or {b} is a superuser, makes roles or replicates, so no manager may change it"));
    }
    if !creates || (version >= 160_000 && number(4)? != 2) {
        return refuse(format!("{manager} may not set the passwords of {a} and {b}"));
    }
    if number(5)? != 2 {
        return refuse(format!("{manager} may not end the sessions of {a} and {b}"));
    }
    Ok(())
}
