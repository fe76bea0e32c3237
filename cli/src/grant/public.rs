//! The script's sections about everybody else: what PUBLIC loses, and what the
//! role may do through others after all. Each function writes one heading that
//! says what the statements do to whom, and the statements.

use super::{Script, Wish, quote::literal};

/// Functions of PostgreSQL's own that write although the transaction is READ
/// ONLY, and that PUBLIC may call: large objects (before PostgreSQL 16) and
/// messages in the write-ahead log. Nothing but their writing half: reading a
/// large object stays possible.
const WRITERS: &str = "'lo_creat', 'lo_create', 'lo_from_bytea', 'lo_import', 'lo_export', 'lo_put', 'lo_unlink',
      'lo_truncate', 'lo_truncate64', 'lowrite', 'pg_logical_emit_message'";

/// Section 4: what PUBLIC gives to every role.
pub(super) fn revoked(script: &mut Script) {
    script.remarks(
        "4. PUBLIC loses CREATE on the schemas of this database that it has it on (in\n\
         PostgreSQL 14 that is schema public): whoever makes tables there needs it back:\n\
         GRANT CREATE ON SCHEMA ... TO somebody. A notice names each.",
    );
    script.block(
        "DECLARE
  schema name;
BEGIN
  FOR schema IN SELECT nspname FROM pg_namespace, aclexplode(nspacl) acl
    WHERE nspname !~ '^pg_' AND acl.grantee = 0 AND acl.privilege_type = 'CREATE'
  LOOP
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', schema);
    RAISE NOTICE 'PUBLIC has lost CREATE on schema %', quote_ident(schema);
  END LOOP;
END",
    );
    script.remarks(
        "PUBLIC loses EXECUTE on the functions of PostgreSQL that write even in a READ ONLY\n\
         transaction: the writing half of large objects, and messages in the write-ahead\n\
         log. And on those of dblink, where it is installed, which open a connection of\n\
         their own that no transaction of ours bounds. Whoever needs one gets it back:\n\
         GRANT EXECUTE ON FUNCTION ... TO somebody. A notice names them. Advisory locks,\n\
         pg_cancel_backend() and their like stay PUBLIC's, because applications live on\n\
         them; for agents the guard refuses them.",
    );
    script.block(&format!(
        "DECLARE
  function record;
  lost text[];
BEGIN
  FOR function IN SELECT p.oid::regprocedure AS signature, p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
    WHERE acl.grantee = 0 AND acl.privilege_type = 'EXECUTE'
      AND (p.pronamespace = 'pg_catalog'::regnamespace AND p.proname IN ({WRITERS})
        OR EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
          WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
            AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'dblink'))
  LOOP
    BEGIN
      EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', function.signature);
      lost := lost || function.proname::text;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'PUBLIC keeps EXECUTE on %: only a superuser may revoke it', function.signature;
    END;
  END LOOP;
  IF lost IS NOT NULL THEN
    RAISE NOTICE 'PUBLIC has lost EXECUTE on %', (SELECT string_agg(DISTINCT name, ', ') FROM unnest(lost) name);
  END IF;
END",
    ));
}

/// Section 5: what the role may do beyond reading after all.
pub(super) fn left(script: &mut Script, wish: &Wish) {
    script.remarks(
        "5. What it may do beyond reading after all, through PUBLIC, through membership in\n\
         another role, or through functions that run with their owner's rights. Nothing is\n\
         changed here: a warning names each, for you to decide.",
    );
    script.block(&format!(
        "DECLARE
  reader CONSTANT name := {reader};
  what text;
BEGIN
  FOR what IN
    SELECT format('may %s in the database', lower(right_)) FROM unnest(ARRAY['TEMPORARY', 'CREATE']) right_
      WHERE has_database_privilege(reader, current_database(), right_)
    UNION ALL SELECT format('may create in schema %I', nspname) FROM pg_namespace
      WHERE nspname !~ '^pg_' AND has_schema_privilege(reader, oid, 'CREATE')
    UNION ALL SELECT format('may write to %s', c.oid::regclass) FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      WHERE c.relkind IN ('r', 'p', 'v', 'f') AND has_table_privilege(reader, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    UNION ALL SELECT format('is a member of %I', g.rolname) FROM pg_auth_members m
      JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles r ON r.oid = m.member AND r.rolname = reader
    UNION ALL SELECT format('may call %s, which runs with the rights of %I', p.oid::regprocedure, o.rolname)
      FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
      JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname <> 'pg_catalog'
      WHERE p.prosecdef AND has_function_privilege(reader, p.oid, 'EXECUTE')
        AND has_schema_privilege(reader, n.oid, 'USAGE')
    LIMIT 50
  LOOP
    RAISE WARNING '% %', quote_ident(reader), what;
  END LOOP;
END",
        reader = literal(&wish.reader),
    ));
}
