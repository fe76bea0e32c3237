-- What the guard has to know of a database: the last statement returns one row
-- with one JSON text, the others none. Run it inside of BEGIN READ ONLY, as the
-- database role. The role's own search path is noted first; after that only
-- pg_catalog is searched, so that no function or operator of the database's own
-- is called here.
SELECT WHERE pg_catalog.set_config('nla.path',
  pg_catalog.array_to_json(pg_catalog.current_schemas(false))::pg_catalog.text, true) IS NULL;
SET LOCAL search_path = pg_catalog, pg_temp;
-- The planner cannot know how much a CTE holds, and its guesses cost minutes in a
-- database of 20,000 tables.
SET LOCAL enable_nestloop = off;
SET LOCAL jit = off;
SET LOCAL max_parallel_workers_per_gather = 0;
-- Objects from 16384 (FirstNormalObjectId) on are not PostgreSQL's own.
WITH
own_namespace AS (
  SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
),
member AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
own_function AS (
  SELECT p.*, n.nspname FROM pg_proc p JOIN own_namespace n ON n.oid = p.pronamespace
  WHERE p.oid >= 16384 AND p.prokind <> 'p'
    AND p.prorettype <> ALL (ARRAY['trigger', 'event_trigger', 'language_handler', 'fdw_handler', 'index_am_handler',
      'tsm_handler', 'table_am_handler']::regtype[])
  -- What needs a judgement comes first, should there be too many.
  ORDER BY provolatile <> 'v' AND NOT prosecdef AND prokind <> 'a' AND proargdefaults IS NULL
  LIMIT 50001
),
own_relation AS (
  SELECT c.*, n.nspname FROM pg_class c JOIN own_namespace n ON n.oid = c.relnamespace
  WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND (c.relkind = 'v' OR c.relrowsecurity OR has_schema_privilege(n.oid, 'USAGE'))
  -- What needs a judgement comes first, should there be too many.
  ORDER BY c.relkind NOT IN ('v', 'f', 'p'), NOT c.relrowsecurity
  LIMIT 100001
),
-- Code that runs when something is used: views, policies, checks of domains, defaults of arguments.
code AS (
  SELECT 'r' AS owner_kind, r.ev_class AS owner, r.ev_action::text AS tree
  FROM pg_rewrite r JOIN own_relation c ON c.oid = r.ev_class WHERE r.ev_type = '1' AND c.relkind = 'v'
  UNION ALL
  SELECT 'r', p.polrelid, p.polqual::text FROM pg_policy p JOIN own_relation c ON c.oid = p.polrelid
  WHERE c.relrowsecurity AND p.polqual IS NOT NULL AND p.polcmd IN ('r', '*')
  UNION ALL
  SELECT 't', contypid, conbin::text FROM pg_constraint WHERE contypid >= 16384 AND conbin IS NOT NULL
  UNION ALL
  SELECT 'f', oid, proargdefaults::text FROM own_function WHERE proargdefaults IS NOT NULL
),
-- A node tree names what it uses as ":funcid 123".
mention AS (
  SELECT DISTINCT owner_kind, owner, mark.kind, substring(part.text FROM '^\d{1,10}')::oid AS oid
  FROM code
  CROSS JOIN (VALUES ('f', ':funcid '), ('f', ':opfuncid '), ('f', ':aggfnoid '), ('f', ':winfnoid '),
    ('r', ':relid '),
    ('t', ':resulttype '), ('t', ':funcresulttype '), ('t', ':consttype '),
    ('t', ':funccoltypes (o '), ('t', ':coltypes (o ')) AS mark(kind, text)
  CROSS JOIN LATERAL unnest(string_to_array(tree, mark.text)) WITH ORDINALITY AS part(text, at)
  WHERE part.at > 1
),
mentions AS (
  SELECT owner_kind, owner,
    coalesce(json_agg(oid::int8) FILTER (WHERE kind = 'f'), '[]') AS functions,
    coalesce(json_agg(oid::int8) FILTER (WHERE kind = 'r'), '[]') AS relations,
    coalesce(json_agg(oid::int8) FILTER (WHERE kind = 't' AND oid >= 16384), '[]') AS types
  FROM mention WHERE oid <> 0 GROUP BY owner_kind, owner
),
-- What an aggregate runs, of which its own row in pg_proc says nothing.
support AS (
  SELECT aggfnoid::oid AS owner, json_agg(DISTINCT part::int8) AS functions, min(aggtranstype::int8) AS state
  FROM pg_aggregate CROSS JOIN LATERAL unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn,
    aggmtransfn, aggminvtransfn, aggmfinalfn]::oid[]) AS part
  WHERE aggfnoid >= 16384 AND part <> 0 GROUP BY aggfnoid
),
column_types AS (
  SELECT attrelid, json_agg(DISTINCT atttypid::int8) AS types FROM pg_attribute
  WHERE (atttypid >= 16384 OR atttypid IN ('xml'::regtype, 'xml[]'::regtype) AND attrelid >= 16384)
    AND attnum > 0 AND NOT attisdropped GROUP BY attrelid
),
used_type AS (
  SELECT DISTINCT atttypid AS oid FROM pg_attribute WHERE atttypid >= 16384 AND attrelid >= 16384
),
-- Columns with the name of a function, which hide it in attribute notation.
namesake AS (
  SELECT attrelid, json_agg(attname) AS names FROM pg_attribute
  WHERE attnum > 0 AND NOT attisdropped AND attrelid >= 16384
    AND attname IN (SELECT proname FROM own_function WHERE provolatile = 'v' OR prosecdef OR prokind = 'a')
  GROUP BY attrelid
),
-- PostgreSQL's own objects that the code above mentions, by name.
builtin_function AS (
  SELECT json_object_agg(p.oid::int8, p.proname) AS names FROM pg_proc p WHERE p.oid < 16384 AND p.oid IN (
    SELECT oid FROM mention WHERE kind = 'f'
    UNION SELECT unnest(ARRAY[aggtransfn, aggfinalfn, aggmtransfn, aggminvtransfn, aggmfinalfn]::oid[])
      FROM pg_aggregate WHERE aggfnoid >= 16384
    UNION SELECT oprcode FROM pg_operator WHERE oid >= 16384
    UNION SELECT castfunc FROM pg_cast WHERE oid >= 16384)
),
builtin_relation AS (
  SELECT json_object_agg(c.oid::int8, json_build_array(n.nspname, c.relname)) AS names
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid < 16384 AND c.oid IN (SELECT oid FROM mention WHERE kind = 'r')
)
SELECT json_build_object(
  'server_version_num', current_setting('server_version_num')::int,
  'path', current_setting('nla.path')::json,
  'catalog_relations', (SELECT json_agg(relname) FROM pg_class
    WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind IN ('r', 'v')),
  'builtin_functions', (SELECT names FROM builtin_function),
  'builtin_relations', (SELECT names FROM builtin_relation),
  -- oid, schema, name, kind, row type, of an extension, functions, relations and types of its code, types of its
  -- columns, columns with the name of a function, parents, runs a program of the server's, what finds its partitions
  'relations', (SELECT json_agg(json_build_array(c.oid::int8, c.nspname, c.relname, c.relkind, c.reltype::int8,
      member.objid IS NOT NULL, m.functions, m.relations, m.types, t.types, s.names,
      (SELECT json_agg(i.inhparent::int8) FROM pg_inherits i WHERE i.inhrelid = c.oid),
      c.relkind = 'f' AND EXISTS (SELECT FROM pg_foreign_table f, unnest(f.ftoptions) AS option
        WHERE f.ftrelid = c.oid AND option ~ '^program='),
      CASE c.relkind WHEN 'p' THEN (SELECT json_agg(DISTINCT a.amproc::oid::int8) FROM pg_partitioned_table pt
        CROSS JOIN LATERAL unnest(pt.partclass::oid[]) AS class JOIN pg_opclass oc ON oc.oid = class
        JOIN pg_amproc a ON a.amprocfamily = oc.opcfamily WHERE pt.partrelid = c.oid AND a.amproc >= 16384) END))
    FROM own_relation c
    LEFT JOIN member ON member.classid = 'pg_class'::regclass AND member.objid = c.oid
    LEFT JOIN mentions m ON m.owner_kind = 'r' AND m.owner = c.oid
    LEFT JOIN column_types t ON t.attrelid = c.oid
    LEFT JOIN namesake s ON s.attrelid = c.oid),
  -- oid, schema, name, kind, volatility, security definer, of an extension, language, arguments, defaults, variadic,
  -- result, types of the arguments, functions and types of its defaults, functions and state of the aggregate, hidden by
  -- one of PostgreSQL's own, one of them takes a text instead
  'functions', (SELECT json_agg(json_build_array(p.oid::int8, p.nspname, p.proname, p.prokind, p.provolatile, p.prosecdef,
      member.objid IS NOT NULL, l.lanname, p.pronargs, p.pronargdefaults, p.provariadic <> 0, p.prorettype::int8,
      (SELECT json_agg(a.oid::int8) FROM unnest(p.proargtypes) AS a(oid)),
      m.functions, m.types, support.functions, support.state,
      EXISTS (SELECT FROM pg_proc b WHERE b.pronamespace = 'pg_catalog'::regnamespace AND b.proname = p.proname
        AND b.proargtypes = p.proargtypes AND b.oid <> p.oid) AND p.pronargdefaults = 0 AND p.provariadic = 0,
      p.pronargs = 1 AND EXISTS (SELECT FROM pg_proc b WHERE b.pronamespace = 'pg_catalog'::regnamespace
        AND b.proname = p.proname AND b.pronargs = 1 AND b.proargtypes[0] = 'text'::regtype)))
    FROM own_function p JOIN pg_language l ON l.oid = p.prolang
    LEFT JOIN member ON member.classid = 'pg_proc'::regclass AND member.objid = p.oid
    LEFT JOIN mentions m ON m.owner_kind = 'f' AND m.owner = p.oid
    LEFT JOIN support ON support.owner = p.oid),
  -- schema, name, left, right, result, function, hidden by one of PostgreSQL's own
  'operators', (SELECT json_agg(json_build_array(n.nspname, o.oprname, o.oprleft::int8, o.oprright::int8,
      o.oprresult::int8, o.oprcode::oid::int8,
      EXISTS (SELECT FROM pg_operator b WHERE b.oprnamespace = 'pg_catalog'::regnamespace AND b.oprname = o.oprname
        AND b.oprleft = o.oprleft AND b.oprright = o.oprright AND b.oid <> o.oid)))
    FROM pg_operator o JOIN own_namespace n ON n.oid = o.oprnamespace WHERE o.oid >= 16384 AND o.oprcode <> 0),
  -- oid, schema, name, kind, element, base, functions and types of its checks, types of its fields
  'types', (SELECT json_agg(json_build_array(t.oid::int8, n.nspname, t.typname, t.typtype,
      CASE WHEN t.typcategory = 'A' THEN t.typelem::int8 ELSE 0 END, t.typbasetype::int8, m.functions, m.types,
      CASE t.typtype WHEN 'c' THEN (SELECT f.types FROM column_types f WHERE f.attrelid = t.typrelid)
        WHEN 'r' THEN (SELECT json_agg(r.rngsubtype::int8) FROM pg_range r WHERE r.rngtypid = t.oid)
        WHEN 'm' THEN (SELECT json_agg(r.rngsubtype::int8) FROM pg_range r WHERE r.rngmultitypid = t.oid) END))
    FROM pg_type t JOIN own_namespace n ON n.oid = t.typnamespace
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    LEFT JOIN pg_type e ON e.oid = t.typelem
    LEFT JOIN pg_class ec ON ec.oid = e.typrelid
    LEFT JOIN mentions m ON m.owner_kind = 't' AND m.owner = t.oid
    LEFT JOIN used_type u ON u.oid = t.oid
    -- The row types of relations stand with the relations, and their arrays for themselves only where they are used.
    WHERE t.oid >= 16384 AND coalesce(c.relkind, 'c') = 'c'
      AND (coalesce(ec.relkind, 'c') = 'c' OR u.oid IS NOT NULL)),
  -- PostgreSQL's own row types that a function takes
  'builtin_rows', (SELECT json_agg(t.oid::int8) FROM pg_type t WHERE t.oid < 16384 AND t.typtype = 'c'
    AND t.oid IN (SELECT proargtypes[0] FROM own_function)),
  -- source, target, function (0 for a cast through text): casts, and what compares and orders the values of a type
  'casts', (SELECT json_agg(json_build_array(source::int8, target::int8, function::int8)) FROM (
    SELECT castsource AS source, casttarget AS target, castfunc AS function FROM pg_cast WHERE oid >= 16384
    UNION SELECT opcintype, opcintype, amproc FROM pg_opclass JOIN pg_amproc ON amprocfamily = opcfamily
      WHERE opcdefault AND amproc >= 16384
    UNION SELECT opcintype, opcintype, oprcode FROM pg_opclass JOIN pg_amop ON amopfamily = opcfamily
      JOIN pg_operator o ON o.oid = amopopr WHERE opcdefault AND oprcode >= 16384
    -- Ranges may be ordered by other than the default.
    UNION SELECT rngtypid, rngtypid, amproc FROM pg_range JOIN pg_opclass c ON c.oid = rngsubopc
      JOIN pg_amproc ON amprocfamily = opcfamily WHERE amproc >= 16384
    UNION SELECT rngtypid, rngtypid, part FROM pg_range CROSS JOIN LATERAL unnest(ARRAY[rngcanonical, rngsubdiff]::oid[])
      AS part WHERE part >= 16384) AS cast_like(source, target, function))
)::text
