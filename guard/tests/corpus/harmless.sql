-- Statements that must pass, one a paragraph. A line "-- rules: ..." in front
-- of one names exceptions (analyze, server=N, function=s.f, relation=s.r, operator=o, setting=s).

SELECT 1

select 1;

select 1 ; -- trailing comment

/* leading */ select 1 /* trailing */ ;;

;select 1

SELECT

SELECT FROM orders

VALUES (1, 'a'), (2, NULL)

TABLE orders

(SELECT 1)

((SELECT 1) UNION ALL (SELECT 2)) ORDER BY 1 LIMIT 5

SELECT * FROM orders WHERE id = 42

SELECT o.*, c.name FROM orders o JOIN customers c ON c.id = o.customer_id

SELECT o FROM orders o

SELECT 'update orders set x = 1; drop table orders' AS "delete"

SELECT "update", "drop" FROM "insert" AS "truncate" WHERE "delete" = 'grant'

SELECT 1 AS update, 2 AS delete, 3 AS drop, 4 AS insert

-- update everything; drop table x
SELECT 1

SELECT /* delete from t; */ 1

SELECT $$it's; a 'dollar' quote$$, $tag$ drop table x; $$ $tag$

SELECT E'a\'b;drop table x' , U&'d\0061t!+000061', U&'d!0061ta' UESCAPE '!'

SELECT U&"d\0061t" FROM U&"\006Frders"

SELECT B'1010', X'1FF', 1.5e10, .5, 1e-3

-- rules: server=16
SELECT 0x1F, 0o17, 0b11, 1_000_000

SELECT replace('a;b', ';', ','), substring('hello' FROM 2 FOR 3), substring('hello' for 2), overlay('abc' placing 'x' from 2 for 1), position('b' in 'abc'), trim(both 'x' from 'xax')

SELECT substring('foobar' similar 'f#"o_b#"%' escape '#')

SELECT '{"a":1}'::jsonb ? 'a', '{"a":1}'::jsonb ?| array['a'], '{"a":1}'::jsonb ?& array['a','b']

SELECT data->'a'->>'b', data #>> '{a,b}', data @> '{"x":1}', data - 'k', data #- '{a}', data @? '$.a', data @@ '$.a > 1' FROM docs

SELECT count(*), count(DISTINCT a), sum(b) FILTER (WHERE c > 1), string_agg(d, ',' ORDER BY e DESC NULLS LAST) FROM t GROUP BY f HAVING count(*) > 1

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount), mode() within group (order by x) FROM payments

SELECT a, b, grouping(a), sum(c) FROM t GROUP BY GROUPING SETS ((a), (b), ()), ROLLUP (a, b), CUBE (c)

SELECT DISTINCT a FROM t

SELECT DISTINCT ON (customer_id) * FROM orders ORDER BY customer_id, created_at DESC

SELECT row_number() OVER w, lag(x, 1, 0) OVER (PARTITION BY a ORDER BY b ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES), ntile(4) over (order by x) FROM t WINDOW w AS (PARTITION BY a ORDER BY b)

WITH a AS (SELECT 1 AS x), b AS MATERIALIZED (SELECT x FROM a) SELECT * FROM a, b

WITH RECURSIVE t(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM t WHERE n < 100) SELECT sum(n) FROM t

WITH RECURSIVE tree AS (SELECT id, parent FROM nodes UNION ALL SELECT n.id, n.parent FROM nodes n JOIN tree t ON n.parent = t.id) SEARCH DEPTH FIRST BY id SET ord CYCLE id SET is_cycle USING path SELECT * FROM tree

SELECT * FROM a LEFT JOIN b USING (id) RIGHT JOIN c ON true FULL JOIN d ON a.x = d.x NATURAL JOIN e CROSS JOIN f

SELECT * FROM a JOIN b USING (id) AS j

SELECT * FROM orders o, LATERAL (SELECT * FROM items i WHERE i.order_id = o.id LIMIT 3) x

