//! `nlactl credential rotate` and `nlactl credential rotation ...`

use std::time::Duration;

use clap::{Args, Subcommand};
use nla_domain::id::DatabaseName;
use nla_proto::v1::{self, rotations_client::RotationsClient};
use tokio_stream::StreamExt as _;

use super::super::wire_span;
use crate::{
    args::Globals,
    exit::CliError,
    input::{Confirm, PasswordSource},
    output::{
        Output,
        views::{List, credential_rotation::Rotation},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::{parse_name, parse_span},
};

/// The control plane asks the database's server before it answers.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The database
    database: DatabaseName,
    /// The old password is known to somebody: end its sessions as soon as the connected edges have the new one
    #[arg(long)]
    emergency: bool,
    /// Do not wait for edges that are not connected
    #[arg(long)]
    force: bool,
    /// Longest wait for the old role's sessions [default: the statement timeout and 30s]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    grace: Option<Duration>,
    /// Begin it and do not watch
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotationCommand {
    /// Say with which roles a database's credential rotates; the manager's password is asked for
    #[command(after_help = "\
The control plane looks at once whether the roles can do it.

Examples:
  nlactl credential rotation configure shop --manager nla_manager --role nla_reader_shop_a --role nla_reader_shop_b
  nlactl credential rotation configure shop --manager nla_manager --role a --role b --password-file manager.password")]
    Configure(Box<Configure>),
    /// Show a database's rotation, and what leads on if it failed
    #[command(after_help = "Examples:\n  nlactl credential rotation show shop")]
    Show {
        /// The database
        database: DatabaseName,
    },
    /// List the databases whose credentials rotate
    #[command(after_help = "Examples:\n  nlactl credential rotation list")]
    List,
    /// Take a rotation back: the credential before it stays, or comes back
    #[command(after_help = "Examples:\n  nlactl credential rotation abort shop --yes")]
    Abort {
        /// The database
        database: DatabaseName,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Go on with a rotation that failed, where it failed
    #[command(after_help = "\
Examples:
  nlactl credential rotation resume shop
  nlactl credential rotation resume shop --force")]
    Resume {
        /// The database
        database: DatabaseName,
        /// From now on do not wait for edges that are not connected
        #[arg(long)]
        force: bool,
    },
    /// Rotate by itself from now on, or no more
    #[command(after_help = "\
Examples:
  nlactl credential rotation schedule shop --every 30d
  nlactl credential rotation schedule shop --off")]
    Schedule {
        /// The database
        database: DatabaseName,
        /// Between two rotations
        #[arg(long, value_name = "TIME", value_parser = parse_span, required_unless_present = "off")]
        every: Option<Duration>,
        /// No more
        #[arg(long, conflicts_with = "every")]
        off: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Configure {
    /// The database
    database: DatabaseName,
    /// The database role that sets the passwords
    #[arg(long, value_name = "ROLE", value_parser = parse_name)]
    manager: String,
    /// A database role that takes turns; give two
    #[arg(long = "role", value_name = "ROLE", required = true, num_args = 1, value_parser = parse_name)]
    roles: Vec<String>,
    #[command(flatten)]
    source: PasswordSource,
}

impl Rotate {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let name = &self.database;
        if self.emergency {
            self.confirm.obtain(&format!("Rotate the credential of {name} and cut its running statements?"))?;
        }
        let session = Session::open(globals)?;
        let request = v1::StartRotationRequest {
            idempotency_key: session.key(),
            database: name.to_string(),
            emergency: self.emergency,
            force: self.force,
            grace: wire_span(self.grace),
        };
        let what = format!("rotate the credential of database {name}");
        let mut steps = session
            .stream(&what, request, async |channel, request| RotationsClient::new(channel).start(request).await)
            .await?;
        let mut told = String::new();
        let mut last = None;
        while let Some(view) = steps.next().await {
            let view = view.map_err(|status| CliError::from_status(&what, session.url(), &status))?;
            let rotation = Rotation::from_wire(view);
            let line = rotation.progress();
            if line != told {
                output.hint(&line);
                told = line;
            }
            let last = last.insert(rotation);
            if self.no_wait {
                output.hint(&format!("Watch it with: nlactl credential rotation show {name}"));
                return output.result(last);
            }
        }
        ended(output, name, last)
    }
}

/// Shows the end; one that is none fails the command.
fn ended(output: &Output, name: &DatabaseName, last: Option<Rotation>) -> Result<(), CliError> {
    let show = format!("nlactl credential rotation show {name}");
    let Some(rotation) = last else {
        let message = "the control plane ended the stream before the rotation ended".to_owned();
        return Err(CliError::Incomplete { message, next: Some(show) });
    };
    output.result(&rotation)?;
    if let Some((message, next)) = rotation.failure() {
        return Err(CliError::Incomplete { message, next: Some(next) });
    }
    if !rotation.is_done() {
        let message = "the rotation was taken back, or is not at its end".to_owned();
        return Err(CliError::Incomplete { message, next: Some(show) });
    }
    Ok(())
}

impl RotationCommand {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Configure(configure) => configure.run(globals, output).await,
            Self::Show { database } => {
                let request = v1::GetRotationRequest { database: database.to_string() };
                let session = Session::open(globals)?;
                let what = format!("show the rotation of database {database}");
                let answer = session
                    .call(&what, request, async |channel, request| RotationsClient::new(channel).get(request).await)
                    .await?;
                output.result(&Rotation::from_wire(answer))
            }
            Self::List => {
                let session = Session::open(globals)?;
                let answer = session
                    .call("list the rotations", v1::ListRotationsRequest {}, async |channel, request| {
                        RotationsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.rotations.into_iter().map(Rotation::from_wire).collect()))
            }
            Self::Abort { database, confirm } => {
                confirm.obtain(&format!("Take the rotation of the credential of {database} back?"))?;
                let session = Session::open(globals)?;
                let request =
                    v1::AbortRotationRequest { idempotency_key: session.key(), database: database.to_string() };
                let what = format!("take the rotation of database {database} back");
                let answer = session
                    .call(&what, request, async |channel, request| RotationsClient::new(channel).abort(request).await)
                    .await?;
                output.result(&Rotation::from_wire(answer))
            }
            Self::Resume { database, force } => {
                let session = Session::open(globals)?;
                let request = v1::ResumeRotationRequest {
                    idempotency_key: session.key(),
                    database: database.to_string(),
                    force: *force,
                };
                let what = format!("resume the rotation of database {database}");
                let answer = session
                    .call(&what, request, async |channel, request| RotationsClient::new(channel).resume(request).await)
                    .await?;
                output.result(&Rotation::from_wire(answer))?;
                output.hint(&format!("Watch it with: nlactl credential rotation show {database}"));
                Ok(())
            }
            Self::Schedule { database, every, .. } => {
                let session = Session::open(globals)?;
                let request = v1::ScheduleRotationRequest {
                    idempotency_key: session.key(),
                    database: database.to_string(),
                    every: wire_span(*every),
                };
                let what = format!("schedule the rotation of database {database}");
                let answer = session
                    .call(&what, request, async |channel, request| {
                        RotationsClient::new(channel).schedule(request).await
                    })
                    .await?;
                output.result(&Rotation::from_wire(answer))
            }
        }
    }
}

impl Configure {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let name = &self.database;
        if self.roles.len() != 2 {
            return Err(CliError::usage("exactly two roles take turns: give --role twice"));
        }
        let session = Session::open(globals)?.at_least(CONFIGURE_TIMEOUT);
        let password = self.source.read(&format!("Password of {} for database {name}: ", self.manager))?;
        let request = v1::ConfigureRotationRequest {
            idempotency_key: session.key(),
            database: name.to_string(),
            manager_username: self.manager.clone(),
            manager_password: password.expose().to_owned(),
            roles: self.roles.clone(),
        };
        let what = format!("configure the rotation of database {name}");
        let answer = session
            .call(&what, request, async |channel, request| RotationsClient::new(channel).configure(request).await)
            .await?;
        output.result(&Rotation::from_wire(answer))?;
        output.hint(&format!("Next: nlactl credential rotate {name}"));
        Ok(())
    }
}
