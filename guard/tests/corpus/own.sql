-- Statements that must be judged by what the database of own-setup.sql holds, whose search path is "own, public": those with
-- "-- refuse: code" are refused by that rule, the others are answered.

SELECT id, name FROM people

SELECT * FROM own.people

SELECT count(*) FROM staff

-- refuse: guard.function.volatile
SELECT touch()

-- refuse: guard.function.volatile
SELECT own.touch()

-- refuse: guard.function.volatile
SELECT "own"."touch"('x')

-- refuse: guard.function.volatile
SELECT U&"\0074ouch"()

-- refuse: guard.function.volatile
SELECT * FROM touch()

-- refuse: guard.function.volatile
SELECT * FROM ROWS FROM (generate_series(1, 2), touch()) AS r(a, b)

-- refuse: guard.function.volatile
SELECT * FROM people p, LATERAL touch(p.name)

-- refuse: guard.function.volatile
SELECT id FROM people ORDER BY touch(name)

-- refuse: guard.function.volatile
SELECT id FROM people WHERE touch(name) > 0

-- refuse: guard.function.volatile
SELECT count(*) FILTER (WHERE touch() > 0) FROM people

-- refuse: guard.function.volatile
EXPLAIN SELECT touch()

-- refuse: guard.function.volatile
SELECT aside.touch_aside()

-- refuse: guard.function.unknown
SELECT touch_aside()

-- refuse: guard.function.unknown
SELECT plain_aside()

SELECT aside.plain_aside()

SELECT twice(21), own.twice(1), shout('hey')

SELECT * FROM shout('hey')

-- refuse: guard.function.unknown
SELECT twice(1, 2, 3)

-- refuse: guard.function.unknown
SELECT pg_catalog.twice(1)

-- refuse: guard.function.unknown
SELECT nowhere.twice(1)

-- refuse: guard.function.definer
SELECT secret()

-- refuse: guard.function.refused
SELECT with_default(1)

-- refuse: guard.function.refused
SELECT with_default(1, 2)

SELECT with_harmless_default(1), with_harmless_default(1, 2)

SELECT lots(1, 2, 3), lots(VARIADIC ARRAY[1, 2])

-- refuse: guard.function.volatile
SELECT lower(p) FROM people p

-- refuse: guard.function.volatile
SELECT lower(name) FROM people

SELECT lower('A'), lower(name::text) FROM people

-- refuse: guard.function.volatile
SELECT own.random()

SELECT random() IS NOT NULL, abs(-1)

-- refuse: guard.function.volatile
SELECT abs(value => -1)

-- refuse: guard.function.volatile
SELECT sign(3)

-- refuse: guard.type.code
SELECT '{"(1,2,ok)"}'::own._readings

SELECT pg_catalog.lower('A')

SELECT upper('a'), initcap('a b'), initcap(p) FROM people p

-- refuse: guard.function.volatile
SELECT p.full_name FROM people p

-- refuse: guard.function.volatile
SELECT people.full_name FROM people

-- refuse: guard.function.volatile
SELECT own.people.full_name FROM own.people

-- refuse: guard.function.volatile
SELECT (p).full_name FROM people p

-- refuse: guard.function.volatile
SELECT (SELECT p.full_name) FROM people p

-- refuse: guard.function.volatile
SELECT s.full_name FROM staff s

-- refuse: guard.function.volatile
SELECT s.full_name FROM (SELECT * FROM people) s

-- refuse: guard.function.volatile
SELECT (s.p).full_name FROM (SELECT p FROM people p) s

-- refuse: guard.function.volatile
WITH c AS (SELECT * FROM people) SELECT c.full_name FROM c

-- refuse: guard.function.volatile
SELECT (ARRAY(SELECT p FROM people p))[1].full_name

-- refuse: guard.function.volatile
SELECT p.full_name FROM people p JOIN harmless h ON h.id = p.id

-- refuse: guard.function.volatile
SELECT (SELECT x.n FROM (SELECT a.full_name AS n) x, harmless AS a) FROM people a

-- refuse: guard.function.volatile
SELECT (SELECT max(a.full_name) FROM (harmless AS a JOIN harmless b USING (id)) AS j) FROM people a

-- refuse: guard.function.volatile
SELECT (row(1, 2)).peek

-- refuse: guard.function.volatile
SELECT p.peek FROM people p