SELECT * FROM generate_series(1, 10) WITH ORDINALITY AS g(n, ord)

SELECT * FROM ROWS FROM (generate_series(1,3), unnest(ARRAY['a','b'])) AS t(a, b)

SELECT * FROM json_to_recordset('[{"a":1}]') AS x(a int, b text)

SELECT * FROM ROWS FROM (json_to_recordset('[{"a":1}]') AS (a int, b text COLLATE "C"))

SELECT * FROM unnest(ARRAY[1,2], ARRAY['x','y']) AS u(a, b)

SELECT * FROM orders TABLESAMPLE BERNOULLI (10) REPEATABLE (42)

SELECT * FROM orders TABLESAMPLE system (1)

SELECT * FROM ONLY parent p

SELECT * FROM orders ORDER BY created_at DESC OFFSET 10 ROWS FETCH FIRST 5 ROWS WITH TIES

SELECT * FROM orders LIMIT ALL

SELECT * FROM orders ORDER BY a USING <

SELECT a FROM t UNION SELECT b FROM u INTERSECT SELECT c FROM v EXCEPT ALL SELECT d FROM w

SELECT CASE WHEN a > 1 THEN 'x' ELSE 'y' END, CASE a WHEN 1 THEN 2 END, COALESCE(a, b), NULLIF(a, b), GREATEST(a, b), LEAST(a, b) FROM t

SELECT a IS NULL, a IS NOT NULL, a IS TRUE, a IS NOT UNKNOWN, a IS DISTINCT FROM b, a BETWEEN 1 AND 2, a NOT BETWEEN SYMMETRIC 2 AND 1, a IN (1,2), a NOT IN (SELECT x FROM u), a LIKE 'x%' ESCAPE '!', a ILIKE 'x', a SIMILAR TO 'x', a ~ 'x', a !~* 'y' FROM t

SELECT EXISTS (SELECT 1 FROM t), ARRAY(SELECT x FROM t), a = ANY (ARRAY[1,2]), b <> ALL (SELECT c FROM d), (a, b) = (SELECT 1, 2), (a, b) OVERLAPS (c, d) FROM t

SELECT CAST(a AS numeric(10,2)), a::text[], a::int[3], a::timestamp(3) with time zone, a::interval day to second(2), a::character varying(10), '2020-01-01'::date, interval '1 day', date '2020-01-01', timestamptz '2020-01-01' FROM t

SELECT 'orders'::regclass, 'now()'::text, to_regclass('orders'), '{1,2}'::int[], '[2:3]={1,2}'::int[]

SELECT current_date, current_timestamp, localtime(2), current_user, session_user, current_catalog, current_schema, now(), clock_timestamp(), statement_timestamp()

SELECT created_at AT TIME ZONE 'UTC', extract(epoch from created_at), date_trunc('day', created_at), age(created_at), to_char(created_at, 'YYYY-MM') FROM orders

SELECT 'NaN'::float8, 'Infinity'::numeric, 9007199254740993::numeric, '4713-01-01 BC'::date, '\x00ff'::bytea, '1 year 2 mons'::interval, int4range(1,5), row(1,'a'), ARRAY[1,NULL], '[0:1]={1,2}'::int[]

SELECT id, id, id FROM orders

SELECT random(), gen_random_uuid(), md5('x'), sha256('x'), encode('x', 'hex'), hashtext('x')

SELECT json_build_object('a', 1), jsonb_agg(t), row_to_json(t), to_jsonb(t), jsonb_pretty('{}'), jsonb_set('{}', '{a}', '1') FROM t

SELECT jsonb_path_query(data, '$.a[*] ? (@.b > 1)') FROM docs

-- rules: server=17
SELECT JSON_VALUE(data, '$.a' RETURNING int DEFAULT 0 ON EMPTY ERROR ON ERROR), JSON_QUERY(data, '$.b' WITH WRAPPER), JSON_EXISTS(data, '$.c' PASSING 1 AS x) FROM docs

