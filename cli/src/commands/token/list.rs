//! `nlactl token list` and `nlactl token lineage`

use std::{collections::HashSet, time::Duration};

use clap::Args;
use nla_domain::{
    clock::{SystemClock, WallClock as _},
    id::{DatabaseName, RoleName, TokenId},
};
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::get;
use crate::{
    exit::CliError,
    output::{
        Output,
        views::{List, token::Token},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::{TokenFilter, parse_label, parse_span},
};

/// No token was rotated more often; a longer chain has a loop.
const MAX_LINEAGE: usize = 1_000;

/// What tokens have in common; all that is given has to hold.
#[derive(Debug, Args)]
pub(super) struct Conditions {
    /// Only this owner's
    #[arg(long)]
    owner: Option<String>,
    /// Only with this label; repeat for more
    #[arg(long = "label", value_parser = parse_label, value_name = "KEY=VALUE")]
    labels: Vec<(String, String)>,
    /// Only those that have this role
    #[arg(long)]
    role: Option<RoleName>,
    /// Only those that may use this database
    #[arg(long)]
    database: Option<DatabaseName>,
    /// Only those made longer ago than this and not used since
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    unused: Option<Duration>,
    /// Only those that end within this time
    #[arg(long, value_parser = parse_span, value_name = "TIME")]
    expires_within: Option<Duration>,
}

impl Conditions {
    pub(super) fn filter(&self) -> TokenFilter {
        TokenFilter {
            owner: self.owner.clone(),
            labels: self.labels.iter().cloned().collect(),
            role: self.role.clone(),
            database: self.database.clone(),
            expires_within: self.expires_within,
            unused: self.unused,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Selected {
    #[command(flatten)]
    conditions: Conditions,
    /// Also revoked and expired ones
    #[arg(long)]
    all: bool,
}

impl Selected {
    pub(super) async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        let tokens = list(session, &self.conditions.filter(), self.all).await?;
        output.result(&List(tokens.into_iter().map(Token::from_wire).collect()))
    }
}

/// The tokens that a filter selects.
pub(super) async fn list(
    session: &Session,
    filter: &TokenFilter,
    include_ended: bool,
) -> Result<Vec<v1::TokenView>, CliError> {
    let request = v1::ListTokensRequest { filter: Some(filter.to_wire(SystemClock.now())), include_ended };
    let answer = session
        .call("list the tokens", request, async |channel, request| {
            TokensClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).list(request).await
        })
        .await?;
    Ok(answer.tokens)
}

/// All tokens that have replaced each other, from the first to the newest.
pub(super) async fn lineage(session: &Session, id: &TokenId, output: &Output) -> Result<(), CliError> {
    let asked = get(session, id).await?;
    let mut seen = HashSet::from([asked.id.clone()]);
    let mut chain = std::collections::VecDeque::from([asked.clone()]);
    let mut next = asked.predecessor.clone();
    while let Some(id) = new(&mut seen, &next) {
        let token = get(session, &id).await?;
        next.clone_from(&token.predecessor);
        chain.push_front(token);
    }
    next = asked.successor;
    while let Some(id) = new(&mut seen, &next) {
        let token = get(session, &id).await?;
        next.clone_from(&token.successor);
        chain.push_back(token);
    }
    output.result(&List(chain.into_iter().map(Token::from_wire).collect()))
}

/// An id that was not there before.
fn new(seen: &mut HashSet<String>, id: &str) -> Option<TokenId> {
    let parsed = id.parse().ok()?;
    (seen.len() < MAX_LINEAGE && seen.insert(id.to_owned())).then_some(parsed)
}
