//! `nlactl database ...`

mod grant_sql;
mod settings;

use clap::{Args, Subcommand};
use nla_domain::{
    database::SslMode,
    id::{DatabaseName, EdgeId},
};
use nla_proto::{
    convert,
    v1::{self, databases_client::DatabasesClient},
};

use self::settings::Settings;
use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{
        Output,
        views::{
            List, Removed,
            database::{CatalogSql, Database, Probe},
        },
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::PostgresUrl,
};

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Make a database known
    #[command(after_help = "\
Examples:
  nlactl database add shop --host db.example.com --dbname shop --root-cert db-ca.pem
  nlactl database add shop --url postgres://db.example.com:5432/shop --root-cert db-ca.pem
  nlactl database add dev --host 127.0.0.1 --dbname dev --sslmode disable --max-rows 200")]
    Add(Box<Add>),
    /// List databases
    #[command(after_help = "Examples:\n  nlactl database list\n  nlactl database list -o yaml")]
    List,
    /// Show a database
    #[command(after_help = "Examples:\n  nlactl database show shop")]
    Show {
        /// Its name
        name: DatabaseName,
    },
    /// Change a database; what is not given stays as it is
    #[command(after_help = "\
Examples:
  nlactl database update shop --max-rows 500 --statement-timeout 10s
  nlactl database update shop --host db2.example.com
  nlactl database update shop --role-policy refuse")]
    Update(Box<Update>),
    /// Remove a database that no role and no token names, with its credential
    #[command(after_help = "Examples:\n  nlactl database remove shop\n  nlactl database remove shop --yes")]
    Remove {
        /// Its name
        name: DatabaseName,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Print SQL that makes a database role which may read and nothing else
    #[command(after_help = "\
The SQL goes to stdout, with comments; a superuser runs it with psql, once or again.
It takes some rights from PUBLIC, and says which; --no-public leaves them alone.

Examples:
  nlactl database grant-sql shop --schema shop --schema analytics > shop-role.sql
  nlactl database grant-sql shop --schema shop --exclude-table shop.payments --owner shop_owner
  nlactl database grant-sql shop --database-role nla_sales --table shop.orders --table shop.products
  nlactl database grant-sql shop --offline --dbname shop --no-public | psql -X -d shop -f -")]
    GrantSql(Box<grant_sql::GrantSqlArgs>),
    /// Print SQL that reads what a database holds, for `check --catalog`
    #[command(after_help = "\
It changes nothing. Run it as the database role that NLA logs in as, because what
exists and what a name means depend on it.

Examples:
  nlactl database catalog-sql | psql -XAtq -d shop -U nla_reader > shop.catalog.json")]
    CatalogSql,
    /// Have the connected edges log in to a database
    #[command(after_help = "\
Ends with 1 when an edge cannot.

Examples:
  nlactl database test shop
  nlactl database test shop --edge edge-1")]
    Test {
        /// Its name
        name: DatabaseName,
        /// Only this edge
        #[arg(long, value_name = "EDGE")]
        edge: Option<EdgeId>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// What agents and operators call it
    name: DatabaseName,
    /// Where it is, as postgres://HOST:PORT/DBNAME?sslmode=..., without a password
    #[arg(long, conflicts_with_all = ["host", "port", "dbname"])]
    url: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its name
    name: DatabaseName,
    #[command(flatten)]
    settings: Settings,
}

impl DatabaseCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Add(add) => add.run(globals, output).await,
            Self::List => {
                let answer = Session::open(globals)?
                    .call("list the databases", v1::ListDatabasesRequest {}, async |channel, request| {
                        DatabasesClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.databases.into_iter().map(Database::from_wire).collect()))
            }
            Self::Show { name } => output.result(&Database::from_wire(get(&Session::open(globals)?, name).await?)),
            Self::Update(update) => update.run(globals, output).await,
            Self::Remove { name, confirm } => remove(globals, output, name, confirm).await,
            Self::GrantSql(args) => args.run(globals, output).await,
            Self::CatalogSql => {
                let sql = format!("BEGIN READ ONLY;\n{};\nROLLBACK;\n", nla_guard::catalog::FACTS_SQL.trim_end());
                output.script(&sql, &CatalogSql { sql: &sql })
            }
            Self::Test { name, edge } => test(&Session::open(globals)?, output, name, edge.as_ref()).await,
        }
    }
}

