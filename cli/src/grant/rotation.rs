//! The SQL that lets a database's credential rotate: two login roles that read
//! what another role reads, and a manager who may set their passwords. Pure: it
//! asks no server. `nlactl credential rotation-sql` prints it.
//!
//! Invariant: as for [`super::script`]; a role that is in force stays open when
//! the script runs again.

use std::time::Duration;

use super::{
    Script,
    quote::{identifier, literal, remark},
};

/// What the roles are to be.
#[derive(Debug, Clone)]
pub(crate) struct Rotating {
    /// What NLA calls the database, for the comments.
    pub(crate) database: String,
    /// The role whose rights the pair has.
    pub(crate) reader: String,
    /// Take turns.
    pub(crate) pair: [String; 2],
    /// Sets their passwords.
    pub(crate) manager: String,
    /// Longest time for a statement.
    pub(crate) statement_timeout: Duration,
}

/// The script.
pub(crate) fn rotation_script(rotating: &Rotating) -> String {
    let mut script = Script(String::new());
    head(&mut script, rotating);
    for role in &rotating.pair {
        member(&mut script, rotating, role);
    }
    manager(&mut script, rotating);
    tail(&mut script, rotating);
    script.0
}

fn head(script: &mut Script, rotating: &Rotating) {
    let (database, reader, manager) = (remark(&rotating.database), remark(&rotating.reader), remark(&rotating.manager));
    let [a, b] = rotating.pair.each_ref().map(|role| remark(role));
    script.more_remarks(&format!(
        "Lets NLA rotate its credential for {database}. {a} and {b} take turns: while one\n\
         serves, the other is shut and gets its next password. Both have the rights of\n\
         {reader}, which `nlactl database grant-sql {database}` makes. {manager} sets the\n\
         passwords; only NLA's control plane logs in as it.\n\
         \n\
         Run it connected to that database, as a superuser. It is one transaction, and may\n\
         run again at any time. It sets no password: see the end."
    ));
    script.0.push('\n');
    script.statement("BEGIN");
    script.statement("SET LOCAL client_encoding = 'UTF8'");
    script.more_remarks("No function of somebody's own may stand in for one of PostgreSQL's below.");
    script.statement("SET LOCAL search_path = pg_catalog, pg_temp");
}

fn member(script: &mut Script, rotating: &Rotating, role: &str) {
    let (name, reader) = (identifier(role), identifier(&rotating.reader));
    script.remarks(&format!(
        "The role {}. It is made without the right to log in, which a rotation gives it;\n\
         one that exists is left open or shut as it is.",
        remark(role)
    ));
    existing(script, role, "NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT");
    script.statement(&format!("ALTER ROLE {name} INHERIT"));
    script.statement(&format!("GRANT {reader} TO {name}"));
    script.more_remarks("Settings are not inherited.");
    script.statement(&format!("ALTER ROLE {name} SET default_transaction_read_only = on"));
    let timeout_ms = rotating.statement_timeout.as_millis();
    script.statement(&format!("ALTER ROLE {name} SET statement_timeout = '{timeout_ms}ms'"));
    script.statement(&format!("ALTER ROLE {name} SET idle_in_transaction_session_timeout = '60s'"));
}

/// Makes a role, or refuses one that is more than it should be.
fn existing(script: &mut Script, role: &str, attributes: &str) {
    script.block(&format!(
        "DECLARE
  old pg_roles;
BEGIN
  SELECT * INTO old FROM pg_roles WHERE rolname = {literal};
  IF old.rolname IS NULL THEN
    CREATE ROLE {name} {attributes};
  ELSIF old.rolsuper OR old.rolreplication OR old.rolbypassrls OR old.rolcreatedb THEN
    RAISE EXCEPTION 'the role % exists and is more than it should be', old.rolname
      USING HINT = 'Choose another name; nothing was changed.';
  END IF;
END",
        literal = literal(role),
        name = identifier(role),
    ));
}

fn manager(script: &mut Script, rotating: &Rotating) {
    let name = identifier(&rotating.manager);
    let [a, b] = rotating.pair.each_ref().map(|role| identifier(role));
    script.remarks(&format!(
        "The manager {}. PostgreSQL lets only a role with CREATEROLE set another one's\n\
         password. Up to PostgreSQL 15 that reaches every role that is no superuser: guard\n\
         this one well. From 16 on it reaches the two roles alone. Membership in them lets\n\
         it end their sessions.",
        remark(&rotating.manager)
    ));
    existing(script, &rotating.manager, "LOGIN NOSUPERUSER NOCREATEDB CREATEROLE NOREPLICATION NOBYPASSRLS INHERIT");
    script.statement(&format!("ALTER ROLE {name} LOGIN CREATEROLE INHERIT"));
    script.statement(&format!("GRANT {a}, {b} TO {name} WITH ADMIN OPTION"));
    script.block(&format!(
        "BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE {inherit};
  END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), {literal});
END",
        inherit = literal(&format!("GRANT {a}, {b} TO {name} WITH INHERIT TRUE, SET FALSE")),
        literal = literal(&rotating.manager),
    ));
}

fn tail(script: &mut Script, rotating: &Rotating) {
    script.0.push('\n');
    script.statement("COMMIT");
    let (database, manager) = (remark(&rotating.database), remark(&rotating.manager));
    let [a, b] = rotating.pair.each_ref().map(|role| remark(role));
    script.remarks(&format!(
        "Then give the manager a password that nobody has seen, hand the same one to NLA,\n\
         and rotate for the first time. pg_hba.conf must let the control plane log in, too.\n\
         \n\
         \x20 \\password {}\n\
         \n\
         \x20 nlactl credential rotation configure {database} --manager {manager} --role {a} --role {b}\n\
         \x20 nlactl credential rotate {database}",
        remark(&identifier(&rotating.manager)),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotating(name: &str) -> Rotating {
        Rotating {
            database: name.into(),
            reader: name.into(),
            pair: [format!("{name}_a"), format!("{name}_b")],
            manager: format!("{name}_manager"),
            statement_timeout: Duration::from_secs(30),
        }
    }

    #[test]
    fn what_was_asked_for_and_no_password() {
        let script = rotation_script(&rotating("shop"));
        for part in [
            "CREATE ROLE \"shop_a\" NOLOGIN NOSUPERUSER",
            "GRANT \"shop\" TO \"shop_b\";",
            "ALTER ROLE \"shop_a\" SET statement_timeout = '30000ms';",
            "GRANT \"shop_a\", \"shop_b\" TO \"shop_manager\" WITH ADMIN OPTION;",
        ] {
            assert!(script.contains(part), "{part}\n{script}");
        }
        let bare: String = script.lines().filter(|line| !line.starts_with("--")).collect();
        assert!(!bare.to_lowercase().contains("password"), "{script}");
        assert!(bare.starts_with("BEGIN;") && bare.ends_with("COMMIT;"), "{bare}");
    }

    #[test]
    fn no_name_ends_the_part_that_it_stands_in() {
        let hostile = rotation_script(&rotating("a\"; DROP ROLE x; --\n'$nla$"));
        let plain = rotation_script(&rotating("x"));
        assert_eq!(hostile.lines().filter(|line| line.starts_with("CREATE")).count(), 0);
        let comments = |script: &str| script.lines().filter(|line| line.starts_with("--")).count();
        assert_eq!(comments(&hostile), comments(&plain), "{hostile}");
    }
}
