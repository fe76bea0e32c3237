//! `nlactl system ...`

mod backup;
mod part;

use std::path::PathBuf;

use clap::Subcommand;
use nla_proto::v1::{self, backups_client::BackupsClient, system_client::SystemClient};
use tokio_stream::StreamExt as _;

use crate::{
    args::Globals,
    exit::CliError,
    output::{
        Output,
        views::{backup::Verified, system::Status},
    },
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show the control plane's state, and who you are to it
    #[command(after_help = "Examples:\n  nlactl system status\n  nlactl system status --context prod -o json")]
    Status,
    /// Back up the control plane into one file
    #[command(after_help = "\
The file holds everything, encrypted as in the store: it opens with the control plane's
key-encryption key only, so keep that key elsewhere. FILE gets its name once it is whole
and its checksum was read back. A dash writes to stdout.

Examples:
  nlactl system backup nla.nlabackup
  nlactl system backup nla.nlabackup --force
  nlactl system backup - > nla.nlabackup")]
    Backup {
        /// New file, or - for stdout
        file: PathBuf,
        /// Overwrite a file that exists
        #[arg(long)]
        force: bool,
    },
    /// Show what a backup holds and whether it is whole, without a key
    #[command(after_help = "\
The checksum tells damage, but not who made the file: that takes the key, with
`nla-control-plane verify-backup`.

Example:
  nlactl system backup-info nla.nlabackup")]
    BackupInfo {
        /// The backup
        file: PathBuf,
    },
    /// Check the whole store of the running control plane
    #[command(after_help = "\
Every record and audit event is opened and compared. Changes wait while records are
checked, about a second for 100,000 of them, and edges do not notice.

Example:
  nlactl system verify")]
    Verify,
}

impl SystemCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Status => status(&Session::open(globals)?, output).await,
            Self::Backup { file, force } => backup::backup(globals, output, file, *force).await,
            Self::BackupInfo { file } => backup::info(output, file),
            Self::Verify => verify(&Session::open(globals)?, output).await,
        }
    }
}

async fn status(session: &Session, output: &Output) -> Result<(), CliError> {
    let answer = session
        .call("show the status", v1::StatusRequest {}, async |channel, request| {
            SystemClient::new(channel).status(request).await
        })
        .await?;
    output.result(&Status::from_wire(session.url(), session.expires_at(), answer))
}

async fn verify(session: &Session, output: &Output) -> Result<(), CliError> {
    let what = "check the store";
    let mut answers = session
        .stream(what, v1::VerifyStoreRequest {}, async |channel, request| {
            BackupsClient::new(channel).verify(request).await
        })
        .await?;
    let cut = || tonic::Status::unavailable("the control plane ended the stream");
    let answer = answers.next().await.unwrap_or_else(|| Err(cut()));
    let answer = answer.map_err(|status| CliError::from_status(what, session.url(), &status))?;
    output.result(&Verified::from_wire(&answer))
}
