//! `nlactl token revoke`

use std::time::Duration;

use clap::Args;
use nla_domain::id::TokenId;
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::super::wire_span;
use crate::{
    args::Globals,
    exit::CliError,
    input::Confirm,
    output::{Output, views::token::Revocation},
    session::Session,
    values::parse_span,
};

/// What the control plane waits by default, for our own deadline.
const DEFAULT_WAIT: Duration = Duration::from_secs(5);

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

impl Revoke {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
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
