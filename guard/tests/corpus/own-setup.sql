-- Objects of a database's own for own.sql. `touched` counts what should not have
-- happened: a sequence keeps its value when a transaction is rolled back.
CREATE SCHEMA own;
CREATE SEQUENCE own.touched;
CREATE TABLE own.people (id int PRIMARY KEY, name text, full_name_column text);
INSERT INTO own.people VALUES (1, 'Ada', 'Ada L'), (2, 'Bob', 'Bob M');
CREATE TABLE own.staff (salary numeric) INHERITS (own.people);
INSERT INTO own.staff VALUES (3, 'Cy', 'Cy N', 10);
CREATE TABLE own.harmless (id int, full_name text, peek text);
INSERT INTO own.harmless VALUES (1, 'x', 'y');

-- Functions of all kinds.
CREATE FUNCTION own.touch() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.touch(text) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 2 * $1 $$;
CREATE FUNCTION own.shout(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT upper($1) || '!' $$;
CREATE FUNCTION own.secret() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT count(*) FROM own.people $$;
CREATE FUNCTION own.with_default(a int, b bigint DEFAULT nextval('own.touched')) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT a + b $$;
CREATE FUNCTION own.with_harmless_default(a int, b int DEFAULT 5) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT a + b $$;
CREATE FUNCTION own.lots(VARIADIC a int[]) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT cardinality(a) $$;
-- Overloads of PostgreSQL's own names: the first would be chosen for this type only.
CREATE FUNCTION own.lower(own.people) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.initcap(own.people) RETURNS text LANGUAGE sql STABLE AS $$ SELECT $1.name $$;
-- The same arguments: PostgreSQL's own is found first.
CREATE FUNCTION own.random() RETURNS float8 LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched')::float8 $$;
CREATE FUNCTION own.abs(value int4) RETURNS int4 LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched')::int4 $$;
CREATE FUNCTION own.sign(a float8, b float8 DEFAULT 1) RETURNS float8 LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched')::float8 $$;
-- Attribute notation.
CREATE FUNCTION own.full_name(own.people) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.nickname(own.people) RETURNS text LANGUAGE sql STABLE AS $$ SELECT left($1.name, 1) $$;
CREATE FUNCTION own.peek(record) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN nextval('own.touched'); END $$;
CREATE FUNCTION own.any_touch(anyelement) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
-- Aggregates.
CREATE FUNCTION own.add_touching(int, int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched')::int + $1 + $2 $$;
CREATE AGGREGATE own.sum_touching(int) (SFUNC = own.add_touching, STYPE = int, INITCOND = '0');
CREATE AGGREGATE own.sum_plain(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
-- Operators, prefix and infix, one with a built-in's name.
CREATE FUNCTION own.op_touch(int, text) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.op_plain(int, text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT $1::text || $2 $$;
CREATE FUNCTION own.op_prefix(text) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE OPERATOR own.<~> (LEFTARG = int, RIGHTARG = text, FUNCTION = own.op_touch);
CREATE OPERATOR own.<+> (LEFTARG = int, RIGHTARG = text, FUNCTION = own.op_plain);
CREATE OPERATOR own.!! (RIGHTARG = text, FUNCTION = own.op_prefix);
CREATE TYPE own.weight AS (grams int);
CREATE FUNCTION own.weights_equal(own.weight, own.weight) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') > 0 $$;
CREATE OPERATOR own.|= (LEFTARG = own.weight, RIGHTARG = own.weight, FUNCTION = own.weights_equal);
CREATE TABLE own.parcels (id int, weight own.weight);
INSERT INTO own.parcels VALUES (1, ROW(5));
-- Types: domains, casts, and what is made of them.
CREATE FUNCTION own.check_touching(int) RETURNS boolean LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') > 0 $$;
CREATE DOMAIN own.touchy AS int CHECK (own.check_touching(VALUE));
CREATE DOMAIN own.sleepy AS int CHECK (pg_sleep(0) IS NOT NULL);
CREATE DOMAIN own.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN own.touchier AS own.touchy;
CREATE TYPE own.holder AS (a int, b own.touchy);
CREATE TYPE own.mood AS ENUM ('sad', 'ok', 'happy');
CREATE FUNCTION own.takes_touchy(own.touchy) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;
CREATE TYPE own.celsius AS (degrees numeric);
CREATE FUNCTION own.celsius_text(own.celsius) RETURNS text LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched')::text $$;
CREATE CAST (own.celsius AS text) WITH FUNCTION own.celsius_text(own.celsius) AS IMPLICIT;
CREATE TYPE own.kelvin AS (degrees numeric);
CREATE FUNCTION own.kelvin_text(own.kelvin) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT ($1).degrees::text $$;
CREATE CAST (own.kelvin AS text) WITH FUNCTION own.kelvin_text(own.kelvin) AS IMPLICIT;
CREATE TABLE own.weather (id int, t own.celsius, k own.kelvin);
INSERT INTO own.weather VALUES (1, ROW(20), ROW(293));
CREATE TABLE own.readings (id int, value own.touchy, mood own.mood);
INSERT INTO own.readings VALUES (1, 3, 'ok');
CREATE TYPE own.touchy_range AS RANGE (subtype = int);
-- Views and policies.
CREATE VIEW own.v_plain AS SELECT id, upper(name) AS name FROM own.people;
CREATE VIEW own.v_touching AS SELECT id, own.touch() AS n FROM own.people;
CREATE VIEW own.v_builtin AS SELECT nextval('own.touched') AS n;
CREATE VIEW own.v_nested AS SELECT * FROM own.v_touching;
CREATE VIEW own.v_sessions AS SELECT pid, query FROM pg_stat_activity;
CREATE VIEW own.v_definer AS SELECT own.secret() AS n;
CREATE VIEW own.v_operator AS SELECT id OPERATOR(own.<~>) name AS n FROM own.people;
CREATE VIEW own.v_domain AS SELECT id::own.touchy AS n FROM own.people;
CREATE MATERIALIZED VIEW own.m_touching AS SELECT 1 AS n;
CREATE TABLE own.guarded (id int, owner text);
INSERT INTO own.guarded VALUES (1, 'a');
ALTER TABLE own.guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE own.guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON own.guarded FOR SELECT USING (own.touch(owner) > 0);
CREATE TABLE own.tenants (id int, owner text);
INSERT INTO own.tenants VALUES (1, 'a');
ALTER TABLE own.tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON own.tenants FOR SELECT USING (owner = 'a' OR own.secret() > 0);
CREATE VIEW own.v_guarded AS SELECT * FROM own.guarded;
-- Names in which schema and case matter.
CREATE SCHEMA aside;
CREATE TABLE aside.people (id int);
CREATE TABLE aside.hidden (id int);
CREATE TABLE own."People" (id int);
CREATE TABLE own.pg_backups (id int);
CREATE FUNCTION aside.touch_aside() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION aside.plain_aside() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 1 $$;
CREATE FUNCTION own.lo_total(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
-- What a call fits that no name gives away: a literal for a row, arrays, domains over domains, rows of PostgreSQL's own.
CREATE FUNCTION own.now(own.people) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.json_object(int) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT nextval('own.touched') $$;
CREATE FUNCTION own.any_rows(VARIADIC anyarray) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN nextval('own.touched'); END $$;
CREATE DOMAIN own.person AS own.people;
CREATE DOMAIN own.customer AS own.person;
CREATE FUNCTION own.of_customer(own.customer) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN nextval('own.touched'); END $$;
CREATE FUNCTION own.of_class(pg_catalog.pg_class) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN nextval('own.touched'); END $$;
CREATE TABLE own.castable (id int);
INSERT INTO own.castable VALUES (1);
CREATE CAST (own.castable AS text) WITH INOUT AS IMPLICIT;
CREATE FUNCTION own.of_text(text) RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN nextval('own.touched'); END $$;
CREATE FUNCTION own.somebody() RETURNS own.people LANGUAGE sql STABLE AS $$ SELECT * FROM own.people LIMIT 1 $$;
CREATE FUNCTION own.either(anyelement, anyelement) RETURNS anyelement LANGUAGE sql IMMUTABLE AS $$ SELECT $1 $$;
CREATE FUNCTION own.fives(int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 5 * $1 $$;
CREATE DOMAIN own.fives AS text CHECK (own.touch(VALUE) > 0);
CREATE FUNCTION own.checked_default(a int, b int DEFAULT (1::own.touchy)::int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT a + b $$;
CREATE OPERATOR own.@@@@ (RIGHTARG = text, FUNCTION = current_setting);
-- Views whose tree does not name all that they run.
CREATE VIEW own.v_aggregate AS SELECT own.sum_touching(id) AS n FROM own.people;
CREATE VIEW own.v_default AS SELECT own.with_default(id) AS n FROM own.people;
CREATE VIEW own.v_populate AS SELECT * FROM json_populate_record(NULL::own.holder, '{"b": 1}');
CREATE VIEW own.v_columns AS SELECT * FROM json_to_record('{"a": 1}') AS r(a own.touchy);
CREATE VIEW own.v_setting AS SELECT current_setting('own.tenant', true) AS tenant;
-- Casts of a row, arrays and composites of a domain, XML.
CREATE TABLE own.printed (id int);
INSERT INTO own.printed VALUES (1);
CREATE FUNCTION own.print(own.printed) RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN nextval('own.touched'); END $$;
CREATE CAST (own.printed AS text) WITH FUNCTION own.print(own.printed);
CREATE TABLE own.touchy_lists (id int, list own.touchy[]);
CREATE TABLE own.touchy_holders (id int, held own.holder);
CREATE TABLE own.documents (id int, body xml);
INSERT INTO own.documents VALUES (1, '<a/>');
CREATE FUNCTION own.last_reading() RETURNS own.readings LANGUAGE sql STABLE AS $$ SELECT * FROM own.readings LIMIT 1 $$;
-- XML in the database is read and taken apart like any other value.
CREATE FUNCTION own.xml_length(xml) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT length($1::text) $$;
