//! `nlactl token ...`

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use nla_domain::{
    id::{DatabaseName, RoleName, TokenId},
    secret::Secret,
};
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::{texts, wire_span};
use crate::{
    args::Globals,
    exit::CliError,
    input::{Confirm, SecretFile},
    output::{
        Output,
        views::{
            List,
            token::{Delivery, NewToken, Revocation, Token},
        },
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::parse_span,
};

/// What the control plane waits by default, for our own deadline.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

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
    /// End a token on all edges at once
    #[command(after_help = "\
Ends with 1 when a connected edge did not confirm in time.

Examples:
  nlactl token revoke abcDEF012345 --reason 'left on a laptop'
  nlactl token revoke abcDEF012345 --yes --wait 10s")]
    Revoke(Revoke),
    /// Replace a token; both work until the overlap ends
    #[command(after_help = "\
Examples:
  nlactl token rotate abcDEF012345 --overlap 24h
  nlactl token rotate abcDEF012345 --overlap 0s --yes --token-file new.token")]
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Who answers for its use
    #[arg(long)]
    owner: String,
    /// What it is for
    #[arg(long)]
    purpose: String,
    /// A role that it has; repeat for more
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<RoleName>,
    /// Only this database out of those that its roles open; repeat for more
    #[arg(long = "database", value_name = "DATABASE")]
    databases: Vec<DatabaseName>,
    /// How long it lives [default: 90d]
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    expires_in: Option<Duration>,
    /// Only accepted from these addresses; repeat for more [default: from anywhere]
    #[arg(long = "allow-cidr", value_name = "CIDR")]
    allowed_cidrs: Vec<String>,
    /// Stops within seconds when an edge loses the control plane
    #[arg(long)]
    strict: bool,
    /// Sustained calls per second on each edge [default: 20]
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Calls that may come at once [default: 40]
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Calls that may run at the same time [default: 8]
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Write the token to a new file that only you may read, and do not show it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The token's id
    id: TokenId,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    reason: String,
    /// How long to wait for the edges' confirmation [default: 5s]
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    wait: Option<Duration>,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The token's id
    id: TokenId,
    /// How long the old token lives on; 0s ends it at once
    #[arg(long, default_value = "24h", value_parser = parse_span, value_name = "TIME")]
    overlap: Duration,
    /// How long the new token lives [default: 90d]
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    expires_in: Option<Duration>,
    /// Write the token to a new file that only you may read, and do not show it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    confirm: Confirm,
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

impl Create {
    async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        let file = self.token_file.as_deref().map(SecretFile::reserve).transpose()?;
        let staleness = if self.strict { v1::Staleness::Strict } else { v1::Staleness::Standard };
        let request = v1::CreateTokenRequest {
            idempotency_key: session.key(),
            owner: self.owner.clone(),
            purpose: self.purpose.clone(),
            roles: texts(&self.roles),
            databases: texts(&self.databases),
            lifetime: wire_span(self.expires_in),
            allowed_cidrs: self.allowed_cidrs.clone(),
            staleness: staleness.into(),
            limits: Some(v1::TokenLimits {
                calls_per_second: self.rate.unwrap_or_default(),
                burst: self.burst.unwrap_or_default(),
                concurrent_calls: self.concurrency.unwrap_or_default(),
            }),
        };
        let answer = session
            .call("create the token", request, async |channel, request| {
                TokensClient::new(channel).create(request).await
            })
            .await?;
        let token = answer.token.unwrap_or_default();
        let delivery = deliver(Secret::new(answer.token_text), file, &token.id)?;
        output.result(&NewToken::new(Token::from_wire(token), delivery, None))?;
        hint_once(output, self.token_file.is_some());
        Ok(())
    }
}

impl Revoke {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let id = &self.id;
        self.confirm.obtain(&format!("Revoke token {id}? Its calls stop on every edge and it cannot be undone."))?;
        // The control plane answers after the wait at the latest; leave it time to do so.
        let session = Session::open(globals)?.at_least(self.wait.unwrap_or(DEFAULT_WAIT) + Duration::from_secs(5));
        let request = v1::RevokeTokenRequest {
            idempotency_key: session.key(),
            id: id.to_string(),
            reason: self.reason.clone(),
            wait: wire_span(self.wait),
        };
        let answer = session
            .call(&format!("revoke token {id}"), request, async |channel, request| {
                TokensClient::new(channel).revoke(request).await
            })
            .await?;
        let revocation = Revocation::from_wire(answer);
        output.result(&revocation)?;
        let silent = revocation.silent();
        if silent.is_empty() {
            return Ok(());
        }
        let message = format!("the token is revoked, but {} did not confirm in time", silent.join(", "));
        Err(CliError::Incomplete { message, next: None }.with_next(
            "such an edge refuses the token once it hears of it or its contact to the control plane is too old: see `nlactl edge list`, or stop the edge",
        ))
    }
}

impl Rotate {
    async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let id = &self.id;
        if self.overlap.is_zero() {
            self.confirm.obtain(&format!("Replace token {id} and end it at once? Its calls stop on every edge."))?;
        }
        let session = Session::open(globals)?;
        let current = get(&session, id).await?;
        let file = self.token_file.as_deref().map(SecretFile::reserve).transpose()?;
        let request = v1::RotateTokenRequest {
            idempotency_key: session.key(),
            id: id.to_string(),
            overlap: wire_span(Some(self.overlap)),
            lifetime: wire_span(self.expires_in),
            expected_revision: current.meta.map_or(0, |meta| meta.revision),
        };
        let answer = session
            .call(&format!("rotate token {id}"), request, async |channel, request| {
                TokensClient::new(channel).rotate(request).await
            })
            .await?;
        let token = answer.token.unwrap_or_default();
        let delivery = deliver(Secret::new(answer.token_text), file, &token.id)?;
        let old = answer.predecessor.map(Token::from_wire);
        output.result(&NewToken::new(Token::from_wire(token), delivery, old))?;
        hint_once(output, self.token_file.is_some());
        Ok(())
    }
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
