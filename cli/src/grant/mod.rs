//! The SQL that makes a database role which may read and nothing else: role
//! wishes -> script. `nlactl database grant-sql` prints it; a DBA reads it, and
//! runs it with psql. Pure: it asks no server.
//!
//! Invariant: the script is one transaction, may run any number of times, and
//! every name in it went through [`quote`].

mod parts;
mod public;
pub(crate) mod quote;
mod rotation;

use std::time::Duration;

use self::quote::{identifier, remark};
use crate::values::RelationName;

pub(crate) use self::rotation::{Rotating, rotation_script};

/// What the role is to be.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    /// What NLA calls the database, for the comments.
    pub(crate) database: String,
    /// `dbname` on the server.
    pub(crate) dbname: String,
    /// The role to make.
    pub(crate) reader: String,
    /// Schemas of which it may read everything, now and later.
    pub(crate) schemas: Vec<String>,
    /// Single tables and views.
    pub(crate) tables: Vec<RelationName>,
    /// Tables and views that it may not read although their schema is named.
    pub(crate) excluded: Vec<RelationName>,
    /// Who makes new tables; empty: who owns the present ones.
    pub(crate) owners: Vec<String>,
    /// Most connections; `None` leaves the role's own limit alone.
    pub(crate) connection_limit: Option<u32>,
    /// Longest time for a statement.
    pub(crate) statement_timeout: Duration,
    /// Most bytes of temporary files in one session.
    pub(crate) temp_file_limit_bytes: u64,
    /// Whether rights that everybody has through PUBLIC are taken away.
    pub(crate) from_public: bool,
}

impl Wish {
    /// True when the role is to read all schemas that the database has when the
    /// script runs.
    fn reads_everything(&self) -> bool {
        self.schemas.is_empty() && self.tables.is_empty()
    }
}

/// The script.
pub(crate) fn script(wish: &Wish) -> String {
    let mut script = Script(String::new());
    head(&mut script, wish);
    parts::role(&mut script, wish);
    parts::database(&mut script, wish);
    parts::relations(&mut script, wish);
    if wish.from_public {
        public::revoked(&mut script);
    }
    public::left(&mut script, wish);
    tail(&mut script, wish);
    script.0
}

/// The script under construction.
struct Script(String);

impl Script {
    /// A heading with its explanation, after an empty line.
    fn remarks(&mut self, text: &str) {
        self.0.push('\n');
        self.more_remarks(text);
    }

    /// Lines of comment.
    fn more_remarks(&mut self, text: &str) {
        for line in text.lines() {
            self.0.push_str(format!("-- {line}").trim_end());
            self.0.push('\n');
        }
    }

    /// A statement without its semicolon.
    fn statement(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push_str(";\n");
    }

    /// A DO block.
    fn block(&mut self, body: &str) {
        self.0.push_str(&quote::block(body));
    }
}

fn head(script: &mut Script, wish: &Wish) {
    let (reader, dbname, database) = (remark(&wish.reader), remark(&wish.dbname), remark(&wish.database));
    script.more_remarks(&format!(
        "Makes the database role {reader}, with which NLA reads {database}: it may log in,\n\
         connect to the database {dbname}, and SELECT. Nothing else.\n\
         \n\
         Run it connected to that database, as a superuser:\n\
         \n\
         \x20 nlactl database grant-sql {database} ... | psql -X -d {dbname} -f -\n\
         \n\
         (Who owns the database and its tables and has CREATEROLE can run it as well; what\n\
         only a superuser may do is then reported as a warning.) It is one transaction: all of it happens or\n\
         nothing. It may run again at any time, and should after new schemas were made.\n\
         It sets no password: see the end."
    ));
    if wish.from_public {
        script.more_remarks(
            "\n\
             What is taken FROM PUBLIC below is lost to everybody who has it through PUBLIC,\n\
             your applications included, because PostgreSQL cannot take such a right from one\n\
             role alone. Each comes with the statement that gives it back to one role.\n\
             --no-public leaves all of that out.",
        );
    }
    script.0.push('\n');
    script.statement("BEGIN");
    script.statement("SET LOCAL client_encoding = 'UTF8'");
    script.more_remarks("No function of somebody's own may stand in for one of PostgreSQL's below.");
    script.statement("SET LOCAL search_path = pg_catalog, pg_temp");
    script.block(&format!(
        "BEGIN
  IF current_database() <> {dbname} THEN
    RAISE EXCEPTION 'this is the database %, and the script is for %', current_database(), {dbname}
      USING HINT = 'Connect to the other database and run it again; nothing was changed.';
  END IF;
END",
        dbname = quote::literal(&wish.dbname)
    ));
}

fn tail(script: &mut Script, wish: &Wish) {
    script.0.push('\n');
    script.statement("COMMIT");
    let (reader, database) = (remark(&wish.reader), remark(&wish.database));
    script.remarks(&format!(
        "Then give it a password that nobody has seen, and hand the same one to NLA:\n\
         \n\
         \x20 \\password {}\n\
         \n\
         \x20 nlactl credential set {database} --username {reader}\n\
         \x20 nlactl database test {database}",
        remark(&identifier(&wish.reader)),
    ));
}

#[cfg(test)]
mod tests;
