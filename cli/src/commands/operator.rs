//! `nlactl operator ...`

mod enrol;
mod renew;

use std::{path::PathBuf, time::Duration};

use clap::Subcommand;
use nla_domain::{id::OperatorName, operator::Level};
use nla_proto::v1::{self, operators_client::OperatorsClient};

use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{
        Output,
        views::{List, operator::Operator},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::{self, parse_span},
};

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Create an operator: key, certificate and a folder to hand over
    #[command(after_help = "\
The key is made here and never leaves this machine except in that folder.

Examples:
  nlactl operator create ana --level operator --out ./ana
  nlactl operator create ci --level viewer --out ./ci --lifetime 30d")]
    Create {
        /// The operator's name
        name: OperatorName,
        /// What the operator may do
        #[arg(long, value_parser = values::level())]
        level: Level,
        /// New folder for key, certificate and config.yaml
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long the certificate lives [default: 90d]
        #[arg(long, value_parser = parse_span, value_name = "TIME")]
        lifetime: Option<Duration>,
    },
    /// List operators
    #[command(after_help = "Examples:\n  nlactl operator list")]
    List,
    /// Renew your own certificate
    #[command(after_help = "\
A new key is made here; name and level stay. The new certificate lives 90 days.
The files of the context are replaced when a call with the new ones has worked;
then the old certificate ends.

Examples:
  nlactl operator renew
  nlactl operator renew --if-expires-within 30d --quiet")]
    Renew {
        /// Do nothing when the certificate lives longer than this, such as 30d
        #[arg(long, value_parser = parse_span, value_name = "TIME")]
        if_expires_within: Option<Duration>,
    },
    /// Take an operator's rights away
    #[command(after_help = "Examples:\n  nlactl operator revoke ana\n  nlactl operator revoke ana --yes")]
    Revoke {
        /// The operator's name
        name: OperatorName,
        #[command(flatten)]
        confirm: Confirm,
    },
}

impl OperatorCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Create { name, level, out, lifetime } => {
                let created = enrol::create(&Session::open(globals)?, name, *level, out, *lifetime).await?;
                output.result(&created)?;
                output.hint(&format!(
                    "Hand the folder over on a safe way; its owner sets NLA_CONFIG_DIR={} or moves it to ~/.config/nla.",
                    out.display()
                ));
                Ok(())
            }
            Self::List => {
                let answer = Session::open(globals)?
                    .call("list the operators", v1::ListOperatorsRequest {}, async |channel, request| {
                        OperatorsClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.operators.into_iter().map(Operator::from_wire).collect()))
            }
            Self::Renew { if_expires_within } => renew::renew(globals, output, *if_expires_within).await,
            Self::Revoke { name, confirm } => {
                confirm.obtain(&format!("Revoke operator {name}? It cannot be undone."))?;
                let session = Session::open(globals)?;
                let request = v1::RevokeOperatorRequest { idempotency_key: session.key(), name: name.to_string() };
                let answer = session
                    .call(&format!("revoke operator {name}"), request, async |channel, request| {
                        OperatorsClient::new(channel).revoke(request).await
                    })
                    .await?;
                output.result(&Operator::from_wire(answer))
            }
        }
    }
}
