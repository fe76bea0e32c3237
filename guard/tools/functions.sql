-- Every function name that PostgreSQL itself ships and SQL can call, with the
-- volatilities and kinds of what bears it. Used by dump-catalog.sh, and by a test
-- that holds the lists against the running server.
-- Functions that SQL cannot call (internal arguments, trigger functions,
-- handlers) are left out: they stay unknown and are refused as such.
with callable as (
select proname, provolatile, prokind
from pg_proc
where pronamespace = 'pg_catalog'::regnamespace
  and not 'internal'::regtype = any (proargtypes::oid[])
  and prorettype not in ('internal'::regtype, 'trigger'::regtype, 'event_trigger'::regtype, 'language_handler'::regtype,
                         'fdw_handler'::regtype, 'index_am_handler'::regtype, 'tsm_handler'::regtype, 'table_am_handler'::regtype)
union all
-- type names too: uuid('...') is a cast that is written as a call
select typname, 'i', 't'
from pg_type
where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm')
  and typcategory not in ('A', 'Z') and typname !~ '^(_|pg_)')
select proname,
       string_agg(distinct provolatile::text, '' order by provolatile::text),
       string_agg(distinct prokind::text, '' order by prokind::text)
from callable
group by proname
order by proname collate "C";
