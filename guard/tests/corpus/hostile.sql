-- Statements that must be refused, one a paragraph, each behind "-- refuse: code".
-- A line "-- rules: ..." names exceptions, as in harmless.sql.

-- refuse: guard.text.empty
-- only a comment

-- refuse: guard.text.empty
/* nothing */

-- refuse: guard.text.empty
; ;

-- refuse: guard.text.syntax
SELEC 1

-- refuse: guard.text.syntax
SELECT * FORM t

-- refuse: guard.text.syntax
SELECT (1

-- refuse: guard.text.syntax
SELECT 'unterminated

-- refuse: guard.text.syntax
/* open

-- refuse: guard.text.syntax
SELECT $a$ open

-- refuse: guard.text.syntax
\d orders

-- refuse: guard.text.syntax
SELECT 1 2

-- refuse: guard.text.syntax
SELECT "

-- refuse: guard.text.syntax
SHOW

-- refuse: guard.text.syntax
EXPLAIN

-- refuse: guard.text.syntax
SELECT * FROM t WHERE

-- refuse: guard.text.syntax
SELECT 1 LIMIT 1 LIMIT 2

-- refuse: guard.statement.many
SELECT 1; SELECT 2

-- refuse: guard.statement.many
SELECT 1; DROP TABLE orders

-- refuse: guard.statement.many
SELECT 1;;DELETE FROM t

-- refuse: guard.statement.many
SELECT '; '; COMMIT

-- refuse: guard.statement.many
SELECT 1 /* ; */ ; SELECT 2

-- refuse: guard.statement.many
SELECT 1;
UPDATE t SET a = 1;

-- refuse: guard.statement.many
COMMIT; DROP TABLE t

-- refuse: guard.statement.many
BEGIN; SELECT 1; COMMIT

-- refuse: guard.statement.many
SELECT $$;$$; ROLLBACK

-- refuse: guard.statement.many
SELECT '\'; DROP TABLE t; --'

-- refuse: guard.statement.insert
INSERT INTO t VALUES (1)

-- refuse: guard.statement.insert
INSERT INTO t SELECT * FROM u RETURNING *

-- refuse: guard.statement.insert
WITH x AS (INSERT INTO t VALUES (1) RETURNING *) SELECT * FROM x

-- refuse: guard.statement.insert
SELECT * FROM (WITH x AS (INSERT INTO t DEFAULT VALUES RETURNING 1) SELECT * FROM x) s

-- refuse: guard.statement.insert
WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x

-- refuse: guard.statement.update
UPDATE t SET a = 1

-- refuse: guard.statement.update
WITH x AS (UPDATE t SET a = 1 RETURNING *) TABLE x

-- refuse: guard.statement.update
uPdAtE t SET a=1

-- refuse: guard.statement.update
/**/UPDATE/**/t SET a=1

-- refuse: guard.statement.update
WITH RECURSIVE a AS (SELECT 1), b AS (UPDATE t SET a = 1 RETURNING 1) SELECT 1

-- refuse: guard.statement.update
SELECT (WITH x AS (UPDATE t SET a=1 RETURNING 1) SELECT 1)

-- refuse: guard.statement.update
SELECT 1 UNION (WITH x AS (UPDATE t SET a=1 RETURNING 1) SELECT 1)

-- refuse: guard.statement.delete
DELETE FROM t

-- refuse: guard.statement.delete
WITH x AS (DELETE FROM t RETURNING *) SELECT count(*) FROM x

-- refuse: guard.statement.delete
WITH x AS (SELECT 1), y AS MATERIALIZED (DELETE FROM t) SELECT 1

-- refuse: guard.statement.delete
VALUES ((WITH x AS (DELETE FROM t RETURNING 1) SELECT 1))

-- refuse: guard.statement.merge
MERGE INTO t USING u ON t.id = u.id WHEN MATCHED THEN DELETE

-- refuse: guard.statement.merge
WITH x AS (MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE RETURNING *) SELECT * FROM x

-- refuse: guard.statement.into
SELECT * INTO copy FROM t

-- refuse: guard.statement.into
SELECT 1 INTO TEMP x

-- refuse: guard.statement.into
CREATE TABLE x AS SELECT 1

-- refuse: guard.statement.into
CREATE TEMP TABLE x AS TABLE t

-- refuse: guard.statement.into
CREATE MATERIALIZED VIEW v AS SELECT 1

-- refuse: guard.statement.into
SELECT 1 INTO UNLOGGED x UNION SELECT 2

-- refuse: guard.statement.into
CREATE TABLE x AS EXECUTE p

-- refuse: guard.statement.into
(SELECT 1 INTO x)

-- refuse: guard.statement.row_lock
SELECT * FROM t FOR UPDATE

-- refuse: guard.statement.row_lock
SELECT * FROM t FOR SHARE SKIP LOCKED

-- refuse: guard.statement.row_lock
SELECT * FROM t FOR NO KEY UPDATE NOWAIT

-- refuse: guard.statement.row_lock
SELECT * FROM t FOR KEY SHARE OF t

-- refuse: guard.statement.row_lock
SELECT * FROM (SELECT * FROM t FOR UPDATE) s

-- refuse: guard.statement.row_lock
WITH x AS (SELECT * FROM t FOR UPDATE) SELECT 1

-- refuse: guard.statement.row_lock
SELECT EXISTS (SELECT 1 FROM t FOR SHARE)

-- refuse: guard.statement.row_lock
EXPLAIN SELECT * FROM t FOR UPDATE

-- refuse: guard.statement.transaction
BEGIN

-- refuse: guard.statement.transaction
START TRANSACTION READ WRITE

-- refuse: guard.statement.transaction
COMMIT

-- refuse: guard.statement.transaction
ROLLBACK

-- refuse: guard.statement.transaction
END

-- refuse: guard.statement.transaction
ABORT

-- refuse: guard.statement.transaction
SAVEPOINT s

-- refuse: guard.statement.transaction
RELEASE s

-- refuse: guard.statement.transaction
ROLLBACK TO s

-- refuse: guard.statement.transaction
PREPARE TRANSACTION 'x'

-- refuse: guard.statement.transaction
COMMIT PREPARED 'x'

-- refuse: guard.statement.transaction
COMMIT AND CHAIN

-- refuse: guard.statement.setting
SET TRANSACTION READ WRITE

-- refuse: guard.statement.setting
SET x = 1

-- refuse: guard.statement.setting
SET LOCAL statement_timeout = 0

-- refuse: guard.statement.setting
RESET ALL

-- refuse: guard.statement.setting
RESET role

-- refuse: guard.statement.setting
SET ROLE postgres

-- refuse: guard.statement.setting
SET SESSION AUTHORIZATION postgres

-- refuse: guard.statement.setting
DISCARD ALL

-- refuse: guard.statement.setting
ALTER SYSTEM SET x = 1

-- refuse: guard.statement.setting
SET TIME ZONE 'UTC'

-- refuse: guard.statement.setting
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE

-- refuse: guard.statement.other
SET CONSTRAINTS ALL DEFERRED

-- refuse: guard.statement.copy
COPY t TO STDOUT

-- refuse: guard.statement.copy
COPY t FROM '/etc/passwd'

-- refuse: guard.statement.copy
COPY (SELECT 1) TO PROGRAM 'id'

-- refuse: guard.statement.copy
COPY (DELETE FROM t RETURNING *) TO STDOUT

-- refuse: guard.statement.routine
DO $$ BEGIN DELETE FROM t; END $$

-- refuse: guard.statement.routine
CALL p()

-- refuse: guard.statement.prepared
PREPARE p AS DELETE FROM t

-- refuse: guard.statement.prepared
EXECUTE p

-- refuse: guard.statement.prepared
DEALLOCATE ALL

-- refuse: guard.statement.prepared
DECLARE c CURSOR FOR SELECT 1

-- refuse: guard.statement.prepared
FETCH ALL FROM c

-- refuse: guard.statement.prepared
MOVE c

-- refuse: guard.statement.prepared
CLOSE ALL

-- refuse: guard.statement.prepared
DECLARE c CURSOR WITH HOLD FOR SELECT 1

-- refuse: guard.statement.notify
NOTIFY x

-- refuse: guard.statement.notify
LISTEN x

-- refuse: guard.statement.notify
UNLISTEN *

-- refuse: guard.statement.notify
NOTIFY x, 'payload'

-- refuse: guard.statement.lock
LOCK TABLE t

-- refuse: guard.statement.lock
LOCK t IN ACCESS EXCLUSIVE MODE NOWAIT

-- refuse: guard.statement.ddl
CREATE TABLE x (a int)

-- refuse: guard.statement.ddl
DROP TABLE t

-- refuse: guard.statement.ddl
TRUNCATE t

-- refuse: guard.statement.ddl
ALTER TABLE t ADD a int

-- refuse: guard.statement.ddl
CREATE INDEX i ON t (a)

-- refuse: guard.statement.ddl
CREATE VIEW v AS SELECT 1

-- refuse: guard.statement.ddl
COMMENT ON TABLE t IS 'x'

-- refuse: guard.statement.ddl
CREATE EXTENSION dblink

-- refuse: guard.statement.ddl
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'select 1'

-- refuse: guard.statement.ddl
DROP DATABASE x

-- refuse: guard.statement.ddl
REFRESH MATERIALIZED VIEW v

-- refuse: guard.statement.ddl
ALTER TABLE t RENAME TO u

-- refuse: guard.statement.ddl
CREATE SCHEMA s

-- refuse: guard.statement.ddl
CREATE SEQUENCE s

-- refuse: guard.statement.ddl
ALTER SEQUENCE s RESTART

-- refuse: guard.statement.ddl
DROP FUNCTION f()

-- refuse: guard.statement.grant
GRANT ALL ON t TO public

-- refuse: guard.statement.grant
REVOKE ALL ON t FROM x

-- refuse: guard.statement.grant
CREATE ROLE x

-- refuse: guard.statement.grant
ALTER ROLE x SUPERUSER

-- refuse: guard.statement.grant
DROP ROLE x

-- refuse: guard.statement.grant
GRANT a TO b

-- refuse: guard.statement.grant
REASSIGN OWNED BY a TO b

-- refuse: guard.statement.grant
DROP OWNED BY x

-- refuse: guard.statement.other
VACUUM t

-- refuse: guard.statement.other
ANALYZE t

-- refuse: guard.statement.other
REINDEX TABLE t

-- refuse: guard.statement.other
CLUSTER t

-- refuse: guard.statement.other
CHECKPOINT

-- refuse: guard.statement.other
LOAD 'x'

-- refuse: guard.statement.other
IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c

-- refuse: guard.statement.other
SECURITY LABEL ON TABLE t IS NULL

-- refuse: guard.explain.statement
EXPLAIN CREATE TABLE x AS SELECT 1

-- refuse: guard.explain.statement
EXPLAIN EXECUTE p

-- refuse: guard.explain.statement
EXPLAIN DECLARE c CURSOR FOR SELECT 1

-- refuse: guard.explain.statement
EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT 1

-- refuse: guard.explain.statement
EXPLAIN REFRESH MATERIALIZED VIEW v

-- refuse: guard.explain.analyze
EXPLAIN ANALYZE SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN (ANALYZE) SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN (ANALYZE true) DELETE FROM t

-- refuse: guard.explain.analyze
EXPLAIN (ANALYZE 1) SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN (ANALYZE off, ANALYZE on) SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN (ANALYSE) SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN (VERBOSE, ANALYZE on) SELECT 1

-- refuse: guard.explain.analyze
EXPLAIN (ANALYZE 'on') SELECT 1

-- refuse: guard.statement.delete
-- rules: analyze
EXPLAIN ANALYZE DELETE FROM t

-- refuse: guard.statement.delete
-- rules: analyze
EXPLAIN (ANALYZE) WITH x AS (DELETE FROM t RETURNING 1) SELECT 1

-- refuse: guard.statement.delete
-- rules: analyze
EXPLAIN (ANALYZE off, ANALYZE) WITH x AS (DELETE FROM t RETURNING 1) SELECT 1

-- refuse: guard.statement.into
-- rules: analyze
EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1

-- refuse: guard.statement.into
EXPLAIN SELECT 1 INTO x

-- refuse: guard.statement.prepared
-- rules: analyze
EXPLAIN ANALYZE EXECUTE p

-- refuse: guard.statement.row_lock
-- rules: analyze
EXPLAIN ANALYZE SELECT * FROM t FOR UPDATE

-- refuse: guard.explain.option
EXPLAIN (foo) SELECT 1

-- refuse: guard.explain.option
EXPLAIN ("ANALYZE") SELECT 1

-- refuse: guard.show.setting
SHOW ALL

-- refuse: guard.show.setting
SHOW app.secret

-- refuse: guard.show.setting
SHOW hba_file

-- refuse: guard.show.setting
SHOW data_directory

-- refuse: guard.show.setting
SHOW primary_conninfo

-- refuse: guard.show.setting
SHOW ssl_key_file

-- refuse: guard.show.setting
SHOW listen_addresses

-- refuse: guard.show.setting
SHOW application_name

-- refuse: guard.show.setting
SELECT current_setting('app.secret')

-- refuse: guard.show.setting
SELECT current_setting('app.' || 'secret')

-- refuse: guard.show.setting
SELECT pg_catalog.current_setting('data_directory', true)

-- refuse: guard.show.setting
SELECT current_setting(setting_name => 'app.x')

-- refuse: guard.show.setting
SELECT current_setting(name) FROM t

-- refuse: guard.function.refused
SELECT set_config('a.b','c',false)

-- refuse: guard.function.refused
SELECT pg_catalog.set_config('a','b',true)

-- refuse: guard.function.refused
SELECT "set_config"('a','b',true)

-- refuse: guard.function.refused
SELECT U&"set\005Fconfig"('a','b',true)

-- refuse: guard.function.refused
SELECT U&"set!005Fconfig" UESCAPE '!' ('a','b',true)

-- refuse: guard.function.refused
SELECT SET_CONFIG('a','b',true)

-- refuse: guard.function.refused
SELECT set_config/**/('a','b',true)

-- refuse: guard.function.refused
SELECT 1 UNION ALL SELECT set_config('app.tenant','2',true)::int

-- refuse: guard.function.refused
WITH x AS (SELECT set_config('a','b',true)) SELECT * FROM x, secrets

-- refuse: guard.function.refused
SELECT * FROM t, LATERAL (SELECT set_config('a', t.x, true)) s

-- refuse: guard.function.refused
SELECT * FROM set_config('a','b',true)

-- refuse: guard.function.refused
SELECT * FROM ROWS FROM (set_config('a','b',true), generate_series(1,2)) x

-- refuse: guard.function.refused
SELECT 1 WHERE set_config('a','b',true) = 'b'

-- refuse: guard.function.refused
SELECT 1 ORDER BY set_config('a','b',true)

-- refuse: guard.function.refused
SELECT count(*) FILTER (WHERE set_config('a','b',true) = 'b') FROM t

-- refuse: guard.function.refused
SELECT array_agg(x ORDER BY set_config('a','b',true)) FROM t

-- refuse: guard.function.refused
SELECT sum(1) OVER (PARTITION BY set_config('a','b',true)) FROM t

-- refuse: guard.function.refused
SELECT 1 FROM t WINDOW w AS (ORDER BY set_config('a','b',true))

-- refuse: guard.function.refused
SELECT 1 GROUP BY set_config('a','b',true)

-- refuse: guard.function.refused
SELECT 1 HAVING set_config('a','b',true) = ''

-- refuse: guard.function.refused
SELECT 1 LIMIT length(set_config('a','b',true))

-- refuse: guard.function.refused
SELECT 1 OFFSET length(set_config('a','b',true))

-- refuse: guard.function.refused
VALUES (set_config('a','b',true))

-- refuse: guard.function.refused
SELECT CASE WHEN true THEN set_config('a','b',true) END

-- refuse: guard.function.refused
SELECT ARRAY[set_config('a','b',true)]

-- refuse: guard.function.refused
SELECT (ARRAY[1])[length(set_config('a','b',true))]

-- refuse: guard.function.refused
SELECT int4range(1, length(set_config('a','b',true)))

-- refuse: guard.function.refused
SELECT ROW(set_config('a','b',true))

-- refuse: guard.function.refused
SELECT COALESCE(set_config('a','b',true), '')

-- refuse: guard.function.refused
SELECT set_config('a','b',true) IS NULL

-- refuse: guard.function.refused
SELECT 'a' IN ('b', set_config('a','b',true))

-- refuse: guard.function.refused
SELECT 'a' BETWEEN 'a' AND set_config('a','b',true)

-- refuse: guard.function.refused
SELECT ''||set_config('a','b',true)

-- refuse: guard.function.refused
SELECT set_config('a','b',true)::text

-- refuse: guard.function.refused
SELECT EXISTS (SELECT set_config('a','b',true))

-- refuse: guard.function.refused
SELECT DISTINCT ON (set_config('a','b',true)) 1

-- refuse: guard.function.refused
SELECT * FROM a JOIN b ON set_config('a','b',true) = ''

-- refuse: guard.function.refused
SELECT * FROM t TABLESAMPLE bernoulli (length(set_config('a','b',true)))

-- refuse: guard.function.refused
SELECT concat(VARIADIC ARRAY[set_config('a','b',true)])

-- refuse: guard.function.refused
SELECT format('%s', set_config('a','b',true))

-- refuse: guard.function.refused
SELECT make_interval(days => length(set_config('a','b',true)))

-- refuse: guard.function.refused
EXPLAIN SELECT set_config('a','b',true)

-- refuse: guard.function.refused
EXPLAIN UPDATE t SET a = set_config('a','b',true)

-- refuse: guard.function.refused
EXPLAIN UPDATE t SET (a, b) = (set_config('a','b',true), 1)

-- refuse: guard.function.refused
EXPLAIN INSERT INTO t VALUES (set_config('a','b',true))

-- refuse: guard.function.refused
EXPLAIN DELETE FROM t WHERE set_config('a','b',true) = ''

-- refuse: guard.function.refused
EXPLAIN INSERT INTO t VALUES (1) ON CONFLICT (length(set_config('a','b',true))) DO NOTHING

-- refuse: guard.function.refused
EXPLAIN MERGE INTO t USING u ON set_config('a','b',true)='' WHEN MATCHED THEN DELETE

-- refuse: guard.function.refused
EXPLAIN DELETE FROM t RETURNING set_config('a','b',true)

-- refuse: guard.function.refused
SELECT xmlelement(name x, set_config('a','b',true))

-- refuse: guard.function.refused
SELECT xmlforest(set_config('a','b',true) AS x)

-- refuse: guard.function.refused
SELECT 'a' COLLATE "C" < set_config('a','b',true)

-- refuse: guard.function.refused
SELECT max(a) OVER (ROWS length(set_config('a','b',true)) PRECEDING) FROM t

-- refuse: guard.function.refused
SELECT GREATEST('', set_config('a','b',true))

-- refuse: guard.function.refused
SELECT NULLIF('', set_config('a','b',true))

-- refuse: guard.function.refused
WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT length(set_config('a','b',true)) FROM t) SELECT * FROM t

