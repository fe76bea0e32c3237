//! `nlactl token rotate`

use std::{path::PathBuf, time::Duration};

use clap::Args;
use nla_domain::{id::TokenId, secret::Secret};
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::{super::wire_span, deliver, get, hint_once};
use crate::{
    args::Globals,
    exit::CliError,
    input::{Confirm, SecretFile},
    output::{
        Output,
        views::token::{NewToken, Token},
    },
    session::Session,
    values::parse_span,
};

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

impl Rotate {
    pub(super) async fn run(&self, globals: &Globals, output: &Output) -> Result<(), CliError> {
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
