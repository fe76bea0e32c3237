//! `nlactl token ...`

mod create;
mod revoke;
mod rotate;
mod selector;

use clap::Subcommand;
use nla_domain::{id::TokenId, secret::Secret};
use nla_proto::v1::{self, tokens_client::TokensClient};

use self::{create::Create, revoke::Revoke, rotate::Rotate};
use crate::{
    args::Globals,
    exit::CliError,
    input::SecretFile,
    output::{
        Output,
        views::{
            List,
            token::{Delivery, Token},
        },
    },
    session::{MAX_MESSAGE_BYTES, Session},
};

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Create a token; it is shown only this once
    #[command(after_help = "\
Examples:
  nlactl token create --owner ana@example.com --purpose 'weekly report' --role reporting
  nlactl token create --owner etl --purpose nightly --role loader --expires-in 12h --allow-cidr 10.0.0.0/8
  nlactl token create --owner bot --purpose chat --role reporting --token-file bot.token")]
    Create(Box<Create>),
    /// List tokens that are in force
    #[command(after_help = "Examples:\n  nlactl token list --owner ana@example.com\n  nlactl token list --all -o json")]
    List {
        /// Only this owner's
        #[arg(long)]
        owner: Option<String>,
        /// Also revoked and expired ones
        #[arg(long)]
        all: bool,
    },
    /// Show a token, without its secret
    #[command(after_help = "Examples:\n  nlactl token show abcDEF012345")]
    Show {
        /// The token's id, as `token list` shows it
        id: TokenId,
    },
    /// End tokens on all edges at once
    #[command(after_help = "\
An edge that is out of reach is named, with the time by which it refuses calls.
Ends with 1 when an edge has neither confirmed nor fenced itself within the wait.

Examples:
  nlactl token revoke abcDEF012345 --reason 'left on a laptop'
  nlactl token revoke abcDEF012345 ghiJKL678901 --yes --wait 10s
  nlactl token revoke --owner etl --dry-run
  nlactl token revoke --all-matching 'owner=etl,database=shop' --yes --wait")]
    Revoke(Box<Revoke>),
    /// Replace a token; both work until the overlap ends
    #[command(after_help = "\
Examples:
  nlactl token rotate abcDEF012345 --overlap 24h
  nlactl token rotate abcDEF012345 --overlap 0s --yes --token-file new.token")]
    Rotate(Rotate),
}

impl TokenCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(&Session::open(globals)?, output).await,
            Self::List { owner, all } => {
                let request = v1::ListTokensRequest { owner: owner.clone().unwrap_or_default(), include_ended: *all };
                let session = Session::open(globals)?;
                let answer = session
                    .call("list the tokens", request, async |channel, request| {
                        TokensClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
                    })
                    .await?;
                output.result(&List(answer.tokens.into_iter().map(Token::from_wire).collect()))
            }
            Self::Show { id } => output.result(&Token::from_wire(get(&Session::open(globals)?, id).await?)),
            Self::Revoke(revoke) => revoke.run(globals, output).await,
            Self::Rotate(rotate) => rotate.run(globals, output).await,
        }
    }
}

async fn get(session: &Session, id: &TokenId) -> Result<v1::TokenView, CliError> {
    let request = v1::GetTokenRequest { id: id.to_string() };
    session
        .call(&format!("show token {id}"), request, async |channel, request| {
            TokensClient::new(channel).get(request).await
        })
        .await
}

fn deliver(token: Secret, file: Option<SecretFile>, id: &str) -> Result<Delivery, CliError> {
    let Some(file) = file else { return Ok(Delivery::Shown(token)) };
    let remedy = format!("revoke it with `nlactl token revoke {id}` and create another");
    Ok(Delivery::File(file.write(token.expose(), &remedy)?))
}

fn hint_once(output: &Output, in_file: bool) {
    if !in_file {
        output.hint("The token is not shown again: store it now where its owner can reach it.");
    }
}