-- rules: server=17
SELECT * FROM JSON_TABLE('[{"a":1}]', '$[*]' COLUMNS (id FOR ORDINALITY, a int PATH '$.a', NESTED PATH '$.b[*]' COLUMNS (c text EXISTS PATH '$.c'))) AS jt

-- rules: server=16
SELECT JSON_OBJECT('a': 1, 'b': 2 ABSENT ON NULL), JSON_ARRAY(1, 2), JSON_ARRAY(SELECT 1), JSON_OBJECTAGG(k: v), JSON_ARRAYAGG(x ORDER BY x) FILTER (WHERE x > 1), '{}' IS JSON OBJECT FROM t

-- rules: server=17
SELECT JSON_SCALAR(1), JSON_SERIALIZE('{}'), JSON('{}')

SELECT json_object('{a,1}'), json_object('{a}', '{b}')

SELECT to_tsvector('english', body) @@ plainto_tsquery('cats'), ts_rank(to_tsvector(body), query), ts_headline(body, query) FROM docs, websearch_to_tsquery('dogs') query

SELECT xmlelement(name foo, xmlattributes(a AS x), 'content'), xmlforest(a, b), xmlagg(x), xmlconcat(x, y), xmlparse(content '<a/>'), xmlserialize(content x as text), x IS DOCUMENT FROM t

SELECT (addr).city, (addr).street.name, (tags)[1], (tags)[1:2], tags[1], m[1][2], (ARRAY[1,2])[1] FROM customers

SELECT (json_each('{"a":1}')).key, (pg_timezone_names()).name

SELECT (each).key FROM (SELECT json_each('{"a":1}') AS each) s

SELECT orders.id, public.orders.total, sales.public.orders.total FROM public.orders

SELECT COALESCE(NULLIF(trim(name), ''), 'unknown') COLLATE "de_DE" FROM customers

SELECT pg_catalog.lower('X'), "lower"('X'), LOWER('X'), pg_catalog."lower"('x')

SELECT 1 OPERATOR(pg_catalog.+) 2, -1, +1, @ -5, |/ 4, ~ 1, 5 % 2, 2 ^ 3, 1 << 2, 'a' || 'b', NOT true

SELECT point(1,2) <-> point(3,4), box '((0,0),(1,1))' && box '((1,1),(2,2))', inet '10.0.0.0/8' >>= inet '10.1.1.1', int4range(1,2) -|- int4range(2,3)

SELECT make_interval(days => 10), make_date(year := 2020, month := 1, day := 2)

SELECT concat_ws(',', VARIADIC ARRAY['a','b']), format('%s-%I', 'a', 'b'), quote_literal('x')

SELECT uuid('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), int4('1'), text(1), date('2020-01-01'), float8(1)

SELECT relname, reltuples FROM pg_class WHERE relkind = 'r'

SELECT * FROM information_schema.columns WHERE table_schema = 'public'

SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = 'orders'::regclass AND NOT a.attisdropped

SELECT conname, pg_get_constraintdef(oid) FROM pg_catalog.pg_constraint

SELECT indexdef FROM pg_indexes WHERE tablename = 'orders'

SELECT n.nspname, p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace

SELECT count(*) FROM pg_proc

SELECT rolname, rolsuper FROM pg_roles

SELECT relname, n_live_tup FROM pg_stat_user_tables

SELECT pg_size_pretty(pg_total_relation_size('orders')), pg_database_size(current_database()), obj_description('orders'::regclass)

SELECT has_table_privilege('orders', 'select'), pg_typeof(1), version(), current_database(), current_setting('server_version'), current_setting('TimeZone', true), pg_backend_pid(), txid_current_if_assigned()

SHOW server_version

SHOW TimeZone

SHOW TIME ZONE

SHOW search_path;

SHOW transaction isolation level

SHOW "work_mem"

EXPLAIN SELECT * FROM orders

EXPLAIN (VERBOSE, COSTS off, FORMAT json, SETTINGS, SUMMARY true) SELECT 1

EXPLAIN VERBOSE VALUES (1)

EXPLAIN UPDATE orders SET total = 0 WHERE id = 1

EXPLAIN DELETE FROM orders o USING customers c WHERE o.customer_id = c.id RETURNING o.*

EXPLAIN INSERT INTO orders (id, total) VALUES (1, DEFAULT) ON CONFLICT (id) DO UPDATE SET total = excluded.total WHERE orders.id > 1 RETURNING id

EXPLAIN UPDATE orders SET (a, b) = (1, DEFAULT), (c, d) = (SELECT 1, 2)

EXPLAIN MERGE INTO orders o USING staging s ON o.id = s.id WHEN MATCHED AND s.x > 1 THEN UPDATE SET total = s.total WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id) WHEN MATCHED THEN DELETE

