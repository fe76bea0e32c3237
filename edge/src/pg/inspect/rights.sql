-- What the database role may do beyond reading: one row for each right, with
-- names or a number beside it. Run it after the statements of the catalog's
-- facts, which leave only pg_catalog on the search path. A right that the role
-- gets by SET ROLE counts as its own. Lists of rights are read instead of asking
-- has_table_privilege() for each relation, which would fill the server's caches.
WITH reach AS (
  SELECT *, rolname = current_user AS own FROM pg_roles WHERE pg_has_role(current_user, oid, 'MEMBER')
),
grantee AS (
  -- 0 is PUBLIC.
  SELECT oid FROM reach UNION ALL SELECT 0
),
own_namespace AS (
  SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
),
own_relation AS (
  SELECT c.*, c.relowner IN (SELECT oid FROM reach) AS owned
  FROM pg_class c JOIN own_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
),
this AS (
  SELECT * FROM pg_database WHERE datname = current_database()
),
found AS (
  SELECT attribute.name AS kind, CASE WHEN bool_or(own) THEN '' ELSE 'by SET ROLE' END AS detail
  FROM reach CROSS JOIN LATERAL (VALUES ('superuser', rolsuper), ('bypassrls', rolbypassrls),
    ('replication', rolreplication), ('createrole', rolcreaterole), ('createdb', rolcreatedb)) AS attribute(name, has)
  WHERE has GROUP BY attribute.name
  UNION ALL
  SELECT 'member', rolname FROM reach
  WHERE rolname ~ '^pg_' AND rolname NOT IN ('pg_read_all_data', 'pg_database_owner')
  UNION ALL
  SELECT 'database_owner', '' FROM this WHERE datdba IN (SELECT oid FROM reach)
  UNION ALL
  SELECT DISTINCT CASE a.privilege_type WHEN 'CREATE' THEN 'database_create' ELSE 'database_temp' END, ''
  FROM this CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba))) AS a
  WHERE a.privilege_type IN ('CREATE', 'TEMPORARY') AND a.grantee IN (SELECT oid FROM grantee)
  UNION ALL
  SELECT 'schema_owner', string_agg(nspname, ', ' ORDER BY nspname) FROM own_namespace
  WHERE nspowner IN (SELECT oid FROM reach) HAVING count(*) > 0
  UNION ALL
  SELECT 'schema_create', string_agg(nspname, ', ' ORDER BY nspname) FROM own_namespace
  WHERE EXISTS (SELECT FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) AS a
    WHERE a.privilege_type = 'CREATE' AND a.grantee IN (SELECT oid FROM grantee))
  HAVING count(*) > 0
  UNION ALL
  SELECT 'relation_owner', count(*)::text FROM own_relation WHERE owned HAVING count(*) > 0
  UNION ALL
  SELECT 'function_owner', count(*)::text FROM pg_proc p JOIN own_namespace n ON n.oid = p.pronamespace
  WHERE p.proowner IN (SELECT oid FROM reach) HAVING count(*) > 0
  UNION ALL
  SELECT 'write', count(*)::text FROM own_relation c
  WHERE relkind <> 'S' AND (owned
    OR EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee IN (SELECT oid FROM grantee)
      AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'MAINTAIN'))
    OR c.oid IN (SELECT attrelid FROM pg_attribute CROSS JOIN LATERAL aclexplode(attacl) AS a
      WHERE attacl IS NOT NULL AND NOT attisdropped AND a.grantee IN (SELECT oid FROM grantee)
        AND a.privilege_type IN ('INSERT', 'UPDATE')))
  HAVING count(*) > 0
  UNION ALL
  SELECT 'sequence', count(*)::text FROM own_relation c
  WHERE relkind = 'S' AND (owned OR EXISTS (SELECT FROM aclexplode(c.relacl) AS a
    WHERE a.grantee IN (SELECT oid FROM grantee) AND a.privilege_type IN ('USAGE', 'UPDATE')))
  HAVING count(*) > 0
  UNION ALL
  -- Functions of PostgreSQL and of extensions that were given away beyond what they came with: to PUBLIC
  -- where they came without it, or to the role itself.
  SELECT DISTINCT 'function', p.proname FROM pg_proc p
  LEFT JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0
  CROSS JOIN LATERAL aclexplode(p.proacl) AS a
  WHERE p.proacl IS NOT NULL AND (p.oid < 16384 OR i.objoid IS NOT NULL)
    AND a.privilege_type = 'EXECUTE' AND a.grantee IN (SELECT oid FROM grantee) AND a.grantee <> p.proowner
    AND (a.grantee <> 0 OR i.objoid IS NOT NULL)
    AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) AS d
      WHERE d.grantee = a.grantee AND d.privilege_type = 'EXECUTE')
)
SELECT kind, detail FROM found
UNION ALL
SELECT 'server_version', current_setting('server_version')
ORDER BY 1, 2
