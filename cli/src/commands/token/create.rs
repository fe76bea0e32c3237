//! `nlactl token create`

use std::path::PathBuf;

use clap::Args;
use nla_domain::{
    id::{DatabaseName, RoleName},
    secret::Secret,
};
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::{super::texts, deliver, hint_once};
use crate::{
    exit::CliError,
    input::SecretFile,
    output::{
        Output,
        views::token::{NewToken, Token},
    },
    session::Session,
    values::{Life, parse_label, parse_life},
};

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
    /// How long it lives, or never where policy allows it [default: 90d]
    #[arg(long, value_parser = parse_life, value_name = "TIME")]
    expires_in: Option<Life>,
    /// A label to find it by; repeat for more
    #[arg(long = "label", value_parser = parse_label, value_name = "KEY=VALUE")]
    labels: Vec<(String, String)>,
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

impl Create {
    pub(super) async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        let file = self.token_file.as_deref().map(SecretFile::reserve).transpose()?;
        let staleness = if self.strict { v1::Staleness::Strict } else { v1::Staleness::Standard };
        let (lifetime, never_expires) = Life::to_wire(self.expires_in);
        let request = v1::CreateTokenRequest {
            idempotency_key: session.key(),
            owner: self.owner.clone(),
            purpose: self.purpose.clone(),
            roles: texts(&self.roles),
            databases: texts(&self.databases),
            lifetime,
            never_expires,
            labels: self.labels.iter().cloned().collect(),
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