-- refuse: guard.function.refused
SELECT pg_read_file('/etc/passwd')

-- refuse: guard.function.refused
SELECT ('/etc/passwd'::text).pg_read_file

-- refuse: guard.function.refused
SELECT ('/etc/passwd').pg_read_file

-- refuse: guard.function.refused
SELECT c.pg_read_file FROM (SELECT '/etc/passwd'::text) c

-- refuse: guard.function.refused
SELECT (c).pg_ls_dir FROM c

-- refuse: guard.function.refused
SELECT c.a.pg_ls_dir FROM c

-- refuse: guard.function.refused
SELECT pg_read_binary_file('x')

-- refuse: guard.function.refused
SELECT * FROM pg_ls_dir('.')

-- refuse: guard.function.refused
SELECT * FROM pg_ls_logdir()

-- refuse: guard.function.refused
SELECT pg_stat_file('x')

-- refuse: guard.function.refused
SELECT pg_relation_filepath('t')

-- refuse: guard.function.refused
SELECT pg_current_logfile()

-- refuse: guard.function.refused
SELECT lo_import('/etc/passwd')

-- refuse: guard.function.refused
SELECT lo_export(1, '/tmp/x')

-- refuse: guard.function.refused
SELECT lo_create(0)

-- refuse: guard.function.refused
SELECT lo_unlink(1)

