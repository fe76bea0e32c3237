//! `nlactl token revoke`: the tokens that are named or that have something in
//! common. What is confirmed is what is revoked: a selection is looked up first
//! and then revoked by its ids.

use std::time::Duration;

use clap::Args;
use nla_domain::id::TokenId;
use nla_proto::v1::{self, tokens_client::TokensClient};
use tokio::time::Instant;

use super::{
    super::{
        receipt::{self, GRACE},
        wire_span,
    },
    list::{Conditions, list},
};
use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{
        Output, Show as _,
        views::{List, receipt::Revocation, token::Token},
    },
    session::{MAX_MESSAGE_BYTES, Session},
    values::{TokenFilter, parse_span, parse_token_filter},
};

/// Connected edges confirm within milliseconds.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// What the control plane ends in one change.
const BATCH: usize = 1_000;
/// Tokens that a question shows one by one.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The tokens' ids
    #[arg(value_name = "ID")]
    ids: Vec<TokenId>,
    #[command(flatten)]
    conditions: Conditions,
    /// The conditions as one text, as `token rotate --where` takes it
    #[arg(long, value_parser = parse_token_filter, value_name = "SELECTION")]
    all_matching: Option<TokenFilter>,
    /// Only show which tokens would be revoked
    #[arg(long, conflicts_with = "reason")]
    dry_run: bool,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    reason: String,
    /// How long to wait until every edge has confirmed or fenced itself [default: 5s; without TIME: 60s]
    #[arg(long, value_parser = parse_span, value_name = "TIME", num_args = 0..=1, default_missing_value = receipt::WAIT)]
    wait: Option<Duration>,
    #[command(flatten)]
    confirm: Confirm,
}

impl Revoke {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let ids: Vec<String> = match self.filter()? {
            None => {
                let ids: Vec<String> = self.ids.iter().map(ToString::to_string).collect();
                self.confirm.obtain(&format!("Revoke {}? {CONSEQUENCE}", named(&ids)))?;
                ids
            }
            Some(filter) => {
                let tokens = list(&Session::open(globals)?, &filter, false).await?;
                let ids: Vec<String> = tokens.iter().map(|token| token.id.clone()).collect();
                let plan = List(tokens.into_iter().map(Token::from_wire).collect());
                if self.dry_run {
                    return output.result(&plan);
                }
                if !ids.is_empty() {
                    // On stderr, because stdout holds the one result.
                    output.hint(&format!("These {} tokens match:", ids.len()));
                    plan.essence().chunks(SHOWN).take(1).flatten().for_each(|id| output.hint(&format!("  {id}")));
                    if ids.len() > SHOWN {
                        output.hint(&format!("  and {} more; --dry-run shows them all", ids.len() - SHOWN));
                    }
                    self.confirm.obtain(&format!("Revoke {}? {CONSEQUENCE}", named(&ids)))?;
                }
                ids
            }
        };
        self.revoke(globals, output, &ids).await
    }

    /// The selection; `None` for ids.
    fn filter(&self) -> Result<Option<TokenFilter>, CliError> {
        let conditions = Some(self.conditions.filter()).filter(|filter| *filter != TokenFilter::default());
        match (self.ids.is_empty(), conditions, self.all_matching.clone()) {
            (false, None, None) if self.dry_run => {
                Err(CliError::usage("--dry-run shows what a selection stands for; these are ids already"))
            }
            (false, None, None) => Ok(None),
            (true, Some(filter), None) | (true, None, Some(filter)) => Ok(Some(filter)),
            (true, None, None) => Err(CliError::usage("no token is named")
                .with_next("give ids, conditions such as --owner, or --all-matching 'owner=etl,unused=30d'")),
            _ => Err(CliError::usage("give ids, conditions or --all-matching, not several of them")),
        }
    }

    async fn revoke(&self, globals: &Globals, output: &Output, ids: &[String]) -> Result<(), CliError> {
        let (mut tokens, mut newest) = (Vec::with_capacity(ids.len()), 0);
        for batch in ids.chunks(BATCH) {
            // A session for each change: it stands for one idempotency key.
            let session = Session::open(globals)?.at_least(GRACE);
            let request = v1::RevokeTokenRequest {
                idempotency_key: session.key(),
                ids: batch.to_vec(),
                reason: self.reason.clone(),
                // All of them first; then one receipt stands for all.
                wait: wire_span(Some(Duration::ZERO)),
                filter: None,
            };
            let answer = session
                .call(&format!("revoke {}", named(batch)), request, async |channel, request| {
                    TokensClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).revoke(request).await
                })
                .await
                .inspect_err(|_| {
                    if !tokens.is_empty() {
                        output.hint(&format!("{} of {} tokens are revoked already", tokens.len(), ids.len()));
                    }
                })?;
            newest = answer.revision.max(newest);
            tokens.extend(answer.tokens);
            if ids.len() > BATCH {
                output.hint(&format!("{} of {} tokens revoked", tokens.len(), ids.len()));
            }
        }
        if newest == 0 {
            return output.result(&Revocation::new(tokens, None));
        }
        let deadline = Instant::now() + self.wait.unwrap_or(DEFAULT_WAIT);
        let strict = tokens.iter().all(|token| token.staleness == i32::from(v1::Staleness::Strict));
        let class = if strict { v1::Staleness::Strict } else { v1::Staleness::Standard };
        let receipt = receipt::until(Session::open(globals)?, newest, class, deadline).await?;
        let revocation = Revocation::new(tokens, Some(receipt));
        output.result(&revocation)?;
        let done = if ids.len() == 1 { "the token is revoked" } else { "the tokens are revoked" };
        revocation.receipt().map_or(Ok(()), |receipt| receipt::complete(receipt, done))
    }
}

const CONSEQUENCE: &str = "Calls stop on every edge and it cannot be undone.";

/// As a question or an error names them.
fn named(ids: &[String]) -> String {
    match ids {
        [id] => format!("token {id}"),
        few if few.len() <= 5 => format!("{} tokens ({})", few.len(), few.join(", ")),
        many => format!("{} tokens", many.len()),
    }
}
