//! Each right beyond reading, as the test of a database shows it.

use nla_domain::database::DatabaseLimits;

use super::bench::Bench;

/// What gives the right, what takes it away, and what is said of it. The first
/// column is dangerous where it says so.
const CASES: [(bool, &str, &str, &str); 22] = [
    (true, "ALTER ROLE reader SUPERUSER", "ALTER ROLE reader NOSUPERUSER", "is a superuser"),
    (true, "GRANT boss TO reader", "REVOKE boss FROM reader", "may become a superuser"),
    (true, "ALTER ROLE reader BYPASSRLS", "ALTER ROLE reader NOBYPASSRLS", "has BYPASSRLS"),
    (true, "ALTER ROLE reader REPLICATION", "ALTER ROLE reader NOREPLICATION", "has REPLICATION"),
    (true, "ALTER ROLE reader CREATEROLE", "ALTER ROLE reader NOCREATEROLE", "has CREATEROLE"),
    (true, "GRANT maker TO reader", "REVOKE maker FROM reader", "may take a role that has CREATEROLE"),
    (
        true,
        "GRANT pg_read_server_files TO reader",
        "REVOKE pg_read_server_files FROM reader",
        "of pg_read_server_files",
    ),
    (true, "GRANT programs TO reader", "REVOKE programs FROM reader", "of pg_execute_server_program"),
    (true, "GRANT pg_write_all_data TO reader", "REVOKE pg_write_all_data FROM reader", "of pg_write_all_data"),
    (true, "GRANT pg_signal_backend TO reader", "REVOKE pg_signal_backend FROM reader", "of pg_signal_backend"),
    (
        true,
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO reader",
        "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM reader",
        "may call pg_read_file()",
    ),
    (
        false,
        "GRANT EXECUTE ON FUNCTION pg_stat_reset() TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION pg_stat_reset() FROM PUBLIC",
        "may call pg_stat_reset()",
    ),
    (false, "ALTER ROLE reader CREATEDB", "ALTER ROLE reader NOCREATEDB", "has CREATEDB"),
    (false, "GRANT pg_monitor TO reader", "REVOKE pg_monitor FROM reader", "of pg_monitor"),
    (
        false,
        "GRANT TEMP ON DATABASE postgres TO PUBLIC",
        "REVOKE TEMP ON DATABASE postgres FROM PUBLIC",
        "temporary tables",
    ),
    (
        false,
        "GRANT CREATE ON DATABASE postgres TO reader",
        "REVOKE CREATE ON DATABASE postgres FROM reader",
        "may create schemas",
    ),
    (
        false,
        "GRANT CREATE ON SCHEMA public TO PUBLIC",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        "objects in schema public",
    ),
    (false, "ALTER SCHEMA app OWNER TO reader", "ALTER SCHEMA app OWNER TO postgres", "owns schema app"),
    (false, "ALTER TABLE app.t OWNER TO reader", "ALTER TABLE app.t OWNER TO postgres", "owns 1 relations"),
    (
        false,
        "GRANT UPDATE (a) ON app.t TO PUBLIC",
        "REVOKE UPDATE (a) ON app.t FROM PUBLIC",
        "may write to 1 relations",
    ),
    (false, "GRANT writers TO reader", "REVOKE writers FROM reader", "may write to 1 relations"),
    (
        false,
        "GRANT USAGE ON SEQUENCE app.s TO reader",
        "REVOKE USAGE ON SEQUENCE app.s FROM reader",
        "may advance 1 sequences",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_right_is_found_and_counted() {
    let bench = Bench::start(DatabaseLimits::default()).await;
    bench
        .admin
        .batch_execute(
            "ALTER SCHEMA app OWNER TO postgres; REVOKE ALL ON SCHEMA app FROM reader; GRANT USAGE ON SCHEMA app TO reader;
             REVOKE TEMP ON DATABASE postgres FROM PUBLIC; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
             CREATE TABLE app.t (a int); GRANT SELECT ON app.t TO reader; CREATE SEQUENCE app.s;
             CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
             GRANT pg_read_all_data TO reader;
             CREATE ROLE boss SUPERUSER; CREATE ROLE maker CREATEROLE;
             CREATE ROLE programs; GRANT pg_execute_server_program TO programs;
             CREATE ROLE writers NOINHERIT; GRANT DELETE ON app.t TO writers;",
        )
        .await
        .unwrap();
    let name = "shop".parse().unwrap();
    let reader = bench.pipeline.probe(&name).await;
    assert!(reader.ok && reader.warnings.is_empty(), "{reader:?}");
    for (dangerous, give, take, what) in CASES {
        bench.admin.batch_execute(give).await.unwrap();
        let probe = bench.pipeline.probe(&name).await;
        assert!(probe.warnings.iter().any(|warning| warning.contains(what)), "{give}: {probe:?}");
        assert_eq!(probe.ok, !dangerous, "{give}: {probe:?}");
        if dangerous {
            assert_eq!(probe.stage, "rights");
            assert!(probe.error.contains(what) && probe.error.contains("nlactl database grant-sql shop"), "{probe:?}");
        }
        assert!(!format!("{probe:?}").contains("reader secret"));
        bench.admin.batch_execute(take).await.unwrap();
        let clean = bench.pipeline.probe(&name).await;
        assert!(clean.ok && clean.warnings.is_empty(), "{take}: {clean:?}");
    }
}
