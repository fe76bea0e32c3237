//! `nlactl credential ...`

use clap::Subcommand;
use nla_domain::{id::DatabaseName, secret::Secret};
use nla_proto::v1::{self, credentials_client::CredentialsClient};

use crate::{
    args::Globals,
    exit::CliError,
    input::PasswordSource,
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
  nlactl credential set shop --username nla_reader --password-stdin < shop.password")]
    Set {
        /// The database
        database: DatabaseName,
        /// PostgreSQL's role name; it should have no right but to read
        #[arg(long)]
        username: String,
        #[command(flatten)]
        source: PasswordSource,
    },
    /// List credentials, without passwords
    #[command(after_help = "Examples:\n  nlactl credential list")]
    List,
}

impl CredentialCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Set { database, username, source } => {
                let session = Session::open(globals)?;
                let password = source.read(&format!("Password of {username} for database {database}: "))?;
                set(&session, output, database, username, &password).await
            }
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