-- refuse: guard.function.refused
SELECT lo_get(1)

-- refuse: guard.function.refused
SELECT lowrite(0, '')

-- refuse: guard.function.refused
SELECT loread(0, 1)

-- refuse: guard.function.refused
SELECT lo_from_bytea(0, '')

-- refuse: guard.function.refused
SELECT (1).lo_unlink

-- refuse: guard.function.refused
SELECT pg_terminate_backend(1)

-- refuse: guard.function.refused
SELECT pg_cancel_backend(pid) FROM x

-- refuse: guard.function.refused
SELECT x.pid.pg_terminate_backend FROM x

-- refuse: guard.function.refused
SELECT pg_blocking_pids(1)

-- refuse: guard.function.refused
SELECT pg_log_backend_memory_contexts(1)

-- refuse: guard.function.refused
SELECT pg_advisory_lock(1)

-- refuse: guard.function.refused
SELECT pg_try_advisory_xact_lock(1)

-- refuse: guard.function.refused
SELECT pg_advisory_unlock_all()

-- refuse: guard.function.refused
SELECT nextval('s')

-- refuse: guard.function.refused
SELECT setval('s', 1)

-- refuse: guard.function.refused
SELECT currval('s')

-- refuse: guard.function.refused
SELECT lastval()

-- refuse: guard.function.refused
SELECT ('s').nextval

