//! `nlactl system ...`

use clap::Subcommand;
use nla_proto::v1::{self, system_client::SystemClient};

use crate::{
    exit::CliError,
    output::{Output, views::system::Status},
    session::Session,
};

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show the control plane's state, and who you are to it
    #[command(after_help = "Examples:\n  nlactl system status\n  nlactl system status --context prod -o json")]
    Status,
}

impl SystemCommand {
    pub(crate) async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Status => {
                let answer = session
                    .call("show the status", v1::StatusRequest {}, async |channel, request| {
                        SystemClient::new(channel).status(request).await
                    })
                    .await?;
                output.result(&Status::from_wire(session.url(), session.expires_at(), answer))
            }
        }
    }
}
