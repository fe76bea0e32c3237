//! The script's sections about the role: itself, the database, and what it may
//! read. Each function writes one heading that says what the statements do to
//! whom, and the statements. [`super::public`] has the rest.

use super::{
    Script, Wish,
    quote::{identifier, literal, names, remark},
};
use crate::values::RelationName;

/// Section 1: the role itself.
pub(super) fn role(script: &mut Script, wish: &Wish) {
    let reader = identifier(&wish.reader);
    script.remarks(&format!(
        "1. The role {}.\n\
         An existing one is taken as it is, unless it is more than a reader: a superuser\n\
         or an owner is never cut down by this script.\n\
         NOINHERIT: should somebody make it a member of another role later, it has that\n\
         role's rights only after SET ROLE, which NLA refuses.",
        remark(&wish.reader)
    ));
    script.block(&format!(
        "DECLARE
  reader CONSTANT name := {literal};
  old pg_roles;
  attributes text;
BEGIN
  SELECT * INTO old FROM pg_roles WHERE rolname = reader;
  IF old.rolname IS NULL THEN
    CREATE ROLE {reader} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT;
    RETURN;
  END IF;
  attributes := concat_ws(', ', CASE WHEN old.rolsuper THEN 'SUPERUSER' END,
    CASE WHEN old.rolcreatedb THEN 'CREATEDB' END, CASE WHEN old.rolcreaterole THEN 'CREATEROLE' END,
    CASE WHEN old.rolreplication THEN 'REPLICATION' END, CASE WHEN old.rolbypassrls THEN 'BYPASSRLS' END,
    CASE WHEN EXISTS (SELECT FROM pg_class WHERE relowner = old.oid) THEN 'tables of its own' END);
  IF attributes <> '' THEN
    RAISE EXCEPTION 'the role % exists and has %', reader, attributes
      USING HINT = 'Choose another name with --database-role; nothing was changed.';
  END IF;
END",
        literal = literal(&wish.reader),
    ));
    script.statement(&format!("ALTER ROLE {reader} LOGIN NOINHERIT"));
    match wish.connection_limit {
        Some(limit) => script.statement(&format!("ALTER ROLE {reader} CONNECTION LIMIT {limit}")),
        None => script.more_remarks(
            "No limit of connections. NLA opens up to the database's pool size for each token\n\
             on each edge; --connection-limit bounds them all together.",
        ),
    }
    script.remarks(
        "What its sessions begin with. NLA sets its own limits for each statement; these\n\
         hold for whoever else logs in as this role. search_path is left as it is.",
    );
    script.statement(&format!("ALTER ROLE {reader} SET default_transaction_read_only = on"));
    let timeout_ms = wish.statement_timeout.as_millis();
    script.statement(&format!("ALTER ROLE {reader} SET statement_timeout = '{timeout_ms}ms'"));
    script.statement(&format!("ALTER ROLE {reader} SET idle_in_transaction_session_timeout = '60s'"));
    script.more_remarks(
        "Temporary files are what sorting and hashing spill to disk. Only a superuser may\n\
         bound them, so for anybody else this is a warning.",
    );
    script.block(&format!(
        "BEGIN
  ALTER ROLE {reader} SET temp_file_limit = '{limit}kB';
EXCEPTION WHEN insufficient_privilege THEN
  RAISE WARNING 'temp_file_limit was not set: only a superuser may';
END",
        limit = wish.temp_file_limit_bytes / 1_024,
    ));
}

/// Section 2: rights on the database.
pub(super) fn database(script: &mut Script, wish: &Wish) {
    let (reader, dbname) = (identifier(&wish.reader), identifier(&wish.dbname));
    script.remarks(&format!("2. The database {}.", remark(&wish.dbname)));
    script.statement(&format!("REVOKE ALL ON DATABASE {dbname} FROM {reader}"));
    script.statement(&format!("GRANT CONNECT ON DATABASE {dbname} TO {reader}"));
    if wish.from_public {
        script.more_remarks(
            "PUBLIC loses TEMPORARY on this database: whoever makes temporary tables there\n\
             needs it back: GRANT TEMPORARY ON DATABASE ... TO somebody. CREATE (new schemas)\n\
             is not PUBLIC's unless somebody has given it.",
        );
        script.statement(&format!("REVOKE TEMPORARY, CREATE ON DATABASE {dbname} FROM PUBLIC"));
    }
}

/// Section 3: what may be read.
pub(super) fn relations(script: &mut Script, wish: &Wish) {
    script.remarks(
        "3. What it may read. SELECT on a view shows what the view shows, with the rights\n\
         of the view's owner.",
    );
    if wish.reads_everything() {
        script.more_remarks(
            "All schemas that the database has now; name some with --schema, or single tables\n\
             with --table, to give less. A schema that is made later needs another run.",
        );
        every_schema(script, wish);
    }
    let reader = identifier(&wish.reader);
    for name in &wish.schemas {
        let schema = identifier(name);
        script.statement(&format!("GRANT USAGE ON SCHEMA {schema} TO {reader}"));
        script.statement(&format!("REVOKE CREATE ON SCHEMA {schema} FROM {reader}"));
        script.statement(&format!("REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {reader}"));
        script.statement(&format!("REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {reader}"));
        script.statement(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}"));
        future(script, wish, name);
    }
    if !wish.tables.is_empty() {
        script.more_remarks("Single tables; what else their schemas hold, it may not read.");
    }
    for table in &wish.tables {
        script.statement(&format!("GRANT USAGE ON SCHEMA {} TO {reader}", identifier(&table.schema)));
        script.statement(&format!("REVOKE ALL ON TABLE {} FROM {reader}", qualified(table)));
        script.statement(&format!("GRANT SELECT ON TABLE {} TO {reader}", qualified(table)));
    }
    excluded(script, wish);
}