-- refuse: guard.function.refused
SELECT pg_notify('a','b')

-- refuse: guard.function.refused
SELECT pg_sleep(10)

-- refuse: guard.function.refused
SELECT pg_sleep_for('1 hour')

-- refuse: guard.function.refused
SELECT pg_sleep_until('tomorrow')

-- refuse: guard.function.refused
SELECT (10).pg_sleep

-- refuse: guard.function.refused
SELECT query_to_xml('delete from t', true, false, '')

-- refuse: guard.function.refused
SELECT table_to_xml('t', true, false, '')

-- refuse: guard.function.refused
SELECT cursor_to_xml('c', 1, true, false, '')

-- refuse: guard.function.refused
SELECT schema_to_xml('public', true, false, '')

-- refuse: guard.function.refused
SELECT database_to_xml(true, false, '')

-- refuse: guard.function.refused
SELECT query_to_xmlschema('select 1', true, false, '')

-- refuse: guard.function.refused
SELECT * FROM ts_stat('select 1')

-- refuse: guard.function.refused
SELECT ts_rewrite('a'::tsquery, 'select 1,2')

-- refuse: guard.function.refused
SELECT dblink('dbname=x', 'delete from t')

-- refuse: guard.function.refused
SELECT * FROM dblink('select 1') AS t(a int)

