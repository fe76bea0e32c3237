-- Expressions whose values are compared, one on each line; types.rs reads it.

-- Numbers
true
false
NULL::bool
(-32768)::int2
32767::int2
(-2147483648)::int4
2147483647
9007199254740991
9007199254740992
9007199254740993
(-9007199254740993)::int8
9223372036854775807
(-9223372036854775808)::int8
0.1::float8
0.1::float8 + 0.2::float8
1e300::float8
5e-324::float8
1.7976931348623157e308::float8
'-0'::float8
0.1::float4
3.4028235e38::float4
1e-45::float4
'NaN'::float8
'Infinity'::float8
'-Infinity'::float4
16777217::float4
1.10
0.000
-0.0
1e40::numeric
1e-40::numeric
123456789012345678901234567890.123456789
'NaN'::numeric
'Infinity'::numeric
'-Infinity'::numeric
(10::numeric ^ 200)
1::numeric(30, 20)
12.34::float8::numeric::money
'-92233720368547758.08'::money

-- Text
''
NULL::text
' '
E'tab\tline\nreturn\rback\\slash'
E'\u0001\u001f\u007f'
'emoji 🐘 and ü'
U&'\+01F418'
'\N'
'NULL'
'"quoted"'
chr(8232) || chr(8233)
repeat('é', 1000)
'a'::char(5)
'a  '::varchar(5)
'a'::"char"
''::"char"
'aName'::name
repeat('n', 63)::name
'a' COLLATE "C"

-- Bytes and bits
'\x'::bytea
'\x00ff10'::bytea
'abc\\000'::bytea
B''
B'1010'
B'1'::bit(3)
B'10101'::varbit(5)

-- Time
DATE '2026-11-23'
DATE '0044-03-15 BC'
DATE '4713-01-01 BC'
DATE '5874897-12-31'
'infinity'::date
'-infinity'::date
TIMESTAMP '2026-11-23 12:00:00.123456'
TIMESTAMP '294276-12-31 23:59:59.999999'
TIMESTAMP '0001-01-01 00:00:00 BC'
'infinity'::timestamp
TIMESTAMPTZ '2026-11-23 12:00:00.5+09'
TIMESTAMPTZ '2026-11-23 12:00:00 America/New_York'
'-infinity'::timestamptz
TIME '24:00'
TIME '23:59:59.999999'
TIMETZ '12:00:00.1+05:30'
TIMESTAMP(0) '2026-11-23 12:00:00.6'
INTERVAL '1 year 2 days -3 hours'
INTERVAL '-178000000 years'
INTERVAL '0'
INTERVAL '1.123456 s ago'
INTERVAL '1 mon -1 day +00:00:00.000001'
justify_interval('400 days')

-- Structures of text
'{"a": [1, 2.50], "b": null}'::jsonb
'{"b":1,"b":2,"a":{"c":1,"c":2}}'::json
'{"b":1,"b":2}'::jsonb
'12345678901234567890.12345678901234567890'::jsonb
'[1e400, 1E-7, -0, 0.10]'::jsonb
'[1e400, 1E-7, -0, 0.10]'::json
'null'::jsonb
'"text"'::jsonb
' { "a" :  1 } '::json
'"\u00e9\ud83d\udc18\n"'::jsonb
'{}'::jsonb
'$.a[*] ? (@.b > 1)'::jsonpath
'<a b="1">é<!-- c --></a>'::xml
'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid
'a & b | !c'::tsquery
'fat:2A cat:3 ''sat on''':: tsvector
to_tsvector('simple', 'a b a')

-- Network
'192.168.0.0/24'::cidr
'192.168.0.1/24'::inet
'::ffff:1.2.3.4/128'::inet
'2001:db8::/32'::cidr
'08:00:2b:01:02:03'::macaddr
'08:00:2b:01:02:03:04:05'::macaddr8

-- Geometry
point(1, 2)
'(0.1,-0)'::point
'{1,2,3}'::line
'[(0,0),(1,1)]'::lseg
'(1,1),(0,0)'::box
'[(0,0),(1,1),(2,0)]'::path
'((0,0),(1,1))'::path
'((0,0),(1,1),(2,0))'::polygon
'<(0,0),1.5>'::circle

-- Ranges and arrays
int4range(1, 5)
'empty'::int4range
'(,)'::numrange
'[2026-01-01,infinity]'::daterange
tstzrange('2026-01-01+00', NULL, '()')
'{[1,3),[5,7)}'::int4multirange
'{}'::nummultirange
ARRAY[1, NULL, 3]
'[0:1]={1,2}'::int[]
'[-1:0][2:3]={{1,2},{3,4}}'::int[]
'{}'::text[]
ARRAY['a,b', 'c"d', '', 'NULL', NULL, E'x\\y', ' ']
ARRAY[ARRAY[1.5, NULL], ARRAY['NaN', 2]]::numeric[]
ARRAY[now() - now(), '1 day']::interval[]
ARRAY['\x00'::bytea, NULL]
ARRAY['{"a":1}'::jsonb]
ARRAY[int4range(1, 2), NULL]
ARRAY[point(1, 2), point(3, 4)]
'{(1,1),(0,0);(2,2),(1,1)}'::box[]

-- Names of objects and their kin
4294967295::oid
'pg_class'::regclass
'shop.orders'::regclass
'int4'::regtype
'upper(text)'::regprocedure
'pg_catalog'::regnamespace
'nla_reader'::regrole
'+(int4,int4)'::regoperator
'english'::regconfig
'simple'::regdictionary
'16/B374D848'::pg_lsn
'10:20:10,14,15'::pg_snapshot
'(0,1)'::tid
'7'::xid8
'1 2 3'::int2vector
'1 2'::oidvector
1::oid::regclass
NULL::regclass

-- Types of the database itself
'very glad'::kinds.mood
'ünïcode'::kinds.mood
ARRAY['sad', NULL, 'so-so']::kinds.mood[]
enum_range(NULL::kinds.mood)
ROW(1, 'a b', '{1.50,NULL}')::kinds.pair
ROW(NULL, '', NULL)::kinds.pair
ROW(ROW(1, 'q"q', NULL), 'sad', '{"a":[1]}')::kinds.nested
ARRAY[ROW(1, 'x,y', NULL), NULL]::kinds.pair[]
5::kinds.small
5::kinds.smaller
NULL::kinds.small
1.5::kinds.exact
'ABC'::kinds.code
'{"(1,a,{1})"}'::kinds.pairs
'[0.1,0.2)'::kinds.span
ROW(1, 'x', NULL)
ROW()
(SELECT e FROM kinds.everything e) IS NOT NULL