fn qualified(table: &RelationName) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.name))
}

/// Schemas that the server names when the script runs.
fn every_schema(script: &mut Script, wish: &Wish) {
    let owners = if wish.owners.is_empty() {
        "SELECT relowner FROM pg_class WHERE relnamespace = schema.oid AND relkind IN ('r', 'p', 'v', 'm', 'f')
        UNION SELECT schema.nspowner"
            .to_owned()
    } else {
        format!("SELECT oid FROM pg_roles WHERE rolname = ANY ({})", names(&wish.owners))
    };
    script.more_remarks("Tables that come later are readable as well where the present owners make them.");
    script.block(&format!(
        "DECLARE
  reader CONSTANT name := {literal};
  shut CONSTANT name[] := {shut};
  schema record;
  owner name;
BEGIN
  FOR schema IN SELECT oid, nspname, nspowner FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname
  LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', schema.nspname, reader);
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', schema.nspname, reader);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', schema.nspname, reader);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM %I', schema.nspname, reader);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO %I', schema.nspname, reader);
    FOR owner IN SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND oid IN (
        {owners})
    LOOP
      BEGIN
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I ' ||
          CASE WHEN schema.nspname = ANY (shut) THEN 'REVOKE SELECT ON TABLES FROM %I'
            ELSE 'GRANT SELECT ON TABLES TO %I' END, owner, schema.nspname, reader);
      EXCEPTION WHEN insufficient_privilege THEN
        RAISE WARNING 'tables that % makes later in schema % stay as they are', quote_ident(owner), quote_ident(schema.nspname);
      END;
    END LOOP;
  END LOOP;
END",
        literal = literal(&wish.reader),
        shut = names(&wish.excluded.iter().map(|table| table.schema.clone()).collect::<Vec<_>>()),
    ));
}

/// Tables that come later in a schema that was named.
fn future(script: &mut Script, wish: &Wish, schema: &str) {
    let (reader, quoted) = (identifier(&wish.reader), identifier(schema));
    let shut = wish.excluded.iter().any(|table| table.schema == schema);
    if shut {
        script.more_remarks(
            "Tables that come later stay shut until the next run: an excluded one that is\n\
             dropped and made again would be open otherwise.",
        );
    } else {
        script.more_remarks("Tables that come later, where these owners make them.");
    }
    let right = if shut { "REVOKE SELECT ON TABLES FROM" } else { "GRANT SELECT ON TABLES TO" };
    if wish.owners.is_empty() {
        script.block(&format!(
            "DECLARE
  owner name;
BEGIN
  FOR owner IN SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND oid IN (
      SELECT relowner FROM pg_class WHERE relnamespace = {literal}::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
      UNION SELECT nspowner FROM pg_namespace WHERE oid = {literal}::regnamespace)
  LOOP
    BEGIN
      EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I {right} %I', owner, {name}, {reader});
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'tables that % makes later in schema % stay as they are', quote_ident(owner), quote_ident({name});
    END;
  END LOOP;
END",
            literal = literal(&quoted),
            name = literal(schema),
            reader = literal(&wish.reader),
        ));
        return;
    }
    for owner in &wish.owners {
        let owner = identifier(owner);
        script.statement(&format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {quoted}\n  {right} {reader}"));
    }
}

/// What an excluded table is: itself, its partitions and its children.
fn excluded(script: &mut Script, wish: &Wish) {
    if wish.excluded.is_empty() {
        return;
    }
    script.more_remarks(
        "Excluded, with their partitions and children. A view over one of them shows it\n\
         all the same; a warning names those.",
    );
    let tables: Vec<_> = wish.excluded.iter().map(|table| literal(&qualified(table))).collect();
    script.block(&format!(
        "DECLARE
  reader CONSTANT name := {reader};
  shut oid[];
  relation regclass;
BEGIN
  WITH RECURSIVE tree(oid) AS (
    SELECT unnest(ARRAY[{tables}]::regclass[])::oid UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
  ) SELECT array_agg(tree.oid) INTO shut FROM tree;
  FOREACH relation IN ARRAY shut LOOP
    EXECUTE format('REVOKE ALL ON TABLE %s FROM %I', relation, reader);
  END LOOP;
  FOR relation IN SELECT DISTINCT r.ev_class FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
    WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.refobjid = ANY (shut) AND r.ev_class <> ALL (shut) AND has_table_privilege(reader, r.ev_class, 'SELECT')
  LOOP
    RAISE WARNING 'the view % shows what an excluded table holds; exclude it as well', relation;
  END LOOP;
END",
        reader = literal(&wish.reader),
        tables = tables.join(", "),
    ));
}
