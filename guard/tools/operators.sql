-- Every operator name that PostgreSQL itself ships; see functions.sql.
select distinct oprname collate "C" from pg_operator
where oprnamespace = 'pg_catalog'::regnamespace order by 1;
