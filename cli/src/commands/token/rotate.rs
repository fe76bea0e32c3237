//! `nlactl token rotate`: one token here, many in [`super::rotate_all`].

use std::{path::PathBuf, time::Duration};

use clap::Args;
use nla_domain::{id::TokenId, secret::Secret};
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::{super::wire_span, deliver, get, hint_once, rotate_all};
use crate::{
    args::Globals,
    exit::CliError,
    input::{Confirm, SecretFile},
    output::{
        Output,
        views::token::{NewToken, Token},
    },
    session::Session,
    values::{Life, TokenFilter, parse_life, parse_span, parse_token_filter},
};

/// An agent is told of its new token within a day.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3600);
/// What the control plane waits by default for edges, for our own deadline.
pub(super) const DEFAULT_WAIT: Duration = Duration::from_secs(5);

/// What to do about an edge that has not confirmed the end of a token.
pub(super) const SILENT_EDGE: &str = "such an edge refuses the old token once it hears of it or its contact to the control plane is too old: see `nlactl edge list`, or stop the edge";

#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The token's id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<TokenId>,
    /// Replace every token that --where selects
    #[arg(long)]
    all: bool,
    /// Only tokens that fit all of it, such as owner=etl,label.team=data
    #[arg(long = "where", requires = "all", value_parser = parse_token_filter, value_name = "SELECTION")]
    filter: Option<TokenFilter>,
    /// New or empty folder for the new tokens, a file each
    #[arg(long, requires = "all", value_name = "DIR")]
    token_dir: Option<PathBuf>,
    /// Show which tokens would be replaced, and replace none
    #[arg(long, requires = "all")]
    dry_run: bool,
    #[command(flatten)]
    how: How,
    /// Write the token to a new file that only you may read, and do not show it
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    confirm: Confirm,
}

/// How each token is replaced.
#[derive(Debug, Args)]
pub(super) struct How {
    /// How long the old token lives on; 0s ends it at once [default: 24h]
    #[arg(long, value_parser = parse_span, value_name = "TIME", conflicts_with = "compromised")]
    overlap: Option<Duration>,
    /// Someone else has the old token: end it at once
    #[arg(long)]
    compromised: bool,
    /// Why, for the audit log
    #[arg(long, default_value = "")]
    reason: String,
    /// How long the new token lives, or never [default: 90d]
    #[arg(long, value_parser = parse_life, value_name = "TIME")]
    expires_in: Option<Life>,
}

impl How {
    pub(super) fn overlap(&self) -> Duration {
        match self.overlap {
            _ if self.compromised => Duration::ZERO,
            overlap => overlap.unwrap_or(DEFAULT_OVERLAP),
        }
    }

    pub(super) fn request(&self) -> v1::RotateTokenRequest {
        let (lifetime, never_expires) = Life::to_wire(self.expires_in);
        v1::RotateTokenRequest {
            overlap: wire_span(Some(self.overlap())),
            lifetime,
            never_expires,
            compromised: self.compromised,
            reason: self.reason.clone(),
            ..Default::default()
        }
    }
}

impl Rotate {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
        let Some(id) = &self.id else {
            let filter = self.filter.clone().unwrap_or_default();
            let many = rotate_all::RotateAll {
                filter,
                dir: self.token_dir.as_deref(),
                dry_run: self.dry_run,
                how: &self.how,
                confirm: &self.confirm,
            };
            return many.run(globals, output).await;
        };
        let at_once = self.how.overlap().is_zero();
        if at_once {
            self.confirm.obtain(&format!("Replace token {id} and end it at once? Its calls stop on every edge."))?;
        }
        let mut session = Session::open(globals)?;
        if at_once {
            // The control plane answers after its wait for edges at the latest.
            session = session.at_least(DEFAULT_WAIT + Duration::from_secs(5));
        }
        let current = get(&session, id).await?;
        let file = self.token_file.as_deref().map(SecretFile::reserve).transpose()?;
        let request = v1::RotateTokenRequest {
            idempotency_key: session.key(),
            id: id.to_string(),
            expected_revision: current.meta.map_or(0, |meta| meta.revision),
            ..self.how.request()
        };
        let answer = session
            .call(&format!("rotate token {id}"), request, async |channel, request| {
                TokensClient::new(channel).rotate(request).await
            })
            .await?;
        let token = answer.token.unwrap_or_default();
        let delivery = deliver(Secret::new(answer.token_text), file, &token.id)?;
        let old = answer.predecessor.map(Token::from_wire);
        let new = NewToken::new(Token::from_wire(token), delivery, old).ended_on(answer.edges);
        output.result(&new)?;
        hint_once(output, self.token_file.is_some());
        let silent = new.silent();
        if silent.is_empty() {
            return Ok(());
        }
        let message = format!("the old token is revoked, but {} did not confirm in time", silent.join(", "));
        Err(CliError::Incomplete { message, next: None }.with_next(SILENT_EDGE))
    }
}
