//! Objects that only a superuser can leave behind, and that run code where the
//! text names neither a function nor a type: what orders a range, what finds a
//! partition, and the program whose output a foreign table is.

use std::sync::Arc;

use nla_guard::{Rules, check};
use nla_sandbox::postgres::{Options, Postgres};

use crate::corpus::catalog;

const SETUP: &str = "
    CREATE SCHEMA own;
    CREATE SEQUENCE own.touched;
    CREATE FUNCTION own.compare(a text, b text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM nextval('own.touched'); RETURN 0; END $$;
    CREATE OPERATOR CLASS own.text_touching FOR TYPE text USING btree AS
      OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 own.compare(text, text);
    CREATE TYPE own.word_range AS RANGE (subtype = text, subtype_opclass = own.text_touching);
    ALTER FUNCTION own.compare VOLATILE;
    CREATE FUNCTION own.hash_touching(int, bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM nextval('own.touched'); RETURN $1; END $$;
    CREATE OPERATOR CLASS own.int_touching FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 2 own.hash_touching(int, bigint);
    CREATE TABLE own.parts (id int) PARTITION BY HASH (id own.int_touching);
    CREATE TABLE own.parts_0 PARTITION OF own.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    ALTER FUNCTION own.hash_touching VOLATILE;
    CREATE EXTENSION file_fdw;
    CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
    CREATE TABLE own.lines (line text);
    CREATE FOREIGN TABLE own.program_lines () INHERITS (own.lines) SERVER files OPTIONS (program 'echo 1');
    CREATE TABLE own.ranges (r own.word_range);
";

#[tokio::test]
async fn code_behind_opclasses_and_foreign_tables_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(Options::new(folder.path())).await.unwrap();
    let client = postgres.connect_as_superuser("postgres").await.unwrap();
    client.batch_execute(SETUP).await.unwrap();
    let rules = Rules { catalog: Some(Arc::new(catalog(&client).await)), ..Rules::default() };
    for (sql, rule) in [
        ("SELECT '[a,b]'::own.word_range", "guard.type.code"),
        ("SELECT * FROM own.ranges WHERE r @> 'x'::text", "guard.relation.code"),
        ("SELECT * FROM own.parts WHERE id = 5", "guard.relation.code"),
        ("SELECT * FROM own.program_lines", "guard.relation.code"),
        ("SELECT * FROM own.lines", "guard.relation.code"),
    ] {
        let refused = check(sql, &rules).map_err(|refusal| refusal.code());
        assert_eq!(refused.map(|_| ()), Err(rule), "{sql}");
    }
    check("SELECT '[1,2]'::int4range", &rules).unwrap();
}