EXPLAIN WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone

EXPLAIN (ANALYZE false) DELETE FROM orders

EXPLAIN (ANALYZE off) SELECT 1

-- rules: analyze
EXPLAIN ANALYZE SELECT * FROM orders

-- rules: analyze
EXPLAIN (ANALYZE, BUFFERS, TIMING off, FORMAT JSON) WITH a AS (SELECT 1) SELECT * FROM a

WITH pg_authid AS (SELECT 1 AS x) SELECT x FROM pg_authid

WITH pg_stat_activity AS (SELECT 1) SELECT * FROM (SELECT * FROM pg_stat_activity) s

-- rules: relation=pg_catalog.pg_stat_activity
SELECT * FROM pg_stat_activity

-- rules: function=public.tax
SELECT public.tax(total) FROM orders

-- rules: function=public.crosstab
SELECT * FROM public.crosstab('select 1')

-- rules: operator=<%
SELECT name <% 'bob' FROM customers

-- rules: setting=app.tenant
SHOW app.tenant

-- rules: server=16
SELECT any_value(x), system_user FROM t

-- rules: server=18
SELECT uuidv7(), array_sort(ARRAY[2,1]), casefold('X'), crc32('x')

SELECT pg_class.relname FROM pg_class

SELECT * FROM "Orders" WHERE "Customer Name" = 'O''Brien'

SELECT id FROM größe WHERE straße = 'ß' AND emoji = '😀'

SELECT max(created_at) - interval '30 days' FROM orders WHERE note LIKE '%;--%'

SELECT FROM (VALUES (1,2)) AS v(a, b)

SELECT a.b.c FROM a.b

SELECT pg_column_size(t.*), t IS NULL FROM t

SELECT count(*) FILTER (WHERE status = 'paid')::float / NULLIF(count(*), 0) FROM orders

SELECT regexp_replace(name, '\s+', ' ', 'g'), regexp_matches(name, 'x'), split_part(name, ' ', 1), string_to_array(name, ','), array_to_string(tags, ',') FROM customers

SELECT width_bucket(x, 0, 100, 10), corr(x, y), regr_slope(y, x), stddev_samp(x), var_pop(x), bool_and(b), every(b), bit_or(i), array_agg(x), json_object_agg(k, v) FROM t

SELECT lower(r), upper_inc(r), range_agg(r), multirange(r), r @> 5, isempty(r) FROM t

-- rules: relation=public.pg_stat_statements
SELECT * FROM pg_stat_statements

SELECT 1 AS a_name_that_is_longer_than_the_sixty_three_bytes_which_postgresql_keeps_of_it

SELECT E'\q', 'a\b'

SELECT d.xml, xml '<a/>', '<b/>'::xml, xml('<c/>'), '{<d/>}'::xml[], xmlparse(document '<e/>') FROM docs d

SELECT routine_name, data_type FROM information_schema.routines