pub(super) async fn get(session: &Session, name: &DatabaseName) -> Result<v1::DatabaseView, CliError> {
    let request = v1::GetDatabaseRequest { name: name.to_string() };
    session
        .call(&format!("show database {name}"), request, async |channel, request| {
            DatabasesClient::new(channel).get(request).await
        })
        .await
}

impl Add {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let name = &self.name;
        let mut database = v1::Database {
            name: name.to_string(),
            port: 5432,
            sslmode: convert::ssl_mode(SslMode::default()).into(),
            ..Default::default()
        };
        let mut username = None;
        if let Some(url) = &self.url {
            let url = PostgresUrl::parse(url)?;
            if url.sslmode.is_some() && self.settings.sslmode.is_some() {
                return Err(CliError::usage("the URL names an sslmode and --sslmode does as well"));
            }
            database.host = url.host;
            database.dbname = url.dbname;
            database.port = url.port.map_or(database.port, u32::from);
            database.sslmode = url.sslmode.map_or(database.sslmode, |mode| convert::ssl_mode(mode).into());
            username = url.username;
        } else if self.settings.host.is_none() || self.settings.dbname.is_none() {
            return Err(CliError::usage("where is the database? Give --host and --dbname, or --url"));
        }
        self.settings.apply(&mut database)?;
        let session = Session::open(globals)?;
        let request = v1::CreateDatabaseRequest { idempotency_key: session.key(), database: Some(database) };
        let answer = session
            .call(&format!("add database {name}"), request, async |channel, request| {
                DatabasesClient::new(channel).create(request).await
            })
            .await?;
        output.result(&Database::from_wire(answer))?;
        let username = username.as_deref().unwrap_or("USER");
        output.hint(&format!(
            "Next: nlactl database grant-sql {name} prints SQL for a database role that may only read; then nlactl \
             credential set {name} --username {username}, and nlactl database test {name}"
        ));
        Ok(())
    }
}

impl Update {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let name = &self.name;
        if self.settings.is_empty() {
            return Err(CliError::usage("nothing to change was given"));
        }
        let session = Session::open(globals)?;
        let view = get(&session, name).await?;
        let mut database = view.database.unwrap_or_default();
        self.settings.apply(&mut database)?;
        let request = v1::UpdateDatabaseRequest {
            idempotency_key: session.key(),
            database: Some(database),
            expected_revision: view.meta.map_or(0, |meta| meta.revision),
        };
        let answer = session
            .call(&format!("update database {name}"), request, async |channel, request| {
                DatabasesClient::new(channel).update(request).await
            })
            .await?;
        output.result(&Database::from_wire(answer))
    }
}

async fn remove(globals: &Globals, output: &Output, name: &DatabaseName, confirm: &Confirm) -> Result<(), CliError> {
    confirm.obtain(&format!("Remove database {name} and its credential?"))?;
    let session = Session::open(globals)?;
    let request =
        v1::DeleteDatabaseRequest { idempotency_key: session.key(), name: name.to_string(), expected_revision: 0 };
    let answer = session
        .call(&format!("remove database {name}"), request, async |channel, request| {
            DatabasesClient::new(channel).delete(request).await
        })
        .await?;
    output.result(&Removed { kind: "database", name: name.to_string(), removed: true, revision: answer.revision })
}

async fn test(session: &Session, output: &Output, name: &DatabaseName, edge: Option<&EdgeId>) -> Result<(), CliError> {
    let edge_id = edge.map(ToString::to_string).unwrap_or_default();
    let request = v1::TestDatabaseRequest { name: name.to_string(), edge_id };
    let answer = session
        .call(&format!("test database {name}"), request, async |channel, request| {
            DatabasesClient::new(channel).test(request).await
        })
        .await?;
    let probes = List(answer.edges.into_iter().map(Probe::from_wire).collect());
    output.result(&probes)?;
    let (total, failed) = (probes.0.len(), probes.0.iter().filter(|probe| !probe.ok()).count());
    if total == 0 {
        let error = CliError::Incomplete { message: "no edge is connected, so nothing was tested".into(), next: None };
        return Err(error.with_next("`nlactl edge list` shows the edges"));
    }
    if failed > 0 {
        let message = format!("{failed} of {total} edges cannot use database {name}");
        return Err(CliError::Incomplete { message, next: None });
    }
    Ok(())
}