-- refuse: guard.function.refused
SELECT public.dblink_exec('x')

-- refuse: guard.function.refused
SELECT ('dbname=x').dblink_connect

-- refuse: guard.function.refused
SELECT * FROM crosstab('select 1')

-- refuse: guard.function.refused
SELECT connectby('t','a','b','c',0)

-- refuse: guard.function.refused
SELECT ext.crosstab2('select 1')

-- refuse: guard.function.refused
SELECT pg_create_restore_point('x')

-- refuse: guard.function.refused
SELECT pg_switch_wal()

-- refuse: guard.function.refused
SELECT pg_current_wal_lsn()

-- refuse: guard.function.refused
SELECT pg_export_snapshot()

-- refuse: guard.function.refused
SELECT pg_logical_emit_message(true,'a','b')

-- refuse: guard.function.refused
SELECT pg_create_physical_replication_slot('x')

-- refuse: guard.function.refused
SELECT pg_drop_replication_slot('x')

-- refuse: guard.function.refused
SELECT pg_promote()

-- refuse: guard.function.refused
SELECT pg_replication_origin_create('x')

-- refuse: guard.function.refused
SELECT pg_backup_start('x')

-- refuse: guard.function.refused
SELECT pg_wal_replay_pause()

-- refuse: guard.function.refused
SELECT pg_stat_reset()

-- refuse: guard.function.refused
SELECT pg_stat_get_activity(NULL)

-- refuse: guard.function.refused
SELECT pg_stat_clear_snapshot()

-- refuse: guard.function.refused
SELECT pg_reload_conf()

-- refuse: guard.function.refused
SELECT pg_rotate_logfile()

-- refuse: guard.function.refused
SELECT pg_show_all_settings()

-- refuse: guard.function.refused
SELECT pg_hba_file_rules()

-- refuse: guard.function.refused
SELECT pg_config()

-- refuse: guard.function.refused
SELECT inet_server_addr()

-- refuse: guard.function.refused
SELECT inet_client_addr()

-- refuse: guard.function.refused
SELECT pg_control_system()

-- refuse: guard.function.refused
SELECT txid_current()

-- refuse: guard.function.refused
SELECT pg_current_xact_id()

-- refuse: guard.function.refused
SELECT setseed(0.5)

-- refuse: guard.function.refused
SELECT pg_get_functiondef(1)

-- refuse: guard.function.refused
SELECT pg_import_system_collations('x')

-- refuse: guard.function.refused
SELECT brin_summarize_new_values('i')

-- refuse: guard.function.refused
SELECT gin_clean_pending_list('i')

-- refuse: guard.function.refused
SELECT currtid2('t', '(0,1)')

-- refuse: guard.function.refused
SELECT binary_upgrade_set_next_pg_type_oid(1)

-- refuse: guard.function.refused
SELECT fmgr_sql_validator(1)

-- refuse: guard.function.refused
SELECT plpgsql_validator(1)

-- refuse: guard.function.refused
SELECT amvalidate(1)

-- refuse: guard.function.refused
SELECT xpath('//a', x) FROM t

-- refuse: guard.function.refused
SELECT xpath_exists('//a', x)

-- refuse: guard.function.refused
SELECT * FROM xmltable('//a' PASSING x COLUMNS b int)

-- refuse: guard.function.refused
SELECT xmlexists('//a' PASSING x)

-- refuse: guard.function.refused
SELECT public.pg_sleep(1)

-- refuse: guard.function.refused
SELECT pg_prewarm('t')

-- refuse: guard.function.refused
SELECT * FROM pg_lock_status()

-- refuse: guard.function.refused
SELECT * FROM pg_prepared_xact()

-- refuse: guard.function.refused
SELECT pg_file_write('x','y',false)

-- refuse: guard.function.refused
SELECT * FROM pg_stat_statements(true)

-- refuse: guard.function.refused
SELECT (SELECT 'x').pg_read_file

-- refuse: guard.function.refused
SELECT (lower('X')).pg_read_file

-- refuse: guard.function.refused
SELECT t.current_setting FROM t

-- refuse: guard.function.refused
SELECT ('app.x').current_setting

