//! `nlactl key ...`

use std::time::Duration;

use clap::{Args, Subcommand};
use nla_proto::v1::{self, keys_client::KeysClient};

use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{Output, views::key::Keys},
    session::Session,
};

/// Between two looks at a rotation that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Show the keys of the store and of the tokens, and rotations under way
    #[command(after_help = "Examples:\n  nlactl key status\n  nlactl key status --output json")]
    Status,
    /// Replace a key while the system serves
    #[command(subcommand)]
    Rotate(RotateCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RotateCommand {
    /// The key-encryption key: what opens the data folder
    #[command(after_help = "\
The new key takes the place of the file on the control plane's machine. Copy it to
where you keep the old one; keep the old one as long as backups made with it.

Examples:
  nlactl key rotate kek
  nlactl key rotate kek --yes")]
    Kek {
        #[command(flatten)]
        confirm: Confirm,
    },
    /// The data keys: what seals the store's records
    #[command(after_help = "\
New records are sealed by the new keys at once, old ones are sealed anew in the
background; then the old keys are destroyed.

Examples:
  nlactl key rotate data --yes
  nlactl key rotate data --wait --yes")]
    Data(Data),
    /// The pepper: what keys the verifiers of tokens
    #[command(after_help = "\
New tokens use the new pepper; those there are go on working. The old pepper is
destroyed when no valid token needs it: `nlactl key status` counts them.

Examples:
  nlactl key rotate pepper --yes")]
    Pepper {
        #[command(flatten)]
        confirm: Confirm,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Data {
    /// Wait until all records are sealed anew, and show how far it is
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    confirm: Confirm,
}

impl KeyCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Status => output.result(&Keys::from_wire(status(&Session::open(globals)?).await?)),
            Self::Rotate(command) => command.run(globals, output).await,
        }
    }
}

impl RotateCommand {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Kek { confirm } => {
                confirm
                    .obtain("Replace the key-encryption key? The file's copies elsewhere open only older backups.")?;
                let session = Session::open(globals)?;
                let request = v1::RotateKeyRequest { idempotency_key: session.key() };
                let answer = session
                    .call("replace the key-encryption key", request, async |channel, request| {
                        KeysClient::new(channel).rotate_kek(request).await
                    })
                    .await?;
                let keys = Keys::from_wire(answer);
                output.result(&keys)?;
                output.hint(&format!(
                    "Copy {} on the control plane's machine to where you keep the old key now; without it the data cannot be read. Keep the old one for backups made before.",
                    keys.kek_file()
                ));
                Ok(())
            }
            Self::Data(data) => data.run(globals, output).await,
            Self::Pepper { confirm } => {
                confirm.obtain("Make new tokens with a new pepper?")?;
                let session = Session::open(globals)?;
                let request = v1::RotateKeyRequest { idempotency_key: session.key() };
                let answer = session
                    .call("replace the pepper", request, async |channel, request| {
                        KeysClient::new(channel).rotate_pepper(request).await
                    })
                    .await?;
                output.result(&Keys::from_wire(answer))?;
                output.hint("The old pepper goes when no token needs it: rotate those tokens, or let them end.");
                Ok(())
            }
        }
    }
}

impl Data {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        self.confirm.obtain("Replace the data keys? All records of the store are sealed anew.")?;
        let session = Session::open(globals)?;
        let request = v1::RotateKeyRequest { idempotency_key: session.key() };
        let answer = session
            .call("replace the data keys", request, async |channel, request| {
                KeysClient::new(channel).rotate_data(request).await
            })
            .await?;
        let mut keys = Keys::from_wire(answer);
        let mut told = String::new();
        while self.wait && !keys.data_is_settled() {
            if let Some(failure) = keys.data_failure() {
                let message = format!("the records are not all sealed anew: {failure}");
                let next = "it goes on by itself when the cause is gone: see `nlactl key status`";
                return Err(CliError::Incomplete { message, next: None }.with_next(next));
            }
            let progress = keys.progress();
            if progress != told {
                output.hint(&progress);
                told = progress;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            keys = Keys::from_wire(status(&session).await?);
        }
        output.result(&keys)?;
        if !keys.data_is_settled() {
            output.hint("Old records are being sealed anew: `nlactl key status` shows how far it is.");
        }
        Ok(())
    }
}

async fn status(session: &Session) -> Result<v1::KeyStatus, CliError> {
    session
        .call("show the keys", v1::KeyStatusRequest {}, async |channel, request| {
            KeysClient::new(channel).status(request).await
        })
        .await
}
