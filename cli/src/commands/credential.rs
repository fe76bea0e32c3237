//! `nlactl credential ...`

mod rotation;
mod rotation_sql;

use std::time::Duration;

use clap::Subcommand;
use nla_domain::{id::DatabaseName, secret::Secret};
use nla_proto::{
    failure::Failure,
    v1::{self, credentials_client::CredentialsClient},
};

use self::{
    rotation::{Rotate, RotationCommand},
    rotation_sql::RotationSqlArgs,
};
use super::wire_span;
use crate::{
    args::Globals,
    exit::CliError,
    input::{Import, PasswordSource},
    output::{
        Output,
        views::{List, database::Credential},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::parse_span,
};

#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Set how NLA logs in to a database; the password is asked for
    #[command(after_help = "\
Examples:
  nlactl credential set shop --username nla_reader
  nlactl credential set shop --username nla_reader --password-file shop.password
  pass show shop | nlactl credential set shop --username nla_reader --password-stdin
  nlactl credential set shop --username nla_reader --password-stdin < shop.password
  nlactl credential set shop --from-pgpass
  nlactl credential set shop --from-uri shop.uri")]
    Set {
        /// The database
        database: DatabaseName,
        /// PostgreSQL's role name; it should have no right but to read
        #[arg(long, required_unless_present_any = ["from_pgpass", "from_uri"])]
        username: Option<String>,
        #[command(flatten)]
        source: PasswordSource,
        #[command(flatten)]
        import: Import,
    },
    /// Take a credential from a file, a variable or a program of the control plane's machine, now and from now on
    #[command(after_help = "\
The control plane's configuration says what may be named ([credentials]). What it
reads is a password, or JSON with password, username and expires_at. A new value is
tried by an edge before it counts; the last one serves through an outage.

Examples:
  nlactl credential reference shop --username nla_reader --source file:/run/secrets/shop
  nlactl credential reference shop --username nla_reader --source env:SHOP_PASSWORD
  nlactl credential reference shop --source 'exec:/usr/local/bin/db-login shop' --every 10m")]
    Reference {
        /// The database
        database: DatabaseName,
        /// PostgreSQL's role name, unless the source names one
        #[arg(long, default_value = "")]
        username: String,
        /// file:/path, env:NAME, or exec:/path/to/program and its arguments
        #[arg(long)]
        source: String,
        /// Between two runs of a program [default: half the life of what it gave, or 5m]
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        every: Option<Duration>,
    },
    /// Show a credential without its password: where it comes from, and when it ends
    #[command(after_help = "Examples:\n  nlactl credential show shop")]
    Show {
        /// The database
        database: DatabaseName,
    },
    /// List credentials, without passwords
    #[command(after_help = "Examples:\n  nlactl credential list")]
    List,
    /// Give a database's credential a new password and the other one of two roles, without a failed call
    #[command(after_help = "\
It goes on in the control plane when this command ends; `rotation show` tells how far
it is. Ends with 1 when it failed, and says what leads on.

Examples:
  nlactl credential rotate shop
  nlactl credential rotate shop --grace 5m --no-wait
  nlactl credential rotate shop --emergency --yes")]
    Rotate(Rotate),
    /// Rotations: with which roles, when, and how far
    #[command(subcommand)]
    Rotation(RotationCommand),
    /// Print SQL that makes the roles with which a credential rotates
    #[command(after_help = "\
The SQL goes to stdout, with comments; a superuser runs it with psql, once or again.

Examples:
  nlactl credential rotation-sql shop --reader nla_reader > shop-rotation.sql
  nlactl credential rotation-sql shop --role shop_a --role shop_b --manager shop_manager | psql -X -d shop -f -")]
    RotationSql(RotationSqlArgs),
}

impl CredentialCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Set { database, username, import, .. } if import.is_given() => {
                let session = Session::open(globals)?;
                let definition = super::database::get(&session, database).await?.database.unwrap_or_default();
                let (username, password) = import.read(&definition, username.as_deref())?;
                set(&session, output, database, &username, &password).await
            }
            Self::Set { database, username, source, .. } => {
                let username = username.as_deref().unwrap_or_default();
                let session = Session::open(globals)?;
                let password = source.read(&format!("Password of {username} for database {database}: "))?;
                set(&session, output, database, username, &password).await
            }
            Self::Rotate(rotate) => rotate.run(globals, output).await,
            Self::Rotation(command) => command.run(globals, output).await,
            Self::RotationSql(args) => args.run(output),
            Self::Reference { database, username, source, every } => {
                let session = Session::open(globals)?;
                let request = v1::ReferenceCredentialRequest {
                    idempotency_key: session.key(),
                    database: database.to_string(),
                    username: username.clone(),
                    source: source.clone(),
                    every: wire_span(*every),
                };
                let what = format!("take the credential of database {database} from there");
                let answer = session
                    .call(&what, request, async |channel, request| {
                        CredentialsClient::new(channel).reference(request).await
                    })
                    .await?;
                output.result(&Credential::from_wire(answer))
            }
            Self::Show { database } => {
                let mut all = list(&Session::open(globals)?).await?;
                let at = all.iter().position(|credential| credential.database == database.as_str());
                let at = at.ok_or_else(|| CliError::Answered {
                    what: format!("show the credential of database {database}"),
                    source: Failure::not_found("credential", database.as_str()),
                })?;
                output.result(&Credential::from_wire(all.swap_remove(at)))
            }
            Self::List => {
                let all = list(&Session::open(globals)?).await?;
                output.result(&List(all.into_iter().map(Credential::from_wire).collect()))
            }
        }
    }
}

async fn list(session: &Session) -> Result<Vec<v1::CredentialView>, CliError> {
    let answer = session
        .call("list the credentials", v1::ListCredentialsRequest {}, async |channel, request| {
            CredentialsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
        })
        .await?;
    Ok(answer.credentials)
}

async fn set(
    session: &Session,
    output: &Output,
    database: &DatabaseName,
    username: &str,
    password: &Secret,
) -> Result<(), CliError> {
    let request = v1::SetCredentialRequest {
        idempotency_key: session.key(),
        database: database.to_string(),
        username: username.to_owned(),
        password: password.expose().to_owned(),
        expected_revision: 0,
    };
    let answer = session
        .call(&format!("set the credential of database {database}"), request, async |channel, request| {
            CredentialsClient::new(channel).set(request).await
        })
        .await?;
    output.result(&Credential::from_wire(answer))?;
    output.hint(&format!("Next: nlactl database test {database}"));
    Ok(())
}