-- refuse: guard.function.refused
SELECT (x).current_setting FROM x

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_VALUE('{}', '$' DEFAULT set_config('a','b',true) ON EMPTY)

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_OBJECT('a': set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_ARRAY(set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_ARRAY(SELECT set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_QUERY('{}', '$' PASSING set_config('a','b',true) AS x)

-- refuse: guard.function.refused
-- rules: server=18
SELECT * FROM JSON_TABLE(set_config('a','{}',true)::json, '$' COLUMNS (a int))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_SCALAR(set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_SERIALIZE(set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_ARRAYAGG(set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_OBJECTAGG(set_config('a','b',true): 1)

-- refuse: guard.function.refused
-- rules: server=18
SELECT set_config('a','b',true) IS JSON

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON(set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT * FROM JSON_TABLE('{}', '$' COLUMNS (a int PATH '$' DEFAULT length(set_config('a','b',true)) ON EMPTY))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_ARRAYAGG(1 ORDER BY set_config('a','b',true))

-- refuse: guard.function.refused
-- rules: server=18
SELECT JSON_ARRAYAGG(1) FILTER (WHERE set_config('a','b',true)='')

-- refuse: guard.function.unknown
SELECT my_function()

-- refuse: guard.function.unknown
SELECT public.my_function(1)

-- refuse: guard.function.unknown
SELECT "Lower"('x')

-- refuse: guard.function.unknown
SELECT a.b.c(1)

-- refuse: guard.function.unknown
SELECT public.lower('x')

-- refuse: guard.function.unknown
SELECT information_schema._pg_truetypid(a, t) FROM t

-- refuse: guard.function.unknown
SELECT any_value(x) FROM t

-- refuse: guard.function.unknown
SELECT uuidv7()

-- refuse: guard.function.unknown
SELECT ('x').my_function

-- refuse: guard.function.unknown
SELECT ('x'::text).my_function

-- refuse: guard.function.unknown
SELECT (true AND false).f

-- refuse: guard.function.unknown
SELECT pg_temp.f()

-- refuse: guard.function.unknown
SELECT prosrc(p) FROM pg_proc p

-- refuse: guard.function.unknown
SELECT * FROM t TABLESAMPLE system_rows(1)

-- refuse: guard.function.unknown
SELECT * FROM t TABLESAMPLE public.bernoulli(1)

-- refuse: guard.function.unknown
SELECT count(*) FROM public.f(1)

-- refuse: guard.operator.unknown
SELECT 1 OPERATOR(public.+) 2

-- refuse: guard.operator.unknown
SELECT a <% b

-- refuse: guard.operator.unknown
SELECT 1 OPERATOR(a.b.+) 2

-- refuse: guard.operator.unknown
SELECT a = ANY (SELECT 1) , a OPERATOR(evil.=) ANY (SELECT 1)

-- refuse: guard.operator.unknown
SELECT a FROM t ORDER BY a USING OPERATOR(public.<)

-- refuse: guard.operator.unknown
SELECT ### 1

-- refuse: guard.operator.unknown
SELECT 1 OPERATOR(public.=) ALL (ARRAY[1])

-- refuse: guard.relation.sensitive
SELECT * FROM pg_authid

-- refuse: guard.relation.sensitive
SELECT * FROM pg_shadow

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_activity

-- refuse: guard.relation.sensitive
SELECT * FROM pg_catalog.pg_stat_activity

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_statements

-- refuse: guard.relation.sensitive
SELECT * FROM public.pg_stat_statements

-- refuse: guard.relation.sensitive
SELECT * FROM pg_settings

-- refuse: guard.relation.sensitive
SELECT * FROM pg_file_settings

-- refuse: guard.relation.sensitive
SELECT * FROM pg_hba_file_rules

-- refuse: guard.relation.sensitive
SELECT * FROM pg_ident_file_mappings

-- refuse: guard.relation.sensitive
SELECT * FROM pg_subscription

-- refuse: guard.relation.sensitive
SELECT * FROM pg_user_mapping

-- refuse: guard.relation.sensitive
SELECT * FROM pg_user_mappings

-- refuse: guard.relation.sensitive
SELECT * FROM pg_db_role_setting

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stats

-- refuse: guard.relation.sensitive
SELECT * FROM pg_statistic

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stats_ext

-- refuse: guard.relation.sensitive
SELECT * FROM pg_statistic_ext_data

-- refuse: guard.relation.sensitive
SELECT * FROM pg_largeobject

-- refuse: guard.relation.sensitive
SELECT * FROM pg_largeobject_metadata

-- refuse: guard.relation.sensitive
SELECT * FROM pg_locks

-- refuse: guard.relation.sensitive
SELECT * FROM pg_prepared_xacts

-- refuse: guard.relation.sensitive
SELECT * FROM pg_prepared_statements

-- refuse: guard.relation.sensitive
SELECT * FROM pg_cursors

-- refuse: guard.relation.sensitive
SELECT * FROM pg_config

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_replication

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_ssl

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_gssapi

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_wal_receiver

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_subscription

-- refuse: guard.relation.sensitive
SELECT * FROM pg_replication_slots

-- refuse: guard.relation.sensitive
SELECT * FROM pg_replication_origin_status

-- refuse: guard.relation.sensitive
SELECT * FROM pg_shmem_allocations

-- refuse: guard.relation.sensitive
SELECT * FROM pg_backend_memory_contexts

-- refuse: guard.relation.sensitive
SELECT * FROM pg_toast.pg_toast_1234

-- refuse: guard.relation.sensitive
SELECT * FROM "pg_authid"

-- refuse: guard.relation.sensitive
SELECT * FROM PG_AUTHID

-- refuse: guard.relation.sensitive
SELECT * FROM U&"pg\005Fauthid"

-- refuse: guard.relation.sensitive
SELECT * FROM information_schema.user_mapping_options

-- refuse: guard.relation.sensitive
SELECT * FROM information_schema.foreign_server_options

-- refuse: guard.relation.sensitive
SELECT * FROM information_schema._pg_user_mappings

-- refuse: guard.relation.sensitive
SELECT * FROM pg_proc

-- refuse: guard.relation.sensitive
SELECT * FROM pg_roles

-- refuse: guard.relation.sensitive
SELECT * FROM pg_user

-- refuse: guard.relation.sensitive
SELECT * FROM pg_foreign_server

-- refuse: guard.relation.sensitive
SELECT * FROM pg_stat_progress_copy

-- refuse: guard.relation.sensitive
SELECT * FROM pg_seclabels

-- refuse: guard.relation.sensitive
SELECT * FROM pg_buffercache

-- refuse: guard.relation.sensitive
TABLE pg_authid

-- refuse: guard.relation.sensitive
SELECT (SELECT rolpassword FROM pg_authid LIMIT 1)

-- refuse: guard.relation.sensitive
SELECT 1 FROM t WHERE EXISTS (SELECT 1 FROM pg_shadow)

-- refuse: guard.relation.sensitive
WITH x AS (TABLE pg_authid) SELECT * FROM x

-- refuse: guard.relation.sensitive
WITH pg_authid AS (SELECT * FROM pg_authid) SELECT * FROM pg_authid

-- refuse: guard.relation.sensitive
SELECT * FROM (WITH pg_authid AS (SELECT 1) SELECT 1) s, pg_authid

-- refuse: guard.relation.sensitive
WITH pg_authid AS (SELECT 1) SELECT * FROM pg_catalog.pg_authid

-- refuse: guard.relation.sensitive
WITH x AS (SELECT * FROM pg_authid), pg_authid AS (SELECT 1) SELECT * FROM x

-- refuse: guard.relation.sensitive
SELECT 1 UNION (WITH pg_authid AS (SELECT 1) SELECT 1) UNION SELECT 1 FROM pg_authid

-- refuse: guard.relation.sensitive
EXPLAIN DELETE FROM pg_authid

-- refuse: guard.relation.sensitive
EXPLAIN WITH pg_authid AS (SELECT 1) DELETE FROM pg_authid

-- refuse: guard.relation.sensitive
SELECT * FROM t JOIN pg_authid ON true

-- refuse: guard.relation.sensitive
SELECT * FROM ONLY pg_authid

-- refuse: guard.relation.sensitive
SELECT * FROM pg_authid TABLESAMPLE system (100)

-- refuse: guard.relation.sensitive
SELECT prosrc FROM pg_proc

-- refuse: guard.relation.sensitive
SELECT p FROM pg_proc p

-- refuse: guard.relation.sensitive
SELECT p.prosrc FROM pg_proc AS p

-- refuse: guard.relation.sensitive
SELECT to_jsonb(p) FROM pg_proc p

-- refuse: guard.relation.sensitive
SELECT p.* FROM pg_proc p

-- refuse: guard.relation.sensitive
SELECT x FROM pg_proc AS p(a,b,c,x)

-- refuse: guard.relation.sensitive
SELECT pg_proc FROM pg_proc

-- refuse: guard.relation.sensitive
SELECT pg_catalog.pg_proc FROM pg_catalog.pg_proc

-- refuse: guard.relation.sensitive
SELECT (p).prosrc FROM pg_proc p

-- refuse: guard.relation.sensitive
SELECT j FROM (pg_proc p JOIN pg_namespace n ON true) AS j

-- refuse: guard.relation.sensitive
SELECT 1 FROM pg_proc p JOIN t USING (prosrc)

-- refuse: guard.relation.sensitive
SELECT rolconfig FROM pg_roles

-- refuse: guard.relation.sensitive
SELECT count(p) FROM pg_proc p

-- refuse: guard.relation.sensitive
SELECT row_to_json(r) FROM pg_roles r

-- refuse: guard.relation.sensitive
SELECT srvoptions FROM pg_foreign_server

-- refuse: guard.relation.sensitive
WITH q AS (SELECT * FROM pg_proc) SELECT count(*) FROM q

-- refuse: guard.relation.sensitive
SELECT 1 FROM pg_proc ORDER BY prosrc

-- refuse: guard.relation.temporary
SELECT * FROM pg_temp.t

-- refuse: guard.relation.temporary
SELECT * FROM pg_temp_3.t

-- refuse: guard.relation.temporary
SELECT * FROM pg_toast_temp_1.t

-- refuse: guard.relation.database
SELECT * FROM db.public.t

-- refuse: guard.type.refused
SELECT x::pg_temp.t

-- refuse: guard.type.refused
SELECT x::a.b.c.d

-- refuse: guard.expression.parameter
SELECT $1

-- refuse: guard.expression.parameter
SELECT * FROM t WHERE id = $1 AND x = $2

-- refuse: guard.expression.version
SELECT JSON_VALUE('{}', '$.a')

-- refuse: guard.expression.version
SELECT JSON_SCALAR(1)

-- refuse: guard.expression.version
SELECT * FROM JSON_TABLE('{}', '$' COLUMNS (a int))

-- refuse: guard.expression.version
SELECT JSON_OBJECT('a': 1)

-- refuse: guard.expression.version
SELECT JSON_ARRAY(1)

-- refuse: guard.expression.version
SELECT JSON_EXISTS('{}', '$')

-- refuse: guard.expression.version
SELECT JSON_QUERY('{}', '$')

-- refuse: guard.expression.version
SELECT JSON('{}')

-- refuse: guard.expression.version
SELECT JSON_SERIALIZE('{}')

-- refuse: guard.expression.version
SELECT 'a' IS JSON

-- refuse: guard.expression.version
-- rules: server=16
SELECT JSON_VALUE('{}', '$.a')

-- refuse: guard.expression.unknown
SELECT merge_action()

-- refuse: guard.expression.unknown
EXPLAIN DELETE FROM t WHERE CURRENT OF c

-- refuse: guard.expression.unknown
VALUES (DEFAULT)

-- refuse: guard.relation.sensitive
SELECT p.to_jsonb FROM pg_proc p

-- refuse: guard.relation.sensitive
SELECT pg_proc.record_out FROM pg_proc

-- refuse: guard.relation.sensitive
SELECT p.oid, pg_catalog.pg_proc.row_to_json FROM pg_catalog.pg_proc, t p

-- refuse: guard.text.complexity
EXPLAIN UPDATE t SET (a,b,c,d,e,f,g,h) = (WITH x AS (UPDATE t SET (a,b,c,d,e,f,g,h) = (WITH x AS (UPDATE t SET (a,b,c,d,e,f,g,h) = (WITH x AS (UPDATE t SET (a,b,c,d,e,f,g,h) = (WITH x AS (UPDATE t SET (a,b,c,d,e,f,g,h) = (SELECT 1,2,3,4,5,6,7,8) RETURNING 1) SELECT 1,2,3,4,5,6,7,8) RETURNING 1) SELECT 1,2,3,4,5,6,7,8) RETURNING 1) SELECT 1,2,3,4,5,6,7,8) RETURNING 1) SELECT 1,2,3,4,5,6,7,8)

-- refuse: guard.relation.sensitive
SELECT 1 FROM pg_proc NATURAL JOIN (VALUES ('guess')) v(prosrc)

-- refuse: guard.relation.sensitive
SELECT 1 FROM pg_proc NATURAL JOIN (SELECT 'guess' AS prosrc) v

-- refuse: guard.relation.sensitive
SELECT rolname FROM pg_roles NATURAL JOIN string_to_array('guess', ',') AS rolconfig

-- refuse: guard.relation.sensitive
SELECT 1 FROM pg_proc NATURAL JOIN lower('guess') prosrc

-- refuse: guard.relation.sensitive
SELECT 1 FROM pg_proc NATURAL JOIN json_to_record('{"prosrc": "guess"}') AS v(prosrc text)

-- refuse: guard.relation.sensitive
WITH v(prosrc) AS (VALUES ('guess')) SELECT 1 FROM pg_proc NATURAL JOIN v

-- refuse: guard.relation.sensitive
WITH RECURSIVE v(a) AS (SELECT 1 UNION ALL SELECT 1 FROM v) CYCLE a SET prosrc TO 'guess' DEFAULT 'other' USING way SELECT 1 FROM pg_proc NATURAL JOIN v

-- refuse: guard.relation.sensitive
WITH RECURSIVE v(a) AS (SELECT 1 UNION ALL SELECT 2 FROM v) SEARCH DEPTH FIRST BY a SET prosrc SELECT 1 FROM pg_proc NATURAL JOIN v

-- refuse: guard.relation.sensitive
-- rules: server=17
SELECT 1 FROM pg_proc NATURAL JOIN JSON_TABLE('["guess"]', '$[*]' COLUMNS (prosrc text PATH '$')) v

-- refuse: guard.function.refused
SELECT domain_in('x', 'checked'::regtype::oid, -1)

-- refuse: guard.function.refused
SELECT array_in('{x}', 'checked'::regtype::oid, -1)

-- refuse: guard.function.refused
SELECT record_in('(x)', 'pair'::regtype::oid, -1)

-- refuse: guard.function.refused
SELECT range_in('[1,2]', 'span'::regtype::oid, -1)

-- refuse: guard.function.refused
SELECT multirange_in('{[1,2]}', 'spans'::regtype::oid, -1)

-- refuse: guard.function.refused
SELECT satisfies_hash_partition('t'::regclass, 2, 0, 1)

-- refuse: guard.function.refused
-- rules: server=16
SELECT pg_input_is_valid('x', 'checked')

-- refuse: guard.function.refused
-- rules: server=16
SELECT * FROM pg_input_error_info('x', 'checked')

-- refuse: guard.type.refused
SELECT (SELECT string_agg('a', '') FROM t)::xml

-- refuse: guard.type.refused
SELECT CAST(a || b AS xml) FROM t

-- refuse: guard.type.refused
SELECT name::pg_catalog.xml FROM t

-- refuse: guard.type.refused
SELECT ('{' || name || '}')::xml[] FROM t

-- refuse: guard.type.refused
SELECT name::_xml FROM t

-- refuse: guard.type.refused
SELECT xml(name) FROM t

-- refuse: guard.type.refused
SELECT pg_catalog.xml(repeat('<a>', 1000))

-- refuse: guard.type.refused
SELECT xmlparse(document name) FROM t

-- refuse: guard.type.refused
SELECT xmlparse(content repeat('<a>', 1000))

-- refuse: guard.type.refused
SELECT * FROM json_to_record('{"x": "<a/>"}') AS r(x xml)

-- refuse: guard.type.refused
SELECT s.xml FROM repeat('<a>', 1000) AS s

-- refuse: guard.type.refused
SELECT repeat.xml FROM repeat('<a>', 1000)

-- refuse: guard.type.refused
SELECT (upper('<a/>')).xml

-- refuse: guard.type.refused
SELECT (t.name).xml FROM t

-- refuse: guard.type.refused
SELECT xmlelement(name a, xmlagg(x)) IS DOCUMENT FROM t

-- refuse: guard.type.refused
SELECT xmlserialize(document xmlelement(name a) AS text)

-- refuse: guard.function.refused
SELECT xml_is_well_formed(name) FROM t

-- refuse: guard.function.refused
SELECT xml_in(textout(name)) FROM t

-- refuse: guard.relation.sensitive
SELECT routine_definition FROM information_schema.routines

-- refuse: guard.type.refused
SELECT text.xml FROM CAST(concat('<a>', '</a>') AS text)