-- refuse: guard.function.volatile
SELECT p.any_touch FROM people p

SELECT h.full_name, h.peek FROM harmless h

SELECT harmless.full_name FROM harmless

SELECT h.full_name FROM people p JOIN harmless h ON h.id = p.id

SELECT s.full_name FROM (SELECT full_name FROM harmless) s

SELECT s.full_name FROM (SELECT name AS full_name FROM people) s

WITH c AS (SELECT id, name AS full_name FROM people) SELECT c.full_name FROM c

SELECT p.nickname, (p).nickname FROM people p

SELECT p.full_name_column FROM people p

-- refuse: guard.function.volatile
SELECT sum_touching(id) FROM people

-- refuse: guard.function.volatile
SELECT sum_touching(id) OVER (ORDER BY id) FROM people

SELECT sum_plain(id) FROM people

-- refuse: guard.operator.refused
SELECT 1 <~> 'x'

-- refuse: guard.operator.refused
SELECT 1 OPERATOR(own.<~>) 'x'

-- refuse: guard.operator.refused
SELECT !! 'x'

-- refuse: guard.operator.refused
SELECT id FROM people ORDER BY id USING <~>

-- refuse: guard.operator.refused
SELECT 1 <~> ANY (ARRAY['x'])

-- refuse: guard.operator.refused
SELECT weight |= weight FROM parcels

SELECT 1 <+> 'x', 1 OPERATOR(own.<+>) 'x'

SELECT id, (weight).grams FROM parcels

-- refuse: guard.operator.unknown
SELECT 1 OPERATOR(nowhere.+) 2

SELECT 1 OPERATOR(pg_catalog.+) 2

-- refuse: guard.type.code
SELECT 1::own.touchy

-- refuse: guard.type.code
SELECT CAST(1 AS touchy)

-- refuse: guard.type.code
SELECT touchy '1'

-- refuse: guard.type.code
SELECT 1::sleepy

-- refuse: guard.type.code
SELECT 1::touchier

-- refuse: guard.type.code
SELECT '{1}'::touchy[]

-- refuse: guard.type.code
SELECT '(1,2)'::holder

-- refuse: guard.type.code
SELECT ROW(1, 2)::holder

-- refuse: guard.type.code
SELECT '(1,2,ok)'::readings

-- refuse: guard.type.code
SELECT touchy(1)

-- refuse: guard.type.code
SELECT * FROM json_to_record('{"a": 1}') AS r(a own.touchy)

-- refuse: guard.type.code
SELECT * FROM json_populate_record(NULL::own.holder, '{"b": 1}')

-- refuse: guard.function.volatile
SELECT takes_touchy(1)

SELECT value, mood FROM readings

SELECT 1::positive, positive '3', 'ok'::mood, 'happy'::own.mood > 'sad', '[1,2]'::touchy_range

-- refuse: guard.relation.code
SELECT * FROM weather

-- refuse: guard.relation.code
SELECT id FROM weather

-- refuse: guard.type.code
SELECT ROW(1)::celsius

SELECT (ROW(1)::kelvin)::text

SELECT * FROM v_plain

-- refuse: guard.relation.code
SELECT * FROM v_touching

-- refuse: guard.relation.code
SELECT id FROM own.v_touching WHERE false

-- refuse: guard.relation.code
TABLE v_builtin

-- refuse: guard.relation.code
SELECT * FROM v_nested

-- refuse: guard.relation.code
SELECT * FROM v_sessions

-- refuse: guard.relation.code
SELECT * FROM v_operator

-- refuse: guard.relation.code
SELECT * FROM v_domain

SELECT * FROM v_definer

SELECT * FROM m_touching

-- refuse: guard.relation.code
SELECT * FROM guarded

-- refuse: guard.relation.code
SELECT * FROM v_guarded

SELECT * FROM tenants

-- refuse: guard.relation.unknown
SELECT * FROM missing

-- refuse: guard.relation.unknown
SELECT * FROM hidden

SELECT * FROM aside.hidden

-- refuse: guard.relation.unknown
SELECT * FROM nowhere.people

SELECT id FROM "People"

-- refuse: guard.relation.unknown
SELECT * FROM "PEOPLE"

SELECT * FROM PEOPLE

SELECT * FROM pg_backups

WITH missing AS (SELECT 1) SELECT * FROM missing

