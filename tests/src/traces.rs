//! What a statement could leave behind in a server, to be compared before and
//! after: rows, catalogs, settings, locks, files. Called by the suites that run
//! what the guard accepts, and through an edge what it refuses.
//! Invariant: looking changes nothing; so rows are printed as records, since a
//! cast to text could be the database's own.

use anyhow::Context as _;
use tokio_postgres::Client;

/// What was looked at and what was there, for each thing that a statement could
/// leave behind in this database or in the server.
///
/// # Errors
/// A catalog cannot be read; `admin` must be a superuser.
pub async fn traces(admin: &Client) -> anyhow::Result<Vec<(String, String)>> {
    let mut traces = Vec::new();
    let mut note = async |what: String, sql: &str| {
        let row = admin.query_one(sql, &[]).await.with_context(|| format!("cannot look at {what}"))?;
        traces.push((what, row.get::<_, Option<String>>(0).unwrap_or_default()));
        anyhow::Ok(())
    };
    let tables = admin
        .query(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
             WHERE relkind IN ('r', 'm', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1",
            &[],
        )
        .await
        .context("cannot list the tables")?;
    for table in tables.iter().map(|row| row.get::<_, String>(0)) {
        let sql = format!(
            "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(record_out(t)::text, 0)), 0) FROM {table} t"
        );
        note(table, &sql).await?;
    }
    let catalogs = [
        ("pg_class", "oid, relname, relnamespace, relowner, relkind, relfilenode, relacl, reloptions, relrowsecurity"),
        ("pg_proc", "oid, proname, proowner, prosrc, proacl, proconfig"),
        ("pg_attribute", "attrelid, attname, atttypid, attisdropped, attacl"),
        ("pg_authid", "t.*"),
        ("pg_auth_members", "t.*"),
        ("pg_db_role_setting", "t.*"),
        ("pg_namespace", "t.*"),
        ("pg_extension", "t.*"),
        ("pg_trigger", "t.*"),
        ("pg_event_trigger", "t.*"),
        ("pg_rewrite", "oid, rulename, ev_class, ev_enabled"),
        ("pg_policy", "oid, polname"),
        ("pg_type", "oid, typname, typowner"),
        ("pg_description", "t.*"),
        ("pg_language", "t.*"),
        ("pg_cast", "t.*"),
        ("pg_foreign_server", "t.*"),
        ("pg_publication", "t.*"),
        ("pg_subscription", "oid, subname"),
        ("pg_tablespace", "t.*"),
        ("pg_default_acl", "t.*"),
        ("pg_seclabel", "t.*"),
        ("pg_largeobject", "t.*"),
        ("pg_largeobject_metadata", "t.*"),
        ("pg_replication_slots", "slot_name, active"),
        ("pg_replication_origin", "t.*"),
        ("pg_prepared_xacts", "gid"),
        ("pg_file_settings", "t.*"),
        ("pg_hba_file_rules", "t.*"),
        ("pg_ls_dir('.') t(name)", "name"),
        ("pg_ls_dir('pg_replslot') t(name)", "name"),
    ];
    for (catalog, columns) in catalogs {
        let from = if catalog.contains('(') { catalog.to_owned() } else { format!("{catalog} t") };
        let sql = format!(
            "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(record_out(ROW({columns}))::text, 0)), 0) FROM {from}"
        );
        note(catalog.to_owned(), &sql).await?;
    }
    let single = [
        (
            "databases",
            "SELECT string_agg(datname || ' ' || coalesce(datacl::text, ''), ',' ORDER BY datname) FROM pg_database",
        ),
        (
            "settings",
            "SELECT md5(string_agg(name || '=' || coalesce(setting, ''), ',' ORDER BY name)) FROM pg_settings",
        ),
        (
            "sequences",
            "SELECT string_agg(schemaname || '.' || sequencename || ' ' || coalesce(last_value, 0), ',' ORDER BY 1) FROM pg_sequences",
        ),
        ("advisory locks", "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'"),
        ("start of the server", "SELECT pg_postmaster_start_time()::text"),
        ("load of the settings", "SELECT pg_conf_load_time()::text"),
        ("in recovery, backup", "SELECT pg_is_in_recovery()::text"),
        // Whoever writes takes a transaction id.
        ("transactions that wrote", "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"),
    ];
    for (what, sql) in single {
        note(what.to_owned(), sql).await?;
    }
    Ok(traces)
}
