//! `nlactl token update`

use clap::Args;
use nla_domain::id::TokenId;
use nla_proto::v1::{self, tokens_client::TokensClient};

use super::get;
use crate::{
    exit::CliError,
    output::{Output, views::token::Token},
    session::Session,
    values::parse_label,
};

#[derive(Debug, Args)]
#[group(id = "change", required = true, multiple = true)]
pub(crate) struct Changes {
    /// Who answers for its use
    #[arg(long)]
    owner: Option<String>,
    /// What it is for
    #[arg(long)]
    purpose: Option<String>,
    /// Only accepted from these addresses, in place of those before; repeat for more
    #[arg(long = "allow-cidr", value_name = "CIDR", conflicts_with = "any_address")]
    allowed_cidrs: Vec<String>,
    /// Accepted from anywhere
    #[arg(long)]
    any_address: bool,
    /// Set a label; repeat for more
    #[arg(long = "label", value_parser = parse_label, value_name = "KEY=VALUE")]
    labels: Vec<(String, String)>,
    /// Remove a label; repeat for more
    #[arg(long = "remove-label", value_name = "KEY")]
    removed_labels: Vec<String>,
    /// Sustained calls per second on each edge
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Calls that may come at once
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    burst: Option<u32>,
    /// Calls that may run at the same time
    #[arg(long, value_name = "CALLS", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The token's id
    id: TokenId,
    #[command(flatten)]
    changes: Changes,
}

impl Update {
    pub(super) async fn run(&self, session: &Session, output: &Output) -> Result<(), CliError> {
        let (id, changes) = (&self.id, &self.changes);
        let current = get(session, id).await?;
        let replaces_ranges = changes.any_address || !changes.allowed_cidrs.is_empty();
        let limited = changes.rate.is_some() || changes.burst.is_some() || changes.concurrency.is_some();
        let request = v1::UpdateTokenRequest {
            idempotency_key: session.key(),
            id: id.to_string(),
            expected_revision: current.meta.as_ref().map_or(0, |meta| meta.revision),
            owner: changes.owner.clone(),
            purpose: changes.purpose.clone(),
            allowed_cidrs: replaces_ranges.then(|| v1::AddressRanges { cidrs: changes.allowed_cidrs.clone() }),
            labels: changes.labels(&current),
            limits: limited.then(|| v1::TokenLimits {
                calls_per_second: changes.rate.unwrap_or_default(),
                burst: changes.burst.unwrap_or_default(),
                concurrent_calls: changes.concurrency.unwrap_or_default(),
            }),
        };
        let updated = session
            .call(&format!("change token {id}"), request, async |channel, request| {
                TokensClient::new(channel).update(request).await
            })
            .await?;
        output.result(&Token::from_wire(updated))
    }
}

impl Changes {
    /// What the token's labels are to be; `None` when they stay.
    fn labels(&self, current: &v1::TokenView) -> Option<v1::Labels> {
        if self.labels.is_empty() && self.removed_labels.is_empty() {
            return None;
        }
        let mut labels = current.labels.clone();
        labels.retain(|key, _| !self.removed_labels.contains(key));
        labels.extend(self.labels.iter().cloned());
        Some(v1::Labels { labels })
    }
}
