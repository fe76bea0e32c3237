//! `nlactl credential ...`

mod rotation;
mod rotation_sql;

use clap::Subcommand;
use nla_domain::{id::DatabaseName, secret::Secret};
use nla_proto::v1::{self, credentials_client::CredentialsClient};

use self::{
    rotation::{Rotate, RotationCommand},
    rotation_sql::RotationSqlArgs,
};
use crate::{
    args::Globals,
    exit::CliError,
    input::{Import, PasswordSource},
    output::{
        Output,
        views::{List, database::Credential},
    },
    session::{MAX_MESSAGE_BYTES, Session},
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
            Self::List => {
                let answer = Session::open(globals)?
                    .call("list the credentials", v1::ListCredentialsRequest {}, async |channel, request| {
                        CredentialsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.credentials.into_iter().map(Credential::from_wire).collect()))
            }
        }
    }
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
