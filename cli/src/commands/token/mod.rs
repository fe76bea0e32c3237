//! `nlactl token ...`

mod create;
mod list;
mod revoke;
mod rotate;
mod rotate_all;
mod run_folder;
mod update;

use clap::Subcommand;
use nla_domain::{id::TokenId, secret::Secret};
use nla_proto::v1::{self, tokens_client::TokensClient};

use self::{create::Create, list::Selected, revoke::Revoke, rotate::Rotate, update::Update};
use crate::{
    args::Globals,
    exit::CliError,
    input::SecretFile,
    output::{
        Output,
        views::token::{Delivery, Token},
    },
    session::Session,
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
    #[command(after_help = "\
Examples:
  nlactl token list --owner ana@example.com
  nlactl token list --label team=data --expires-within 7d
  nlactl token list --unused 30d
  nlactl token list --all -o json")]
    List(Box<Selected>),
    /// Show a token, without its secret
    #[command(after_help = "Examples:\n  nlactl token show abcDEF012345")]
    Show {
        /// The token's id, as `token list` shows it
        id: TokenId,
    },
    /// Show the tokens that have replaced each other, from the first to the newest
    #[command(after_help = "Examples:\n  nlactl token lineage abcDEF012345")]
    Lineage {
        /// The id of any of them
        id: TokenId,
    },
    /// Change what needs no new token: owner, purpose, addresses, labels, limits
    #[command(after_help = "\
Roles and databases are what a token was given for: create another for others.

Examples:
  nlactl token update abcDEF012345 --allow-cidr 10.0.0.0/8 --allow-cidr 2001:db8::/32
  nlactl token update abcDEF012345 --any-address --label team=data --remove-label trial
  nlactl token update abcDEF012345 --owner ana@example.com --rate 5")]
    Update(Box<Update>),
    /// End tokens on all edges at once
    #[command(after_help = "\
An edge that is out of reach is named, with the time by which it refuses calls.
Ends with 1 when an edge has neither confirmed nor fenced itself within the wait.

Examples:
  nlactl token revoke abcDEF012345 --reason 'left on a laptop'
  nlactl token revoke abcDEF012345 ghiJKL678901 --yes --wait 10s
  nlactl token revoke --owner etl --dry-run
  nlactl token revoke --all-matching 'label.team=data,unused=30d' --yes --wait")]
    Revoke(Box<Revoke>),
    /// Replace a token, or many; old and new work until the overlap ends
    #[command(after_help = "\
--where takes owner, label.KEY, role, database, expires-within and unused, with commas
between them: a token has to fit all. Tokens that have a successor are skipped. With
--token-dir the same command can be repeated after an interruption. Ends with 1 when a
token was not replaced, or an edge did not confirm the end of the old one in time.

Examples:
  nlactl token rotate abcDEF012345 --overlap 24h
  nlactl token rotate abcDEF012345 --compromised --reason 'in a public log' --yes --token-file new.token
  nlactl token rotate --all --where 'owner=etl,expires-within=7d' --dry-run
  nlactl token rotate --all --where 'label.team=data' --overlap 24h --token-dir new-tokens --yes")]
    Rotate(Box<Rotate>),
}

impl TokenCommand {
    pub(crate) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(&Session::open(globals)?, output).await,
            Self::List(selected) => selected.run(&Session::open(globals)?, output).await,
            Self::Lineage { id } => list::lineage(&Session::open(globals)?, id, output).await,
            Self::Update(update) => update.run(&Session::open(globals)?, output).await,
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