-- refuse: guard.relation.code
WITH v AS (SELECT 1) SELECT * FROM own.v_touching

WITH v_touching AS (SELECT 1 AS n) SELECT n FROM v_touching

-- refuse: guard.relation.temporary
SELECT * FROM pg_temp.people

SELECT lo_total(3)

-- refuse: guard.function.refused
SELECT lo_create(0)

-- refuse: guard.function.refused
SELECT nextval('own.touched')

SELECT relname FROM pg_class WHERE relname = 'people'

-- refuse: guard.relation.sensitive
SELECT * FROM pg_authid

SELECT p.name FROM people p NATURAL JOIN harmless h WHERE p.id BETWEEN 1 AND 2 AND p.id IN (SELECT id FROM staff UNION VALUES (1))

-- refuse: guard.function.volatile
SELECT now('(1,Ada,x)')

-- refuse: guard.function.volatile
SELECT now(NULL)

-- refuse: guard.function.volatile
SELECT json_object(5)

-- refuse: guard.function.volatile
SELECT p.any_rows FROM people p

-- refuse: guard.function.volatile
SELECT p.of_customer FROM people p

-- refuse: guard.function.volatile
SELECT c.of_class FROM pg_class c

-- refuse: guard.function.volatile
SELECT c.of_text FROM castable c

-- refuse: guard.function.volatile
SELECT (SELECT somebody.full_name FROM somebody()) FROM harmless somebody

-- refuse: guard.function.volatile
SELECT (SELECT people.full_name FROM CAST(ROW(1, 'a', 'b') AS own.people)) FROM harmless people

-- refuse: guard.function.volatile
SELECT (h).full_name FROM (SELECT p AS h FROM people p) s, harmless h

-- refuse: guard.function.volatile
SELECT checked_default(1)

-- refuse: guard.type.code
SELECT fives('1')

-- refuse: guard.operator.refused
SELECT @@@@ 'data_directory'

-- refuse: guard.relation.code
SELECT * FROM v_aggregate

-- refuse: guard.relation.code
SELECT * FROM v_default

-- refuse: guard.relation.code
SELECT * FROM v_populate

-- refuse: guard.relation.code
SELECT * FROM v_columns

-- refuse: guard.relation.code
SELECT p::text FROM printed p

-- refuse: guard.relation.code
SELECT coalesce(list, '{5}') FROM touchy_lists

-- refuse: guard.relation.code
SELECT coalesce(held, '(1,5)') FROM touchy_holders

-- refuse: guard.type.code
SELECT p.value FROM readings r, json_populate_record(r, '{"value": 5}') p

-- refuse: guard.type.code
SELECT (jsonb_populate_record(r, '{"value": 5}')).value FROM readings r

-- refuse: guard.type.code
SELECT coalesce(r, '(1,5,ok)') FROM readings r

-- refuse: guard.type.code
SELECT CASE WHEN r.id > 5 THEN r.* ELSE '(1,5,ok)' END FROM readings r

-- refuse: guard.type.code
SELECT r FROM readings r UNION ALL SELECT '(1,5,ok)'

-- refuse: guard.type.code
SELECT either(value, '5') FROM readings

-- refuse: guard.type.code
SELECT jsonb_populate_record(d, jsonb_build_object('body', repeat('<a/>', 5))) FROM documents d

SELECT * FROM v_setting

SELECT touchy_range('[1,2]'), touchy_range(1, 2)

SELECT r.*, count(*) OVER () FROM readings r

SELECT row_to_json(r), to_jsonb(r.*) FROM readings r

SELECT json_agg(r) FROM readings r

SELECT value FROM readings WHERE value = '3' OR value IN ('1', '2')

SELECT id, body, d IS NULL FROM documents d

SELECT json_object('{a,b}'::text[], '{c,d}'), now() IS NOT NULL

SELECT f.full_name FROM somebody(), harmless f

SELECT either(id, 2) FROM people

-- refuse: guard.function.volatile
SELECT coalesce(last_reading(), '(1,5,ok)')

-- refuse: guard.type.code
WITH c AS (SELECT r FROM readings r) SELECT coalesce(c.r, '(1,5,ok)') FROM c

SELECT d.body, xml_length(d.body), xml_length('<b/>'), d.body::text FROM documents d

SELECT * FROM documents
